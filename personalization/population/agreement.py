"""Agreement of members: the probability that a member does not contradict the taste that the others share.

Accounts that dislike whatever others like would turn the prior. :func:`agreement_of` finds them:

1. A ridge regression predicts all labels. Each member's labels are compared with the prediction by the
   others' labels alone. ``z = r sqrt(n - 1)``, with r the correlation of the two, is about standard normal
   for a member who shares nothing with the others.
2. Members are in one of three camps: with the others (mean of z ``mu``), apart (0) or against (``-mu``). EM
   finds mu and the size of each camp.
3. The regression is repeated, with each member counting by the probability of not being against, until the
   probabilities settle.

Members who differ from the others without contradicting them are apart, so they count fully. If fewer than
two thirds of the evidence agree, no rule can tell which side is honest: all count alike, and ``quorum`` is
False. The mean of the prior is then the starter's.

A pure function of the set of members. Members are sorted by their content, so their order has no effect.
Called by :mod:`personalization.rounds.teaching`; NumPy only.

Source: Dawid and Skene (1979), Maximum likelihood estimation of observer error-rates, for weights by
agreement; Lamport, Shostak and Pease (1982), The Byzantine generals problem, for the two thirds.
"""

# Matrices are capital here, as in the sources.
# pyright: reportConstantRedefinition=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from personalization.arrays import DoubleArray
from personalization.heads.heads import Prior
from personalization.population.calibration import MEMBERS_TO_VALIDATE
from personalization.population.fit_prior import mean_precision
from personalization.population.pooled import Pool, Teacher, teachers

QUORUM = 2 / 3
"""Least part of the evidence that must agree before the members' own mean replaces the starter's."""
RIDGE = 30.0
"""Penalty of the regression. It only has to order a member's own replies."""
CAMPS = (0.8, 0.15, 0.05)
"""Sizes of the camps that EM starts from: with the others, apart, against."""
TURNS = 30
"""Most regressions; three to ten are usual."""
EM_STEPS = 30
"""Steps of EM in each turn."""
SETTLED = 0.005
"""Largest change of a probability at which the turns end."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of the members of a pool.

    Attributes:
        by_member: Member number -> probability that the member does not contradict the others.
        quorum: Whether enough of the evidence agrees to tell which side is honest.
    """

    by_member: dict[int, float]
    quorum: bool


def agreement_of(pool: Pool, starter: Prior, *, member_cap: float, n_embedding: int | None) -> Agreement:
    """Find how far each member of a pool agrees with the others. Blocks.

    Cost: O(n d^2), about a fifth of one regression of :class:`~personalization.population.pooled.Pooled`.

    Args:
        pool: The labels of all members, with the members' shares.
        starter: Prior of the same d.
        member_cap: Largest total weight of one member, > 0.
        n_embedding: Number of features that are the embedding.

    Returns:
        No probability for any member if there are too few to compare, or no quorum: all count alike.
    """
    members = teachers(pool, member_cap)
    if len(members) < MEMBERS_TO_VALIDATE:
        return Agreement({}, quorum=True)
    weights = np.array([member.weight.sum() for member in members], dtype=np.float64)  # (u,)
    agreeing = _settled(_Votes(pool, members, mean_precision(starter, n_embedding, RIDGE)[:-1]), weights)
    if agreeing @ weights < QUORUM * weights.sum():
        return Agreement({}, quorum=False)
    numbers = [int(pool.member[member.rows[0]]) for member in members]
    return Agreement(dict(zip(numbers, agreeing.astype(np.float16).tolist(), strict=True)), quorum=True)


def _settled(votes: _Votes, weights: DoubleArray) -> DoubleArray:
    """Repeat regression and EM until the probabilities of not being against settle, ``u``."""
    agreeing, sizes = np.ones(len(weights)), np.array(CAMPS)
    mu = 0.0
    for turn in range(TURNS):
        z = votes.compared(agreeing)
        if turn == 0:  # the spread of z shows the distance of the camps, also where they cancel in the mean
            mu = max(0.0, float(weights @ z**2 / weights.sum()) - 1) ** 0.5
        before = agreeing
        mu, sizes, agreeing = _camps(z, weights, mu, sizes)
        if np.abs(agreeing - before).max() < SETTLED:
            break
    return agreeing


def _camps(
    z: DoubleArray, weights: DoubleArray, mu: float, sizes: DoubleArray
) -> tuple[float, DoubleArray, DoubleArray]:
    """Fit the three camps to z by EM; return mu, their sizes and each member's probability to agree."""
    against = np.zeros(len(z))
    for _ in range(EM_STEPS):
        centres = np.array([mu, 0.0, -mu])
        likely = sizes * np.exp(centres * z[:, None] - centres**2 / 2)  # (u, 3)
        likely /= likely.sum(axis=1, keepdims=True)
        against, totals = likely[:, 2], weights @ likely
        apart = max(float(totals[0] + totals[2]), 1e-9)
        mu = max(0.0, float(weights @ ((likely[:, 0] - likely[:, 2]) * z)) / apart)
        sizes = np.maximum(totals / weights.sum(), 1e-6)
        sizes = sizes / sizes.sum()
    agreeing = 1 - against
    return mu, sizes, agreeing / agreeing.max()  # where the camps coincide, all count fully


class _Votes:
    """Linear votes of members for a shared taste; each member's own vote can be left out.

    Features and labels are centred within each member, so that thresholds play no part.
    """

    def __init__(self, pool: Pool, members: Sequence[Teacher], precision: DoubleArray) -> None:
        parts = [_centred(pool, member) for member in members]
        self._X, self._y = [X for X, _ in parts], [y for _, y in parts]
        X = np.concatenate(self._X)  # (n, d)
        w = np.concatenate([member.weight for member in members]).astype(np.float64)
        H = X.T @ (X * w[:, None]) + np.diag(precision)  # (d, d)
        given = [
            own.T @ (member.weight * y) for own, y, member in zip(self._X, self._y, members, strict=True)
        ]
        self._votes: DoubleArray = np.linalg.solve(H, np.array(given).T).T.astype(np.float64)  # (u, d)

    def compared(self, counted: DoubleArray) -> DoubleArray:
        """Compare each member's labels with the prediction by the others, ``z`` (u)."""
        total = counted @ self._votes  # (d,)
        return np.array(
            [
                _z(X @ (total - count * vote), y)
                for X, y, vote, count in zip(self._X, self._y, self._votes, counted.tolist(), strict=True)
            ]
        )


def _centred(pool: Pool, member: Teacher) -> tuple[DoubleArray, DoubleArray]:
    """Return a member's features and labels without their means; pairs are centred already."""
    X, y = pool.X[member.rows].astype(np.float64), pool.y[member.rows].astype(np.float64) - 0.5
    point = np.ones(len(y), np.bool_) if pool.pairwise is None else ~pool.pairwise[member.rows]
    if point.any():
        X[point] -= X[point].mean(axis=0)
        y[point] -= y[point].mean()
    return X, y


def _z(scores: DoubleArray, y: DoubleArray) -> float:
    """Return the correlation in standard errors; 0 if all labels or all scores are equal."""
    size = float(scores @ scores) * float(y @ y)
    return float(scores @ y) / size**0.5 * (len(y) - 1) ** 0.5 if size > 0 else 0.0
