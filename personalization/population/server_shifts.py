"""Shifts: the deviation of a server's mean taste from the population's, a third level of the model.

Members of one server often have similar tastes. Where the data supports it, a server gets its own mean, and
its members differ around that: ``mean + A (g + z)``. Here ``g ~ N(0, rho I)`` is shared by the server,
``z ~ N(0, I)`` is the member's own, and A holds the directions in which the population's members differ. So
the prior answers a newcomer by the taste of their server, and heads start from there.

A shift is learnt cold with the prior, from consenting members. A server gets one only if enough members gave
labels, so that no member's taste can be inferred from it; direct messages are a server of one person and
never get one. It is adopted only if it ranks held-out members better, by more than chance would. It is a pure
function of the set of members, in any order, and is stored in the prior's record. When a member leaves, the
prior and its shifts are deleted and learnt again.

Called by :mod:`personalization.rounds.teaching` in a worker process; imports torch and NumPy.

Source: Gelman et al. (2013), Bayesian Data Analysis, 5 and 15, for the third level; the posterior of g
follows from the Laplace approximations of the members' z, see :class:`_Server`.
"""

# torch ships without types for these; and matrices are capital here, as in the sources.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportConstantRedefinition=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
import torch

from personalization.arrays import DoubleArray, FloatArray
from personalization.heads.heads import Prior
from personalization.population.pooled import Pool, Teacher, teachers
from personalization.sharing import Owner, shares
from personalization.solving.newton import newton_primal

RHOS = (0.03, 0.1, 0.3, 1.0)
"""Candidate variances of servers, relative to members' variance of 1; one is chosen for all servers."""
FOLDS = 4
CHANCE = 0.01
"""Probability that a rebuild adopts any shift by chance where servers do not differ."""
STEPS = 2
"""Number of linearisations of the members' likelihoods around an adopted shift."""


def learn_shifts(
    pool: Pool, owners: Sequence[Owner], prior: Prior, *, member_cap: float, min_members: int
) -> dict[bytes, FloatArray]:
    """Learn the shifts of servers whose members a shift ranks better. Blocks.

    Args:
        pool: The labels of all members.
        owners: The person and the server of each member, indexed by the member's number in the pool.
        prior: The prior learnt from the same pool.
        member_cap: Largest total weight of one member, > 0.
        min_members: Least effective number of persons with labels for which a server gets a shift.

    Returns:
        Server -> coordinates in :meth:`Prior.directions`, ``r + 1`` float32, rounded to float16, so that
        equal pools give equal bytes.
    """
    by_guild: dict[bytes, list[tuple[Teacher, Owner]]] = {}
    for member in teachers(replace(pool, share=None), member_cap):  # its own shift is not for other servers
        owner = owners[int(pool.member[member.rows[0]])]
        by_guild.setdefault(owner.server, []).append((member, owner))
    servers = {
        guild: _Server(pool, members, prior)
        for guild, found in sorted(by_guild.items())
        if len(members := _counted(found, member_cap, min_members)) >= FOLDS
    }
    if not servers:
        return {}
    gains = {guild: [server.gains(rho) for rho in RHOS] for guild, server in servers.items()}
    fits = [np.concatenate([gain[i].fit for gain in gains.values()]).mean() for i in range(len(RHOS))]
    best = int(np.argmax(fits))
    needed = NormalDist().inv_cdf(1 - CHANCE / len(servers))  # Bonferroni
    return {
        guild: servers[guild].shift(RHOS[best]) for guild, gain in gains.items() if gain[best].exceed(needed)
    }


def _counted(members: Sequence[tuple[Teacher, Owner]], member_cap: float, min_members: int) -> list[Teacher]:
    """Scale the weights of a server's members to what each may count; none if they are too few persons."""
    weights = [float(member.weight.sum()) for member, _ in members]
    kept = shares(weights, [owner for _, owner in members], most=member_cap, min_members=min_members)
    if kept is None:
        return []
    return [
        replace(member, weight=(member.weight * share).astype(np.float32))
        for (member, _), share in zip(members, kept.tolist(), strict=True)
    ]


@dataclass(frozen=True, eq=False, slots=True)
class _Gains:
    """Gain of each member of a server by a shift that was learnt from the others, ``u``.

    Attributes:
        rank: Gain in the share of pairs of different labels in the right order. The scale of the scores does
            not change it.
        fit: Gain in the log loss of the labels, nats.
    """

    rank: DoubleArray
    fit: DoubleArray

    def exceed(self, needed: float) -> bool:
        """Return whether the gain in rank exceeds ``needed`` standard errors, without a loss in fit."""
        mean, error = float(self.rank.mean()), float(self.rank.std(ddof=1)) / len(self.rank) ** 0.5
        return mean > needed * error and float(self.fit.mean()) >= 0


class _Server:
    """The labels of one server's members in the directions of the prior.

    A member's posterior around a shift g0 has the Laplace approximation ``z ~ N(m, V)``. With z integrated
    out, the member's likelihood of the server's g is Gaussian with precision ``I - V``, and ``(I - V) (g -
    g0) = m`` at its mode. So the server's posterior is a sum over its members.
    """

    def __init__(self, pool: Pool, members: Sequence[Teacher], prior: Prior) -> None:
        A = prior.directions()  # (d + 1, r)
        u, n = len(members), max(len(member.rows) for member in members)
        self._C = np.zeros((u, n, A.shape[1]))
        self._base, self._y, self._w = np.zeros((3, u, n))
        self._pairs = np.zeros((u, n), np.bool_)
        for i, member in enumerate(members):
            here = slice(len(member.rows))
            X, pairs = pool.X[member.rows].astype(np.float64), np.zeros(len(member.rows), np.bool_)
            if pool.pairwise is not None:
                pairs = pool.pairwise[member.rows]
            self._C[i, here] = X @ A[:-1] + ~pairs[:, None] * A[-1]
            self._base[i, here] = X @ prior.mean.astype(np.float64) + ~pairs * prior.bias_mean
            self._y[i, here], self._w[i, here] = pool.y[member.rows], member.weight
            self._pairs[i, here] = pairs
        self._information, self._precision = self._likelihoods(np.zeros(A.shape[1]))

    def _likelihoods(self, g: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
        """Approximate each member's likelihood of the shift, near g, by a Gaussian.

        Returns:
            Precision times mode, ``(I - V) g + m``, ``u x r``; and the precision, ``I - V``, ``u x r x r``.
        """
        C, y, w = (torch.from_numpy(part) for part in (self._C, self._y, self._w))
        m = torch.from_numpy(self._base + self._C @ g)  # (u, n)
        z, _, _ = newton_primal(C, m, y, w)  # (u, r)
        p = torch.sigmoid(m + (C @ z[:, :, None])[:, :, 0])  # (u, n)
        eye = torch.eye(C.shape[2], dtype=C.dtype)
        V = torch.linalg.inv(eye + C.transpose(1, 2) @ (C * (w * p * (1 - p))[:, :, None]))  # (u, r, r)
        precision = (eye - V).numpy()
        return precision @ g + z.numpy(), precision

    @staticmethod
    def _mean(information: DoubleArray, precision: DoubleArray, rho: float) -> DoubleArray:
        """Return the posterior mean of the shift, from some members' likelihoods."""
        P = precision.sum(axis=0) + np.eye(information.shape[1]) / rho  # (r, r)
        return np.linalg.solve(P, information.sum(axis=0))

    def gains(self, rho: float) -> _Gains:
        """Judge for each member the shift that the other three quarters of the members yield."""
        u = len(self._information)
        rank, fit = np.zeros((2, u))
        for fold in range(FOLDS):
            out = np.arange(u) % FOLDS == fold
            g = self._mean(self._information[~out], self._precision[~out], rho)
            for i in map(int, np.flatnonzero(out)):
                before, after = self._base[i], self._base[i] + self._C[i] @ g
                rank[i] = self._in_order(i, after) - self._in_order(i, before)
                fit[i] = self._log_loss(i, before) - self._log_loss(i, after)
        return _Gains(rank, fit)

    def shift(self, rho: float) -> FloatArray:
        """Return the most probable shift, from all members, ``r + 1`` float32, rounded to float16."""
        g = self._mean(self._information, self._precision, rho)
        # No Newton loop of its own: each turn solves the members around g with newton_primal, and a fixed
        # number of turns is enough.
        for _ in range(STEPS):
            g = self._mean(*self._likelihoods(g), rho)
        return g.astype(np.float16).astype(np.float32)

    def _log_loss(self, i: int, f: DoubleArray) -> float:
        w = self._w[i]
        return float(w @ (np.logaddexp(0, f) - self._y[i] * f) / w.sum())

    def _in_order(self, i: int, f: DoubleArray) -> float:
        """Return the share of a member's pairs of different labels in the right order; ties count half."""
        point, pair = (self._w[i] > 0) & ~self._pairs[i], (self._w[i] > 0) & self._pairs[i]
        s, y = f[point], self._y[i][point]
        gaps = np.append((s[:, None] - s)[y[:, None] > y], (f * np.sign(self._y[i] - 0.5))[pair])
        return float((np.sign(gaps) + 1).mean() / 2) if len(gaps) else 0.5
