"""Fits the starter prior that ships with the package, to public judgements of several sources.

The prior must generalise from public sources to a server that nobody has seen. So every choice is made by
leaving something out:

* The mean is fitted to the preferences of all sources at once (:mod:`personalization.lab.starter_mean`). Its
  scale, which makes its scores calibrated, is measured with each source left out.
* How people differ is learnt from the first source, as on a server. It must have single labels of several
  chatbots (the part of ``group`` before the first slash). A share of the plain prior's variance in every
  direction is added, as large as possible within one standard error of the best, because differences between
  people elsewhere are unknown. This share, and the calibration of heads by their number of labels, are
  measured with both a chatbot and the members left out.

The base rate of likes is not transferred: the prior assumes that half of all replies are liked, with a wide
variance of thresholds. Labels of the first source are binary for what is learnt about people, like thumbs.

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
from personalization.lab.preference_moments import Source, moments_of, shares_right
from personalization.lab.starter_mean import RECIPE, MeanFit, Measured, Recipe
from personalization.population.calibration import VALIDATED_K, Fold, choose_trust, held_out
from personalization.population.fit_prior import fit_prior
from personalization.population.outcomes import Outcome, platt, wrong_share
from personalization.population.pooled import teachers
from personalization.score_quality import as_good_as_the_best
from personalization.settings import Device
from personalization.solving.gate import learn_heads
from personalization.solving.training import Examples

SPREADS = (0.0, 0.1, 0.3, 1.0)
"""Candidate shares of the plain prior's variance."""
MIN_CHATBOTS = 3

Progress = Callable[[str], None]
_Trials = list[Outcome | None]
"""Outcomes of held-out scoring for each number of labels in ``VALIDATED_K``; None without data."""


@dataclass(frozen=True, eq=False, slots=True)
class FittedStarter:
    """The starter prior, with the measurements behind each choice.

    Attributes:
        prior: The prior to ship.
        relevance_weight: Weight of relevance that was fitted with the mean.
        measured: How the mean with relevance ranks, by source.
        by_chatbot: The same for each chatbot of the first source, with that chatbot left out.
        scale: Factor on the mean.
        by_spread: Concordance of heads on left-out chatbots and members, by share.
        spread: The chosen share of the plain prior's variance.
    """

    prior: Prior
    relevance_weight: float
    measured: Measured
    by_chatbot: dict[str, float]
    scale: float
    by_spread: dict[float, float]
    spread: float


@dataclass(frozen=True, eq=False, slots=True)
class _Judged:
    """The source that teaches how people differ.

    Attributes:
        source: The source, with labels as they came.
        data: The set, with binary labels.
        features: Features of the replies, ``items x d``.
        chatbots: Names of the chatbots.
        chatbot: Chatbot of each label, index into ``chatbots``, ``n``.
        held: Whether a label's member is left out for choices, ``n``.
    """

    source: Source
    data: Dataset
    features: FloatArray
    chatbots: list[str]
    chatbot: IntArray
    held: BoolArray


def fit_starter(
    sources: Sequence[Source],
    plain: Prior,
    *,
    n_embedding: int,
    recipe: Recipe = RECIPE,
    device: Device = "auto",
    progress: Progress = lambda _: None,
) -> FittedStarter:
    """Fit the starter prior. Blocks for minutes; the same sets give the same bytes.

    Args:
        sources: The sources. The first one must be pointwise judgements of at least three chatbots, named
            before the first slash of ``group``.
        plain: The plain prior for the same features.
        n_embedding: Number of leading features that are the embedding.
        recipe: The choices of the mean.
        device: Device on which to solve.
        progress: Called after each step: once for each source and for each chatbot, and twice more.

    Raises:
        DatasetBroken: The first set has pairs or too few chatbots.
        DeviceMissing: This machine lacks the device.
    """
    judged = _judged(sources[0])
    fit = MeanFit(sources, n_embedding, progress)
    scale = fit.scale(recipe)
    theta = scale * fit.fit(recipe)
    measured = fit.measure(recipe)
    progress("fitted the mean")
    everything = np.arange(len(judged.data.y))
    prior = _with_taste(judged, everything, theta, plain, n_embedding, device)
    progress("fitted tastes")
    by_chatbot: dict[str, float] = {}
    trials: dict[float, list[_Trials]] = {spread: [] for spread in SPREADS}
    for chatbot, name in enumerate(judged.chatbots):
        own = judged.chatbot == chatbot
        mean = fit.fit(recipe, {judged.data.name: moments_of(judged.source, ~own)})
        by_chatbot[name] = float(np.mean(shares_right(judged.source, mean, own)))
        rest = everything[~judged.held & ~own]
        without = _with_taste(judged, rest, scale * mean, plain, n_embedding, device)
        for spread in SPREADS:
            wide = _widened(without, plain, spread)
            trials[spread].append(_trials(judged, everything[judged.held & own], wide, device, chatbot))
        progress(f"tried heads on {name}")
    spread, by_spread = _widest(trials)
    prior = replace(_widened(prior, plain, spread), calibration=_calibration(trials[spread]))
    return FittedStarter(prior, float(theta[-1]), measured, by_chatbot, scale, by_spread, spread)


def _judged(source: Source) -> _Judged:
    dataset = source.dataset
    if dataset.pairwise:
        raise DatasetBroken(
            f"expected single labels in the first set, {dataset.name}, from which differences between people"
            " are learnt, found pairs"
        )
    names = np.array([group.split("/")[0] for group in dataset.groups])
    found, chatbot = np.unique(names[dataset.item[:, 0]], return_inverse=True)
    if len(found) < MIN_CHATBOTS:
        raise DatasetBroken(
            f"expected groups of at least {MIN_CHATBOTS} chatbots in {dataset.name}, named before the first"
            f" slash, found {len(found)}; what one bot's replies teach cannot be checked on another's"
        )
    by_hash = [hashlib.sha256(user.encode()).digest()[0] % 4 == 0 for user in dataset.users]
    return _Judged(
        source,
        replace(dataset, y=binary_labels(dataset.y, dataset.y)),
        source.X[:, :-1].astype(np.float32),
        found.tolist(),
        chatbot.astype(np.int64),
        np.array(by_hash)[dataset.user],
    )


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
    return chosen, {key: float(by_chatbot.mean()) for key, by_chatbot in found.items()}


# --- taste -----------------------------------------------------------------------------------------------


def _with_taste(
    judged: _Judged, labels: IntArray, mean: DoubleArray, plain: Prior, n_embedding: int, device: Device
) -> Prior:
    """Fit the covariance of tastes to these labels, then replace the fitted mean by the given one.

    Args:
        judged: The source.
        labels: Indices of the labels, ``n``.
        mean: Weights, that of relevance last, ``d + 1``.
        plain: Centre of the fit.
        n_embedding: Number of leading features that are the embedding.
        device: Device on which to solve.
    """
    pool = pool_of(judged.data, judged.features, labels)
    learnt = fit_prior(
        pool, plain, member_cap=MEMBER_CAP, device=device, n_embedding=n_embedding, calibrated=False
    )
    weights = mean[:-1].astype(np.float16).astype(np.float32)
    average = float((judged.features @ weights)[judged.data.item[:, 0]].mean())
    return replace(
        learnt,
        mean=weights,
        bias_mean=float(np.float16(-average)),
        bias_variance=plain.bias_variance,
        calibration=None,
    )


def _widened(prior: Prior, plain: Prior, spread: float) -> Prior:
    return replace(prior, variance=(spread * plain.variance).astype(np.float32))


def _trials(judged: _Judged, labels: IntArray, prior: Prior, device: Device, chatbot: int) -> _Trials:
    """Score held-out labels with heads solved from k of these labels, for each k."""
    if not len(labels):
        return [None] * len(VALIDATED_K)
    pool = pool_of(judged.data, judged.features, labels)
    exchange = np.array(judged.data.groups)[judged.data.item[labels, 0]]
    asked: BoolArray = np.unique(exchange, return_inverse=True)[1] % 3 == 0  # (n,)
    fold = Fold(chatbot * len(judged.data.users), [], teachers(pool, MEMBER_CAP), asked)

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
