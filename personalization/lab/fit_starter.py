"""Fits the prior that ships, from public judgements of several chatbots' replies.

What is learnt on one bot's replies must hold on another's, and nothing here may look at the sets it is later
measured on. So everything is chosen by leaving out one chatbot after the other (the part of ``group`` before
the first slash):

* the answer is yes or no, as a thumb is;
* the mean is in the embedding alone. How long or lively a good reply is depends on the bot that was judged:
  with style features the mean ranks a bot that was left out worse;
* its penalty is the largest within one standard error of the best;
* it is scaled until its scores on a bot that was left out are worth what they say;
* the covariance of tastes is learnt as on a server; around it stands the plain prior's spread in every
  direction, as wide as it may be within one standard error of the best, because what people differ in
  elsewhere is not known. That, and what heads are worth by their number of labels, is measured with the bot
  and the members left out.

How easily people are pleased is not carried over: one half of all replies, and a wide threshold.

Called by ``simpatico fit-starter``; no storage.

Source: Breiman, Friedman, Olshen, Stone (1984), Classification and regression trees, 3.4.3, for the rule of
one standard error.
"""

# Matrices are capital here, as in the sources.
# pyright: reportConstantRedefinition=false

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from personalization.arrays import BoolArray, DoubleArray, FloatArray, IntArray
from personalization.heads.heads import N_BUCKETS, HeadBank, Prior
from personalization.lab.baselines import MEMBER_CAP, pool_of
from personalization.lab.datasets import Dataset, DatasetBroken, binary_labels
from personalization.population.calibration import (
    VALIDATED_K,
    Fold,
    Outcome,
    choose_trust,
    held_out,
    platt,
    wrong_share,
)
from personalization.population.fit_prior import fit_prior
from personalization.population.pooled import Pool, Pooled, Teacher, teachers
from personalization.score_quality import as_good_as_the_best, concordance
from personalization.settings import Device
from personalization.solving.gate import learn_heads
from personalization.solving.training import Examples

RIDGES = (10.0, 30.0, 100.0, 300.0, 1000.0)
"""Penalties on the mean to choose from: precision of each weight on an embedding of length 1."""
SPREADS = (0.0, 0.1, 0.3, 1.0)
"""Shares of the plain prior's variance to choose from."""
MAX_SCALE = 2.0
MIN_SOURCES = 3

Progress = Callable[[str], None]
_Trials = list[Outcome | None]
"""What heads of k labels said, for each of the numbers of labels that are validated."""


@dataclass(frozen=True, eq=False, slots=True)
class FittedStarter:
    """The starter prior, and how it was chosen.

    Attributes:
        prior: What ships.
        concordance: Of yes and no, per member, on chatbots that were left out, by penalty.
        ridge: The penalty chosen.
        scale: Factor on the mean.
        by_spread: Concordance of heads, on chatbots and for members that were left out, by spread.
        spread: The share of the plain prior's variance chosen.
    """

    prior: Prior
    concordance: dict[float, float]
    ridge: float
    scale: float
    by_spread: dict[float, float]
    spread: float


@dataclass(frozen=True, eq=False, slots=True)
class _Judged:
    """A set with yes and no for labels, and the chatbot of each reply.

    Attributes:
        data: The set.
        features: ``items x d``.
        wording: The same with the style features at 0.
        source: Chatbot of each reply, ``items``.
        n_sources: Number of chatbots.
        given: Number of labels on each reply, ``items``.
        liked: How many of them are a yes, ``items``.
    """

    data: Dataset
    features: FloatArray
    wording: FloatArray
    source: IntArray
    n_sources: int
    given: DoubleArray
    liked: DoubleArray

    def labels_of(self, source: int) -> IntArray:
        """Which labels are about this chatbot's replies."""
        return np.flatnonzero(self.source[self.data.item[:, 0]] == source)


def fit_starter(
    dataset: Dataset,
    features: FloatArray,
    plain: Prior,
    *,
    n_embedding: int,
    device: Device = "auto",
    progress: Progress = lambda _: None,
) -> FittedStarter:
    """Fit the starter prior. Blocks for minutes; the same set gives the same bytes.

    Args:
        dataset: Pointwise judgements of at least three chatbots, named before the first slash of ``group``.
        features: Of ``dataset.texts``, ``items x d`` float32.
        plain: The prior that knows nothing, for the same features.
        n_embedding: How many features are the embedding; they come first.
        device: Where to solve.
        progress: Told after each step; three times a chatbot at most.

    Raises:
        DatasetBroken: Pairs, or too few chatbots.
        DeviceMissing: The named device is not in this machine.
    """
    judged = _judged(dataset, features, n_embedding)
    apart: list[dict[float, DoubleArray]] = []  # means fitted without each chatbot
    for source in range(judged.n_sources):
        apart.append(_means(judged, judged.source != source, RIDGES, device))
        progress(f"fitted means without chatbot {source + 1}")
    ridge, by_ridge = _choose(judged, apart)
    scale = _scale(judged, [means[ridge] for means in apart])
    everything = np.arange(len(dataset.y))
    mean = _means(judged, judged.given > 0, [ridge], device)[ridge]
    prior = _with_taste(judged, everything, scale * mean, plain, n_embedding, device)
    progress("fitted everything")
    by_hash = [hashlib.sha256(user.encode()).digest()[0] % 4 == 0 for user in dataset.users]
    held = np.array(by_hash)[dataset.user]  # (n,): they are tried, so they do not teach
    trials: dict[float, list[_Trials]] = {spread: [] for spread in SPREADS}
    for source in range(judged.n_sources):
        own = np.isin(everything, judged.labels_of(source))
        mean = scale * apart[source][ridge]
        without = _with_taste(judged, everything[~held & ~own], mean, plain, n_embedding, device)
        for spread in SPREADS:
            wide = _widened(without, plain, spread)
            trials[spread].append(_trials(judged, everything[held & own], wide, device, source))
        progress(f"tried heads on chatbot {source + 1}")
    spread, by_spread = _widest(trials)
    prior = replace(_widened(prior, plain, spread), calibration=_calibration(trials[spread]))
    return FittedStarter(prior, by_ridge, ridge, scale, by_spread, spread)


# --- mean ------------------------------------------------------------------------------------------------


def _judged(dataset: Dataset, features: FloatArray, n_embedding: int) -> _Judged:
    if dataset.pairwise:
        raise DatasetBroken("expected single labels to fit a starter prior from, found pairs")
    names = [group.split("/")[0] for group in dataset.groups]
    found, source = np.unique(names, return_inverse=True)
    if len(found) < MIN_SOURCES:
        raise DatasetBroken(
            f"expected groups of at least {MIN_SOURCES} chatbots, named before the first slash, found"
            f" {len(found)}; what one bot's replies teach cannot be checked on another's"
        )
    data = replace(dataset, y=binary_labels(dataset.y, dataset.y))
    wording = features.copy()
    wording[:, n_embedding:] = 0.0
    item, n = data.item[:, 0], len(data.texts)
    given = np.bincount(item, minlength=n).astype(np.float64)
    liked = np.bincount(item, weights=data.y, minlength=n).astype(np.float64)
    return _Judged(data, features, wording, source.astype(np.int64), len(found), given, liked)


def _means(
    judged: _Judged, here: BoolArray, ridges: Sequence[float], device: Device
) -> dict[float, DoubleArray]:
    """Fit one head (``d + 1``, the intercept last) for all labels on these replies, for each penalty."""
    items = np.flatnonzero(here & (judged.given > 0))
    given = judged.given[items]
    pool = Pool(
        judged.wording[items],
        (judged.liked[items] / given).astype(np.float32),
        given.astype(np.float32),
        np.zeros(len(items), np.int64),
    )
    everybody = Teacher(np.arange(len(items)), pool.weight)
    pooled = Pooled.of(pool, [everybody], device, balance=0.0)
    d = judged.wording.shape[1]
    start = np.zeros(d + 1)
    return {ridge: pooled.solve(start, np.append(np.full(d, ridge), 1e-4)) for ridge in ridges}


def _choose(judged: _Judged, apart: Sequence[dict[float, DoubleArray]]) -> tuple[float, dict[float, float]]:
    """Choose the largest penalty within one standard error of the best, on chatbots that were left out.

    Returns:
        The penalty, and the concordance of each.
    """
    found = {ridge: np.zeros(judged.n_sources) for ridge in RIDGES}
    for source, means in enumerate(apart):
        labels = judged.labels_of(source)
        order = labels[np.argsort(judged.data.user[labels], kind="stable")]
        own = np.split(order, np.flatnonzero(np.diff(judged.data.user[order])) + 1)
        for ridge, theta in means.items():
            scores = judged.wording @ theta[:-1]
            by_member = [concordance(scores[judged.data.item[rows, 0]], judged.data.y[rows]) for rows in own]
            found[ridge][source] = np.nanmean(by_member)
    return _largest(found)


def _largest(found: dict[float, DoubleArray]) -> tuple[float, dict[float, float]]:
    """Choose the largest key that is within one standard error of the best.

    Chatbots are what a choice must hold for, so mean and standard error are over chatbots.

    Args:
        found: How good each is, by chatbot; higher is better.

    Returns:
        The key, and the mean of each.
    """
    good = as_good_as_the_best(-np.stack(list(found.values())))
    chosen = max(key for key, within in zip(found, good, strict=True) if within)
    return chosen, {key: float(by_source.mean()) for key, by_source in found.items()}


def _scale(judged: _Judged, apart: Sequence[DoubleArray]) -> float:
    """Find what a score is worth on a chatbot that was left out: the mean over them of Platt's slope."""
    slopes: list[float] = []
    for source, theta in enumerate(apart):
        labels = judged.labels_of(source)
        scores = (judged.wording @ theta[:-1])[judged.data.item[labels, 0]]
        slopes.append(platt(scores, judged.data.y[labels].astype(np.float64), shift=True)[0])
    return float(np.clip(np.mean(slopes), 0.0, MAX_SCALE))


# --- taste -----------------------------------------------------------------------------------------------


def _with_taste(
    judged: _Judged, labels: IntArray, mean: DoubleArray, plain: Prior, n_embedding: int, device: Device
) -> Prior:
    """Learn how people differ from these labels, around what is best for them; then put the mean in place."""
    pool = pool_of(judged.data, judged.features, labels)
    learnt = fit_prior(
        pool, plain, member_cap=MEMBER_CAP, device=device, n_embedding=n_embedding, calibrated=False
    )
    weights = mean[:-1].astype(np.float16).astype(np.float32)
    average = judged.given @ (judged.wording @ weights) / judged.given.sum()
    return replace(
        learnt,
        mean=weights,
        bias_mean=float(np.float16(-average)),
        bias_variance=plain.bias_variance,
        calibration=None,
    )


def _widened(prior: Prior, plain: Prior, spread: float) -> Prior:
    return replace(prior, variance=(spread * plain.variance).astype(np.float32))


def _trials(judged: _Judged, labels: IntArray, prior: Prior, device: Device, source: int) -> _Trials:
    """Have heads of k of these labels say something about the others, for each k."""
    if not len(labels):
        return [None] * len(VALIDATED_K)
    pool = pool_of(judged.data, judged.features, labels)
    exchange = np.array(judged.data.groups)[judged.data.item[labels, 0]]
    asked: BoolArray = np.unique(exchange, return_inverse=True)[1] % 3 == 0  # (n,)
    fold = Fold(source * len(judged.data.users), [], teachers(pool, MEMBER_CAP), asked)

    def solve(given: Examples) -> HeadBank:
        return learn_heads(given, prior, device)[0]

    return [held_out(pool, fold, solve, k, prior.mean) for k in VALIDATED_K]


def _widest(trials: dict[float, list[_Trials]]) -> tuple[float, dict[float, float]]:
    """Choose the widest spread within one standard error of the best: as good, and sure of less.

    Returns:
        The spread, and the concordance of each, over chatbots and numbers of labels.
    """

    def ranks(tried: _Trials) -> float:
        wrong = [wrong_share(outcome.base + outcome.own, outcome) for outcome in tried[1:] if outcome]
        return 1 - float(np.mean([np.nanmean(by_member) for by_member in wrong])) if wrong else 0.5

    return _largest({spread: np.array([ranks(one) for one in tried]) for spread, tried in trials.items()})


def _calibration(trials: Sequence[_Trials]) -> FloatArray:
    """Find one trust, and a slope for every bucket of the number of labels: the mean over chatbots.

    The mean is scaled already; a bucket that nobody tried is as the one before.
    """
    trust = choose_trust([outcome for tried in trials for outcome in tried[1:] if outcome])
    table = np.tile(np.array([trust, 1.0, 0.0], dtype=np.float32), (N_BUCKETS, 1))
    for bucket in range(1, N_BUCKETS):
        slopes = [
            platt(outcome.scores(trust), outcome.outcome, shift=True)[0]
            for tried in trials
            if (outcome := tried[bucket]) is not None
        ]
        table[bucket, 1] = np.mean(slopes) if slopes else table[bucket - 1, 1]
    return table.astype(np.float16).astype(np.float32)
