"""Fits the starter prior that ships with the package, to public judgements of several chatbots' replies.

The prior must generalise from one bot's replies to another's, and must not be fitted to the sets it is later
measured on. So every choice is made by leaving out one chatbot at a time (the part of ``group`` before the
first slash):

* Labels are binary, like thumbs.
* The mean uses the embedding only. The best length or liveliness of a reply depends on the bot that was
  judged: with style features, the mean ranks a left-out bot worse.
* The penalty on the mean is the largest within one standard error of the best.
* The mean is scaled so that its scores are calibrated on a left-out bot.
* The covariance of tastes is learnt as on a server. A share of the plain prior's variance in every direction
  is added, as large as possible within one standard error of the best, because differences between people
  elsewhere are unknown. This share, and the calibration of heads by their number of labels, are measured with
  both the bot and the members left out.

The base rate of likes is not transferred: the prior assumes that half of all replies are liked, with a wide
variance of thresholds.

Called by ``simpatico fit-starter``; imports no storage.

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
from personalization.errors import DatasetBroken
from personalization.heads.heads import N_BUCKETS, HeadBank, Prior
from personalization.lab.baselines import MEMBER_CAP, pool_of
from personalization.lab.datasets import Dataset, binary_labels
from personalization.population.calibration import VALIDATED_K, Fold, choose_trust, held_out
from personalization.population.fit_prior import fit_prior
from personalization.population.outcomes import Outcome, platt, wrong_share
from personalization.population.pooled import Pool, Pooled, Teacher, teachers
from personalization.score_quality import as_good_as_the_best, concordance
from personalization.settings import Device
from personalization.solving.gate import learn_heads
from personalization.solving.training import Examples

RIDGES = (10.0, 30.0, 100.0, 300.0, 1000.0)
"""Candidate penalties on the mean: precision of each weight, for an embedding of length 1."""
SPREADS = (0.0, 0.1, 0.3, 1.0)
"""Candidate shares of the plain prior's variance."""
MAX_SCALE = 2.0
MIN_SOURCES = 3

Progress = Callable[[str], None]
_Trials = list[Outcome | None]
"""Outcomes of held-out scoring for each number of labels in ``VALIDATED_K``; None without data."""


@dataclass(frozen=True, eq=False, slots=True)
class FittedStarter:
    """The starter prior, with the measurements behind each choice.

    Attributes:
        prior: The prior to ship.
        concordance: Mean concordance per member on left-out chatbots, by penalty.
        ridge: The chosen penalty.
        scale: Factor on the mean.
        by_spread: Concordance of heads on left-out chatbots and members, by share.
        spread: The chosen share of the plain prior's variance.
    """

    prior: Prior
    concordance: dict[float, float]
    ridge: float
    scale: float
    by_spread: dict[float, float]
    spread: float


@dataclass(frozen=True, eq=False, slots=True)
class _Judged:
    """A set with binary labels, and the chatbot of each reply.

    Attributes:
        data: The set.
        features: Features of the replies, ``items x d``.
        wording: The features with the style features set to 0.
        source: Index of the chatbot of each reply, ``items``.
        n_sources: Number of chatbots.
        given: Number of labels of each reply, ``items``.
        liked: Number of positive labels of each reply, ``items``.
    """

    data: Dataset
    features: FloatArray
    wording: FloatArray
    source: IntArray
    n_sources: int
    given: DoubleArray
    liked: DoubleArray

    def labels_of(self, source: int) -> IntArray:
        """Select the labels of this chatbot's replies."""
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
        features: Features of ``dataset.texts``, ``items x d`` float32.
        plain: The plain prior for the same features.
        n_embedding: Number of leading features that are the embedding.
        device: Device on which to solve.
        progress: Called after each step, at most three times per chatbot.

    Raises:
        DatasetBroken: The set has pairs or too few chatbots.
        DeviceMissing: This machine lacks the device.
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
    held = np.array(by_hash)[dataset.user]  # (n,): held-out members, excluded from the fit
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
    """Fit one head (``d + 1``, the intercept last) to all labels of these replies, for each penalty."""
    items = np.flatnonzero(here & (judged.given > 0))
    given = judged.given[items]
    pool = Pool(
        judged.wording[items],
        (judged.liked[items] / given).astype(np.float32),
        given.astype(np.float32),
        np.zeros(len(items), np.int64),
    )
    pooled_member = Teacher(np.arange(len(items)), pool.weight)
    pooled = Pooled.of(pool, [pooled_member], device, balance=0.0)
    d = judged.wording.shape[1]
    start = np.zeros(d + 1)
    return {ridge: pooled.solve(start, np.append(np.full(d, ridge), 1e-4)) for ridge in ridges}


def _choose(judged: _Judged, apart: Sequence[dict[float, DoubleArray]]) -> tuple[float, dict[float, float]]:
    """Choose the largest penalty within one standard error of the best, on left-out chatbots.

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

    The choice must generalise to new chatbots, so mean and standard error are over chatbots.

    Args:
        found: Quality of each key by chatbot; higher is better.

    Returns:
        The key, and the mean quality of each key.
    """
    good = as_good_as_the_best(-np.stack(list(found.values())))
    chosen = max(key for key, within in zip(found, good, strict=True) if within)
    return chosen, {key: float(by_source.mean()) for key, by_source in found.items()}


def _scale(judged: _Judged, apart: Sequence[DoubleArray]) -> float:
    """Calibrate the mean on left-out chatbots: the average of Platt's slope over them."""
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
    """Fit the covariance of tastes to these labels, then replace the fitted mean by the given one."""
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
    """Score held-out labels with heads solved from k of these labels, for each k."""
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
    """Choose the largest share within one standard error of the best: as good, but less overconfident.

    Returns:
        The share, and the concordance of each share over chatbots and numbers of labels.
    """

    def ranks(tried: _Trials) -> float:
        wrong = [wrong_share(outcome.base + outcome.own, outcome) for outcome in tried[1:] if outcome]
        return 1 - float(np.mean([np.nanmean(by_member) for by_member in wrong])) if wrong else 0.5

    return _largest({spread: np.array([ranks(one) for one in tried]) for spread, tried in trials.items()})


def _calibration(trials: Sequence[_Trials]) -> FloatArray:
    """Fit one trust, and one slope for every bucket of the number of labels, averaged over chatbots.

    The prior's mean is scaled already. A bucket without data takes the slope of the one before it.
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
