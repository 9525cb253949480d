"""Moments of preferences: what a least-squares fit of one head to preferences needs to know of a source.

A preference is the difference d of the features of two replies, the one that a member rated higher first. The
fit asks that every d scores 1. It needs only the mean of ``d d'`` and the mean of ``d``, in which each member
counts once. So sources are fitted together, left out or weighed differently without reading them again.
Relevance to the message is one more feature, the last one. Used by :mod:`personalization.lab.starter_mean`;
NumPy only.

Source: Pahikkala, Tsivtsivadze, Airola, Järvinen, Boberg (2009), An efficient algorithm for learning to rank
from preference graphs.
"""

# Matrices are capital here, as in the sources.
# pyright: reportConstantRedefinition=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from personalization.arrays import BoolArray, DoubleArray, FloatArray, IntArray
from personalization.lab.datasets import Dataset
from personalization.lab.preferences import preferences


@dataclass(frozen=True, eq=False, slots=True)
class Source:
    """A public set of judgements, ready to be fitted.

    Attributes:
        dataset: The set.
        X: Features of the replies with the relevance last, ``items x (d + 1)`` float64.
    """

    dataset: Dataset
    X: DoubleArray

    @classmethod
    def of(cls, dataset: Dataset, features: FloatArray, relevance: FloatArray) -> Source:
        """Join features, ``items x d``, and relevance, ``items``."""
        return cls(dataset, np.hstack([features, relevance[:, None]]).astype(np.float64))


@dataclass(frozen=True, eq=False, slots=True)
class Moments:
    """Moments of the preferences of a source's members, each member counting once.

    Attributes:
        gram: Mean of ``d d'``, ``(d + 1) x (d + 1)``.
        gap: Mean of ``d``, ``d + 1``.
    """

    gram: DoubleArray
    gap: DoubleArray


def moments_of(source: Source, here: BoolArray | None = None) -> Moments | None:
    """Compute the moments of a source; None without a preference.

    Args:
        source: The source.
        here: Labels to use, ``n`` bool; None: all.
    """
    data = source.dataset
    labels = np.arange(len(data.y)) if here is None else np.flatnonzero(here)
    order = labels[np.argsort(data.user[labels], kind="stable")]
    members = np.split(order, np.flatnonzero(np.diff(data.user[order])) + 1) if len(order) else []
    return _of_pairs(source, members) if data.pairwise else _of_labels(source, members)


def _of_pairs(source: Source, members: Sequence[IntArray]) -> Moments | None:
    if not members:
        return None
    own = np.concatenate(members)
    weight = np.repeat([1 / (len(rows) * len(members)) for rows in members], [len(rows) for rows in members])
    sign = np.where(source.dataset.y[own] > 0.5, 1.0, -1.0)
    D = source.X[source.dataset.item[own, 0]] - source.X[source.dataset.item[own, 1]]  # (n, d + 1)
    return Moments(D.T @ (weight[:, None] * D), D.T @ (weight * sign))


def _of_labels(source: Source, members: Sequence[IntArray]) -> Moments | None:
    """Sum over all preferences between a member's labels, without listing them.

    With n labels of a member, of which n_l have the value l, the sum of ``d d'`` is the sum of
    ``(n - n_l) x x'`` over the labels, less ``s s'``, plus the sum of ``s_l s_l'`` over the values, where s
    and s_l are the sums of x over all labels and over those of value l.
    """
    data, n_items = source.dataset, len(source.X)
    square, linear = np.zeros(n_items), np.zeros(n_items)
    sums: list[DoubleArray] = []
    signs: list[float] = []
    n_members = 0
    for own in members:
        item, y = data.item[own, 0], data.y[own]
        values, level, count = np.unique(y, return_inverse=True, return_counts=True)
        if len(values) < 2:
            continue
        n_members += 1
        n = len(own)
        n_pairs = (n * n - int((count**2).sum())) / 2
        below = np.cumsum(count) - count  # labels of a lower value
        np.add.at(square, item, (n - count[level]) / n_pairs)
        np.add.at(linear, item, (2 * below[level] + count[level] - n) / n_pairs)
        by_value = np.zeros((len(values), source.X.shape[1]))
        np.add.at(by_value, level, source.X[item])
        root = n_pairs**-0.5
        sums += [root * by_value, root * by_value.sum(axis=0, keepdims=True)]
        signs += [1.0] * len(values) + [-1.0]
    if not n_members:
        return None
    S = np.concatenate(sums)
    gram = source.X.T @ (square[:, None] * source.X) + S.T @ (np.array(signs)[:, None] * S)
    return Moments(gram / n_members, source.X.T @ linear / n_members)


def gaps_of(source: Source, theta: DoubleArray, here: BoolArray | None = None) -> list[DoubleArray]:
    """Return the lead of the better reply in each preference, member by member.

    Args:
        source: The source.
        theta: Weights, that of relevance last, ``d + 1``.
        here: Labels to use, ``n`` bool; None: all.
    """
    scores = source.X @ theta
    return [scores[pairs[:, 0]] - scores[pairs[:, 1]] for _, pairs in preferences(source.dataset, here)]


def shares_right(source: Source, theta: DoubleArray, here: BoolArray | None = None) -> DoubleArray:
    """Compute each member's share of preferences that a head orders rightly; ties count half.

    Args:
        source: The source.
        theta: Weights, that of relevance last, ``d + 1``.
        here: Labels to use, ``n`` bool; None: all.

    Returns:
        One number for each member with a preference.
    """
    gaps = gaps_of(source, theta, here)
    return np.array([np.mean(np.where(gap == 0, 0.5, gap > 0)) for gap in gaps], np.float64)
