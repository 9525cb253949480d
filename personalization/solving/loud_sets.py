"""Sets of loud features: the posterior over all sets of at most two, and the average over them.

Each set is one hypothesis. Its evidence and its posterior follow in closed form from two small arrays of a
member (:mod:`personalization.solving.loud_tastes`, which calls this). Imports torch alone. Axes: ``u``
members, ``s`` features that may be loud, ``p`` pairs of them.

Source: Mitchell and Beauchamp (1988), Bayesian variable selection in linear regression.
"""

# torch ships without types for these; and matrices are capital here, as in the sources.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportConstantRedefinition=false

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False, slots=True)
class Loud:
    """Posterior of the loud weights.

    Attributes:
        mean: Posterior mean, ``u x s``.
        covariance: Posterior covariance, between hypotheses and within them, ``u x s x s``.
        chance: Posterior probability that a feature is loud, ``u x s``.
    """

    mean: Tensor
    covariance: Tensor
    chance: Tensor


@dataclass(frozen=True, eq=False, slots=True)
class Slab:
    """Prior of the loud weights.

    Attributes:
        variance: Variance of each weight where it is loud, ``s``.
        one: Probability that one feature is loud.
        two: Probability that two are; both together are below 1.
    """

    variance: Tensor
    one: float
    two: float


@dataclass(frozen=True, eq=False, slots=True)
class Hypotheses:
    """Posterior over all sets of at most two loud features.

    Attributes:
        G: Gradient of the log-likelihood by the loud weights at 0, the Gaussian part marginalised, ``u x s``.
        q: Precision of the weight of a feature that alone is loud, ``u x s``.
        i: First feature of each pair, ``p``.
        j: Second feature of each pair, ``p``.
        between: Information that the two features of a pair share, ``u x p``.
        det: Determinant of the precision of a pair, ``u x p``.
        first: Posterior mean of the weight of the first feature where this pair is loud, ``u x p``.
        second: That of the second feature, ``u x p``.
        none: Posterior probability that nothing is loud, ``u x 1``.
        one: Posterior probability that a feature alone is loud, ``u x s``.
        two: Posterior probability that a pair is loud, ``u x p``.
    """

    G: Tensor
    q: Tensor
    i: Tensor
    j: Tensor
    between: Tensor
    det: Tensor
    first: Tensor
    second: Tensor
    none: Tensor
    one: Tensor
    two: Tensor

    @classmethod
    def of(cls, G: Tensor, J: Tensor, slab: Slab) -> Hypotheses:
        """Weigh all sets by their evidence.

        Args:
            G: As in the class.
            J: Information about the loud weights, likewise, ``u x s x s``.
            slab: Prior of the loud weights.
        """
        s, variance = G.shape[1], slab.variance
        q = 1 / variance + J.diagonal(dim1=1, dim2=2)  # (u, s)
        single = math.log(slab.one / s) + 0.5 * (G**2 / q - (variance * q).log())  # (u, s)
        i, j = torch.triu_indices(s, s, offset=1, device=G.device)  # (p,), (p,)
        between, qi, qj, Gi, Gj = J[:, i, j], q[:, i], q[:, j], G[:, i], G[:, j]  # (u, p)
        det = (qi * qj - between**2).clamp(min=1e-12)
        first, second = (qj * Gi - between * Gj) / det, (qi * Gj - between * Gi) / det
        pair = math.log(2 * slab.two / max(1, s * (s - 1))) + 0.5 * (
            Gi * first + Gj * second - (variance[i] * variance[j] * det).log()
        )
        none = torch.full_like(G[:, :1], math.log(1 - slab.one - slab.two))
        chances = torch.cat([none, single, pair], dim=1).softmax(dim=1)  # (u, 1 + s + p)
        none, one, two = chances.split([1, s, len(i)], dim=1)
        return cls(G, q, i, j, between, det, first, second, none, one, two)

    def average(self) -> Loud:
        """Average over all sets."""
        each, two = self.G / self.q, self.two
        second_of, first_of = self.q[:, self.i] / self.det, self.q[:, self.j] / self.det  # variances, (u, p)
        mean = self.one * each + self._table(two * self.first, two * self.second).sum(dim=2)  # (u, s)
        square = self.one * (each**2 + 1 / self.q) + self._table(
            two * (self.first**2 + first_of), two * (self.second**2 + second_of)
        ).sum(dim=2)
        shared = two * (self.first * self.second - self.between / self.det)
        product = self._table(shared, shared) + torch.diag_embed(square)  # (u, s, s)
        chance = self.one + self._table(two, two).sum(dim=2)
        return Loud(mean, product - mean[:, :, None] * mean[:, None, :], chance)

    def along(self, D: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Return mean and variance of what each set adds along axes: those of one feature, those of pairs.

        Args:
            D: Change along each axis by a loud weight, ``u x a x s``.

        Returns:
            Twice two arrays, ``u x a x s`` and ``u x a x p``.
        """
        q, det = self.q[:, None], self.det[:, None]  # (u, 1, s), (u, 1, p)
        Di, Dj = D[:, :, self.i], D[:, :, self.j]  # (u, a, p)
        square = Di**2 * q[:, :, self.j] + Dj**2 * q[:, :, self.i] - 2 * Di * Dj * self.between[:, None]
        mean = Di * self.first[:, None] + Dj * self.second[:, None]
        return (D * (self.G / self.q)[:, None], mean), (D**2 / q, (square / det).clamp(min=0))

    def _table(self, first: Tensor, second: Tensor) -> Tensor:
        """Return numbers of the two features of each pair (``u x p``) as a table, ``u x s x s``."""
        table = self.G.new_zeros(*self.G.shape, self.G.shape[1])
        table[:, self.i, self.j], table[:, self.j, self.i] = first, second
        return table
