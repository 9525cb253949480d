"""Metrics of scores and probabilities: plain functions on arrays, each with its source.

Used by :mod:`personalization.lab.evaluate` and the calibration; the value of policies is estimated in
:mod:`personalization.insight.off_policy`. NumPy only. Rank metrics (:func:`concordance`, :func:`accuracy`) do
not depend on a member's intercept, likelihood metrics (:func:`log_loss`, :func:`calibration_error`) do. A
model can gain much in one kind and nothing in the other, so the evaluation reports both.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from personalization.arrays import BoolArray, DoubleArray

EPS = 1e-12
THRESHOLD = 0.5
"""Probability from which :func:`classification` predicts a like."""


# --- one member's queries --------------------------------------------------------------------------------


def concordance(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Share of differently labelled pairs that the scores order correctly; tied scores count half.

    For two label values this is the area under the ROC curve. Cost: O(n^2).

    Args:
        scores: ``n`` floats.
        labels: ``n`` floats, graded or binary.

    Returns:
        0 to 1; NaN when all labels are equal.
    """
    s, y = np.asarray(scores, np.float64), np.asarray(labels, np.float64)
    higher = y[:, None] > y[None, :]  # (n, n)
    if not higher.any():
        return math.nan
    gap = (s[:, None] - s[None, :])[higher]
    return float(np.mean(np.where(gap == 0, 0.5, gap > 0)))


def accuracy(differences: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Share of pairs whose better side has the higher score; a difference of 0 counts half.

    Args:
        differences: Score of a minus score of b, ``n`` floats.
        labels: 1 where a is better, 0 where b is, ``n``.

    Returns:
        0 to 1; NaN without pairs.
    """
    d, y = np.asarray(differences, np.float64), np.asarray(labels, np.float64)
    if not len(d):
        return math.nan
    return float(np.mean(np.where(d == 0, 0.5, (d > 0) == (y > 0.5))))


def classification(
    probabilities: npt.ArrayLike, outcomes: npt.ArrayLike, threshold: float = THRESHOLD
) -> dict[str, float]:
    """Judge binary decisions: a like is predicted where the probability is at least the threshold.

    Args:
        probabilities: ``n`` floats in [0, 1].
        outcomes: ``n`` floats, 0 or 1.
        threshold: Probability from which a like is predicted.

    Returns:
        ``accuracy``, ``precision`` (share of likes among predicted likes), ``recall`` (share of likes that
        are predicted), ``f1`` (harmonic mean of both), ``auc`` (area under the ROC curve, which needs no
        threshold) and ``positives`` (share of likes). A figure whose denominator is 0 is NaN.

    Source: Powers (2011), Evaluation: from precision, recall and F-measure to ROC; Hanley and McNeil (1982),
    The meaning and use of the area under a ROC curve, for its equality with :func:`concordance`.
    """
    p, liked = np.asarray(probabilities, np.float64), np.asarray(outcomes, np.float64) > 0.5
    said = p >= threshold
    hits = int((said & liked).sum())

    def share(part: float, whole: int) -> float:
        return part / whole if whole else math.nan

    return {
        "accuracy": share(int((said == liked).sum()), len(p)),
        "precision": share(hits, int(said.sum())),
        "recall": share(hits, int(liked.sum())),
        "f1": share(2 * hits, int(said.sum()) + int(liked.sum())),
        "auc": concordance(p, liked),
        "positives": share(int(liked.sum()), len(p)),
    }


def log_loss(probabilities: npt.ArrayLike, outcomes: npt.ArrayLike) -> float:
    """Mean negative log-likelihood of binary outcomes, in nats; NaN without any."""
    p = np.clip(np.asarray(probabilities, np.float64), EPS, 1 - EPS)
    y = np.asarray(outcomes, np.float64)
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))) if len(p) else math.nan


def calibration_error(probabilities: npt.ArrayLike, outcomes: npt.ArrayLike, n_bins: int = 10) -> float:
    """Expected calibration error: mean gap between probability and outcome over bins of equal width.

    Bins count by their share of outcomes. The estimate is biased upwards by about ``0.8 sqrt(p (1 - p) / n)``
    in each bin, so it is meaningful only over many outcomes.

    Args:
        probabilities: ``n`` floats in [0, 1]; 1 falls into the last bin.
        outcomes: ``n`` floats, 0 or 1.
        n_bins: Number of bins.

    Returns:
        0 to 1; NaN without outcomes.

    Source: Naeini, Cooper, Hauskrecht (2015), Obtaining well calibrated probabilities using Bayesian binning.
    """
    p, y = np.asarray(probabilities, np.float64), np.asarray(outcomes, np.float64)
    if not len(p):
        return math.nan
    bins = np.minimum((p * n_bins).astype(np.int64), n_bins - 1)
    gaps = np.bincount(bins, weights=p - y, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(p))


# --- many members ----------------------------------------------------------------------------------------


def clustered_mean(values: npt.ArrayLike, clusters: npt.ArrayLike) -> tuple[float, float]:
    """Mean of values in clusters (a member in several seeds), and its standard error.

    Args:
        values: ``n`` floats; NaN is ignored.
        clusters: Cluster of each value, ``n``; values of one cluster may depend on each other.

    Returns:
        Mean and standard error; both NaN without values, the error NaN with one cluster.

    Source: Liang and Zeger (1986), the sandwich estimate for a mean, with the factor g / (g - 1).
    """
    x, c = np.asarray(values, np.float64), np.asarray(clusters)
    here = ~np.isnan(x)
    x, c = x[here], c[here]
    if not len(x):
        return math.nan, math.nan
    mean = float(x.mean())
    _, index = np.unique(c, return_inverse=True)
    sums = np.bincount(index, weights=x - mean)  # (g,)
    g = len(sums)
    return mean, math.nan if g < 2 else math.sqrt(float((sums**2).sum()) * g / (g - 1)) / len(x)


# --- choosing -------------------------------------------------------------------------------------------


def as_good_as_the_best(losses: DoubleArray) -> BoolArray:
    """Flag the candidates that are worse than the best by at most a standard error of the difference.

    Args:
        losses: Loss of each candidate on each part of the data, ``c x f``; lower is better.

    Returns:
        ``c`` bool; with one part of the data, only the best is flagged.

    Source: Breiman, Friedman, Olshen, Stone (1984), Classification and regression trees, 3.4.3.
    """
    best = int(np.argmin(losses.mean(axis=1)))
    behind = losses - losses[best]
    if losses.shape[1] < 2:
        return np.arange(len(losses)) == best
    error = behind.std(axis=1, ddof=1) / math.sqrt(losses.shape[1])
    return behind.mean(axis=1) <= error
