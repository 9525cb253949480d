"""The examples of a population, and the regression that fits one head to all of them.

:class:`Pool` is the input of the fit of the prior, and :meth:`Pooled.solve` its first step. Called by
:mod:`personalization.population.fit_prior`, by the evaluation for its baselines and by the adapting of the
encoder. Imports torch and NumPy, nothing of storage or Discord.
"""

# torch ships without types for these; and matrices are capital here, as in the sources.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportConstantRedefinition=false

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from personalization.arrays import BoolArray, DoubleArray, FloatArray, IntArray
from personalization.devices import resolve_device
from personalization.settings import Device
from personalization.solving.newton import maximise

CLASS_BALANCE = 0.5
"""Balance of likes and dislikes in the fit of the mean: 0 as they come, 1 both sides weigh the same.

Most reactions are thumbs up. The few thumbs down then carry the information, and a penalty that suits a
balanced population drowns them. One half (each side is weighted by the root of its rarity) gains where likes
are 95 %, and costs nothing where they are 50 %. At 1, a few members' dislikes would cost more than is gained.
"""
MAX_STEPS = 50
MAX_TRIES = 21
"""Lengths tried for one step: the full step, halved 20 times, down to a millionth."""
TOLERANCE = 1e-8
"""Largest change of a weight by a whole step at which the regression counts as solved."""


@dataclass(frozen=True, eq=False)
class Pool:
    """The examples of a population, concatenated.

    Attributes:
        X: Features, ``n x d`` float32, over all members; for pairs the difference of the two replies.
        y: Label values in [0, 1], ``n`` float32.
        weight: Trust, ``n`` float32, > 0.
        member: Number of the member who gave each label, ``n`` int64.
        pairwise: True where the label compares two replies, ``n`` bool; None: nowhere.
        group: Exchange of each label, ``n`` int64; held-out labels share no exchange with a head's own
            labels. None: each label is an exchange of its own.
        outcome: Values that probabilities are calibrated to, ``n`` float32 in [0, 1]; None: the label values.
        share: Part of the member's evidence that counts, by :mod:`personalization.sharing`, ``n``; None: all.
    """

    X: FloatArray
    y: FloatArray
    weight: FloatArray
    member: IntArray
    pairwise: BoolArray | None = None
    group: IntArray | None = None
    outcome: FloatArray | None = None
    share: DoubleArray | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Teacher:
    """One member's rows in the pool, the weights of these rows after all caps, and the member's share."""

    rows: IntArray
    weight: FloatArray
    share: float = 1.0


def teachers(pool: Pool, cap: float) -> list[Teacher]:
    """Group a pool by member, with members sorted by a hash of their content.

    Args:
        pool: The examples of all members.
        cap: Largest total weight of one member, > 0.
    """
    order = np.argsort(pool.member, kind="stable")
    _, starts = np.unique(pool.member[order], return_index=True)
    members: list[tuple[bytes, Teacher]] = []
    for rows in np.split(order, starts[1:]):
        total = float(pool.weight[rows].sum())
        share = 1.0 if pool.share is None else float(pool.share[rows[0]])
        weight = (pool.weight[rows] * (min(1.0, cap / max(total, 1e-12)) * share)).astype(np.float32)
        parts = (pool.X[rows], pool.y[rows], pool.weight[rows])
        content = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts))
        members.append((content.digest(), Teacher(rows, weight, share)))
    return [member for _, member in sorted(members, key=lambda pair: (pair[0], pair[1].share))]


def only(members: Sequence[Teacher], here: BoolArray) -> list[Teacher]:
    """Keep the labels where ``here`` (``n`` bool) is True; members without any are left out."""
    kept = [(member, here[member.rows]) for member in members]
    return [
        Teacher(member.rows[rows], member.weight[rows], member.share) for member, rows in kept if rows.any()
    ]


@dataclass(frozen=True, eq=False)
class Pooled:
    """The examples of all members on a device, prepared for regressions with many penalties.

    A reply with labels of many members has one row.

    Attributes:
        X: Distinct features, the intercept's column last (0 for pairs), ``m x (d + 1)`` float64 (float32 on
            MPS).
        row: Row of ``X`` for each label, ``n`` int64, the members' labels concatenated.
        y: Label values, ``n``.
        w: Weights after the cap, ``n``.
        balanced: Weights of the fit, in which the rarer of likes and dislikes counts more, ``n``.
        liked: The part of ``balanced`` that counts as a like, ``n``.
        shift: Shift of the log-odds of a like by balancing, ``n``. The fit corrects for it, so that the mean
            and its intercept are the same quantities as without balancing.
    """

    X: Tensor
    row: Tensor
    y: Tensor
    w: Tensor
    balanced: Tensor
    liked: Tensor
    shift: Tensor

    @classmethod
    def of(
        cls, pool: Pool, members: Sequence[Teacher], device: Device, *, balance: float = CLASS_BALANCE
    ) -> Pooled:
        """Gather the members' rows on the device.

        Args:
            pool: The examples of all members.
            members: The members to take.
            device: Where to solve.
            balance: As :data:`CLASS_BALANCE`.

        Raises:
            DeviceMissing: This machine does not have the named device.
        """
        place = resolve_device(device)
        dtype = torch.float32 if place.type == "mps" else torch.float64
        rows = np.concatenate([member.rows for member in members])
        pairs = np.zeros(len(rows), np.bool_) if pool.pairwise is None else pool.pairwise[rows]
        places: dict[bytes, int] = {}
        firsts: list[int] = []
        row = np.empty(len(rows), np.int64)
        for i, (j, pair) in enumerate(zip(rows, pairs, strict=True)):
            row[i] = places.setdefault(pool.X[j].tobytes() + bytes([bool(pair)]), len(firsts))
            if row[i] == len(firsts):
                firsts.append(i)
        point = (~pairs[firsts]).astype(np.float64)
        X = torch.from_numpy(np.hstack([pool.X[rows[firsts]], point[:, None]])).to(place, dtype)
        y = torch.from_numpy(pool.y[rows]).to(place, dtype)  # (n,)
        w = torch.from_numpy(np.concatenate([member.weight for member in members])).to(place, dtype)
        parts = _balance(pool, members, pairs, balance)
        balanced, liked, shift = (torch.from_numpy(part).to(place, dtype) for part in parts)
        return cls(X, torch.from_numpy(row).to(place), y, w, balanced, liked, shift)

    def scores(self, theta: DoubleArray) -> Tensor:
        """Score every label's reply by one head.

        Args:
            theta: Weights, then the intercept, ``d + 1``.

        Returns:
            ``n``.
        """
        return (self.X @ torch.from_numpy(theta).to(self.X))[self.row]

    def solve(
        self,
        start: DoubleArray,
        precision: DoubleArray,
        offset: Tensor | None = None,
        *,
        begin: DoubleArray | None = None,
    ) -> DoubleArray:
        """Find the most probable weights and intercept of one head for all members.

        Newton's method; the Hessian is summed over replies, not labels. Cost: O(m d^2 + d^3) a step, some ten
        steps.

        Args:
            start: Centre of the penalty, ``d + 1``, the intercept last.
            precision: Precision of the penalty, ``d + 1``, > 0.
            offset: Added to every label's score, ``n``: the deviation of the member who gave it. None: 0.
            begin: Where to start, ``d + 1``; a start near the solution saves steps. None: at the centre.

        Returns:
            ``d + 1`` float64.
        """
        centre, P = (torch.from_numpy(part).to(self.X) for part in (start, precision))
        known = self.shift if offset is None else self.shift + offset  # (n,)
        theta = centre if begin is None else torch.from_numpy(begin).to(self.X)
        regression = _Regression(self, centre, P, known)
        theta, _, _ = maximise(regression, theta, max_steps=MAX_STEPS, max_tries=MAX_TRIES)
        return theta.cpu().numpy().astype(np.float64)


@dataclass(frozen=True, eq=False, slots=True)
class _Regression:
    """The objective of :meth:`Pooled.solve` for :func:`~personalization.solving.newton.maximise`.

    Attributes:
        pooled: The labels.
        centre: Centre of the penalty, ``d + 1``.
        P: Precision of the penalty, ``d + 1``.
        known: Added to every label's score, ``n``.
    """

    pooled: Pooled
    centre: Tensor
    P: Tensor
    known: Tensor

    def value(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the penalised log-likelihood, and the score of every label, ``n``."""
        own = self.pooled
        f = (own.X @ v)[own.row] + self.known  # (n,)
        away = v - self.centre
        return (own.liked * f - own.balanced * softplus(f)).sum() - (self.P * away * away).sum() / 2, f

    def step(self, v: Tensor, scores: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return Newton's step; solved when it changes no weight by :data:`TOLERANCE`."""
        own, p = self.pooled, torch.sigmoid(scores)  # (n,)
        residual = self._by_reply(own.liked - own.balanced * p)  # (m,)
        curvature = self._by_reply(own.balanced * p * (1 - p))  # (m,)
        gradient = own.X.T @ residual - self.P * (v - self.centre)  # (d + 1,)
        H = own.X.T @ (own.X * curvature[:, None]) + torch.diag(self.P)  # (d + 1, d + 1)
        step = torch.cholesky_solve(gradient[:, None], torch.linalg.cholesky(H))[:, 0]  # (d + 1,)
        unsolved = step.abs().max() >= TOLERANCE
        return (step if unsolved else None), unsolved

    def _by_reply(self, values: Tensor) -> Tensor:
        """Sum labels' values (n) over the replies they are about (m)."""
        own = self.pooled
        return torch.zeros(len(own.X)).to(own.X).index_add_(0, own.row, values)


def _balance(
    pool: Pool, members: Sequence[Teacher], pairs: BoolArray, balance: float
) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
    """Weight likes and dislikes by the root (or another power) of their rarity; pairs keep their weight.

    No member weighs more afterwards than the heaviest member did before, so that the cap on a member holds.

    Returns:
        ``balanced``, ``liked`` and ``shift`` of :class:`Pooled`, ``n`` float64 each.

    Source: King and Zeng (2001), Logistic regression in rare events data, for weighting by class with the
    log-odds corrected. We correct inside the likelihood, where the offset of members is, too.
    """
    y = pool.y[np.concatenate([member.rows for member in members])].astype(np.float64)
    w = np.concatenate([member.weight for member in members]).astype(np.float64)
    point = w * ~pairs
    share = float((point * y).sum() / point.sum()) if point.any() else 0.5
    if not 0 < share < 1:  # one side only, so there is nothing to balance
        return w, w * y, np.zeros(len(w))
    like, dislike = (0.5 / share) ** balance, (0.5 / (1 - share)) ** balance
    like, dislike = (side / (like * share + dislike * (1 - share)) for side in (like, dislike))
    grown = np.where(pairs, 1.0, like * y + dislike * (1 - y))  # (n,)
    sizes = [len(member.rows) for member in members]
    owner = np.repeat(np.arange(len(members)), sizes)
    before, after = np.bincount(owner, weights=w), np.bincount(owner, weights=w * grown)  # (u,)
    kept = np.minimum(1.0, before.max() / np.maximum(after, 1e-300))[owner]  # (n,)
    balanced = w * grown * kept
    liked = w * kept * np.where(pairs, 1.0, like) * y
    return balanced, liked, np.where(pairs, 0.0, np.log(like / dislike))
