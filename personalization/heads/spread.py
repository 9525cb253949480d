"""Spread: the posterior covariance of a head, packed into some hundred bytes, and that of candidates' scores.

A policy needs the covariance of the candidates' scores. In the directions in which members differ, the
posterior covariance is a small matrix, the identity before the first label. The head keeps the block of the
:data:`LEADING` directions of that matrix, and one number for all others, their mean variance. It keeps one
variance for each feature that may be loud. The diagonal part of the prior keeps its prior variance. So
reading a head stays one small read. Propensities stay exact, because they are those of the draws that were
made.

Packed by :mod:`personalization.solving.posterior`, read by the ranker. NumPy only: ranking four candidates
needs no torch.
"""

from __future__ import annotations

import numpy as np

from personalization.arrays import DoubleArray, FloatArray, HalfArray, IntArray
from personalization.heads.heads import Prior

LEADING = 16
"""Number of directions whose covariance is kept. Of the 32 learnt on DBDC3, 16 hold 86 % of the variance of
scores."""


def leading(prior: Prior) -> IntArray:
    """Return the columns of the prior's factor that move scores most, largest first, at most 16."""
    if prior.factor is None:
        return np.zeros(0, dtype=np.int64)
    size = (prior.factor[:-1].astype(np.float64) ** 2).sum(axis=0)
    return np.argsort(-size, kind="stable")[:LEADING]


def pack(covariance: DoubleArray, prior: Prior, loud: DoubleArray | None = None) -> HalfArray:
    """Pack posterior covariances.

    Args:
        covariance: Covariance of the coordinates in the prior's factor, ``u x r x r``.
        prior: The prior.
        loud: Variance of the weight of each feature that may be loud, ``u x s``; None: as without labels.

    Returns:
        ``u x (m (m + 1) / 2 + 1 + s)`` float16 for m leading directions: the lower triangle of their block
        row by row, then the mean variance of the other directions, then the variances of the loud weights.
    """
    kept = leading(prior)
    others = np.flatnonzero(np.bincount(kept, minlength=int(covariance.shape[1])) == 0)
    rows, columns = np.tril_indices(len(kept))
    block = covariance[:, kept[rows], kept[columns]]  # (u, m (m + 1) / 2)
    diagonal = covariance[:, others, others]  # (u, r - m)
    rest = diagonal.mean(axis=1) if len(others) else np.ones(len(covariance))
    loud = np.tile(unlabelled(prior), (len(covariance), 1)) if loud is None else loud
    return np.hstack([block, rest[:, None], loud]).astype(np.float16)


def unlabelled(prior: Prior) -> DoubleArray:
    """Return the variance of the weight of each feature that may be loud, before the first label (s)."""
    if prior.loud is None:
        return np.zeros(0)
    may_be = prior.loud_features()
    one, two = prior.loud_chances
    return prior.loud[may_be].astype(np.float64) * (one + 2 * two) / max(1, len(may_be))


def score_covariance(features: FloatArray, prior: Prior, spread: HalfArray | None) -> DoubleArray:
    """Return the covariance of candidates' scores around their mean, since only differences rank.

    Args:
        features: Features of the candidates, ``k x d`` float32.
        prior: The prior that the head was solved under.
        spread: The member's packed covariance, from :func:`pack`; None: no labels, or a rolled-back head.

    Returns:
        ``k x k`` float64.
    """
    X = (features - features.mean(axis=0)).astype(np.float64)  # (k, d)
    kept = leading(prior)
    n_block = len(kept) * (len(kept) + 1) // 2
    loud = unlabelled(prior)  # (s,)
    if spread is not None and len(spread) != n_block + 1 + len(loud):
        spread = None  # of another form
    variance = prior.variance.astype(np.float64)  # (d,)
    variance[prior.loud_features()] += loud if spread is None else spread[n_block + 1 :]
    found = (X * variance) @ X.T  # (k, k)
    if prior.factor is None:
        return found
    C = X @ prior.factor[:-1].astype(np.float64)  # (k, r)
    L = C[:, kept]  # (k, m)
    rest = C @ C.T - L @ L.T
    if spread is None:
        return found + C @ C.T
    V = np.zeros((len(kept), len(kept)))
    rows, columns = np.tril_indices(len(kept))
    V[rows, columns] = V[columns, rows] = spread[:n_block]
    return found + L @ V @ L.T + float(spread[n_block]) * rest
