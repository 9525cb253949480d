"""What the members of one server share: a mean between the population's and the member's.

People of one server often like alike. Where the data supports it, a server's members are taken to differ
around a mean of their own: ``mean + A (g + z)``, with ``g ~ N(0, rho I)`` shared by the server and ``z ~ N(0,
I)`` the member's own, in the directions A in which the population's members differ. So a newcomer is answered
by the taste of their server, and heads start from there.

A shift is learnt cold with the prior, from members who agreed; only where enough of them gave labels, so that
nobody can be read out of it (direct messages are a server of one person and never get one); and it is adopted
only if members who were held out of it are ranked better by it, by more than chance would. It is a function
of who is there, whatever the order of members, and is kept in the prior's record: whoever leaves takes both
along.

Called by :mod:`personalization.rounds.teaching` in a worker process; imports torch and NumPy.

Source: Gelman et al. (2013), Bayesian Data Analysis, 5 and 15, for the third level; the posterior of g
follows from the Laplace approximations of the members' z, see :class:`_Server`.
"""

# torch ships without types for these; and matrices are capital here, as in the sources.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportConstantRedefinition=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch

from personalization.arrays import DoubleArray, FloatArray
from personalization.heads.heads import Prior
from personalization.population.pooled import Pool, Teacher, teachers
from personalization.solving.newton import newton_primal

RHOS = (0.03, 0.1, 0.3, 1.0)
"""Variance of servers in the directions in which members have variance 1; one for all servers."""
FOLDS = 4
CHANCE = 0.01
"""How often anything at all may be adopted by mere chance at a rebuild where servers do not differ."""
STEPS = 2
"""Linearisations of the members' likelihoods around an adopted shift."""


def learn_shifts(
    pool: Pool, guild_of: Sequence[bytes], prior: Prior, *, member_cap: float, min_members: int
) -> dict[bytes, FloatArray]:
    """Learn the shifts of servers whose members are better ranked by one. Blocks.

    Args:
        pool: Everybody's labels.
        guild_of: The server of each member of the pool, by number.
        prior: Learnt from the same pool.
        member_cap: Largest total weight of one member, > 0.
        min_members: A server of which fewer members gave labels gets no shift.

    Returns:
        Server -> coordinates in :meth:`Prior.directions`, ``r + 1`` float32, rounded: bytes are steady.
    """
    by_guild: dict[bytes, list[Teacher]] = {}
    for member in teachers(pool, member_cap):
        by_guild.setdefault(guild_of[int(pool.member[member.rows[0]])], []).append(member)
    servers = {
        guild: _Server(pool, members, prior)
        for guild, members in sorted(by_guild.items())
        if len(members) >= max(min_members, FOLDS)
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


@dataclass(frozen=True, eq=False, slots=True)
class _Gains:
    """What a shift learnt from the others gains for each member of a server, ``u``.

    ``rank`` is by the order of their replies (share of pairs of different labels in the right order, which a
    louder mean does not change), ``fit`` by the log loss of their labels.
    """

    rank: DoubleArray
    fit: DoubleArray

    def exceed(self, needed: float) -> bool:
        """Better ranked by more than so many standard errors, and what they like no worse foretold."""
        mean, error = float(self.rank.mean()), float(self.rank.std(ddof=1)) / len(self.rank) ** 0.5
        return mean > needed * error and float(self.fit.mean()) >= 0


class _Server:
    """The labels of one server's members in the directions of the prior.

    With the Laplace approximation ``z ~ N(m, V)`` of a member's posterior around a shift g0, what the member
    says about the server's g, once their own z is integrated out, is Gaussian with precision ``I - V``, and
    ``(I - V) (g - g0) = m`` at its mode. So the server's posterior is a sum over its members.
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
        self._told, self._precision = self._say(np.zeros(A.shape[1]))

    def _say(self, g: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
        """What each member says about the shift, near g: ``(I - V) g + m``, ``u x r``, and ``I - V``."""
        C, y, w = (torch.from_numpy(part) for part in (self._C, self._y, self._w))
        m = torch.from_numpy(self._base + self._C @ g)  # (u, n)
        z, _, _ = newton_primal(C, m, y, w)  # (u, r)
        p = torch.sigmoid(m + (C @ z[:, :, None])[:, :, 0])  # (u, n)
        eye = torch.eye(C.shape[2], dtype=C.dtype)
        V = torch.linalg.inv(eye + C.transpose(1, 2) @ (C * (w * p * (1 - p))[:, :, None]))  # (u, r, r)
        precision = (eye - V).numpy()
        return precision @ g + z.numpy(), precision

    @staticmethod
    def _mean(told: DoubleArray, precision: DoubleArray, rho: float) -> DoubleArray:
        """Posterior mean of the shift, from what some members say."""
        return np.linalg.solve(precision.sum(axis=0) + np.eye(told.shape[1]) / rho, told.sum(axis=0))

    def gains(self, rho: float) -> _Gains:
        """Judge each member by the shift that the other three quarters of the members make."""
        u = len(self._told)
        rank, fit = np.zeros((2, u))
        for fold in range(FOLDS):
            out = np.arange(u) % FOLDS == fold
            g = self._mean(self._told[~out], self._precision[~out], rho)
            for i in map(int, np.flatnonzero(out)):
                before, after = self._base[i], self._base[i] + self._C[i] @ g
                rank[i] = self._in_order(i, after) - self._in_order(i, before)
                fit[i] = self._log_loss(i, before) - self._log_loss(i, after)
        return _Gains(rank, fit)

    def shift(self, rho: float) -> FloatArray:
        """The most probable shift, from all members."""
        g = self._mean(self._told, self._precision, rho)
        # Not a Newton loop of its own: each turn solves the members around g with newton_primal, and a fixed
        # number of turns is enough.
        for _ in range(STEPS):
            g = self._mean(*self._say(g), rho)
        return g.astype(np.float16).astype(np.float32)

    def _log_loss(self, i: int, f: DoubleArray) -> float:
        w = self._w[i]
        return float(w @ (np.logaddexp(0, f) - self._y[i] * f) / w.sum())

    def _in_order(self, i: int, f: DoubleArray) -> float:
        """Share of the pairs of one member's differently labelled replies in the right order, ties a half."""
        point, pair = (self._w[i] > 0) & ~self._pairs[i], (self._w[i] > 0) & self._pairs[i]
        s, y = f[point], self._y[i][point]
        gaps = np.append((s[:, None] - s)[y[:, None] > y], (f * np.sign(self._y[i] - 0.5))[pair])
        return float((np.sign(gaps) + 1).mean() / 2) if len(gaps) else 0.5
