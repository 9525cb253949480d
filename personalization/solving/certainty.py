"""Certainty of the axes of style: the posterior probability that a member wants more, or less, of each.

It is computed where a head is solved, from the whole posterior, and stored with the head
(:mod:`personalization.heads.spread`). Under a prior with loud features it is averaged over all sets of them
(:mod:`personalization.solving.loud_tastes`). Called by :mod:`personalization.solving.posterior`; imports
torch. Axes: ``u`` members, ``n`` examples, ``d`` features, ``r`` directions, ``a`` axes of style, ``h`` parts
of a mixture.
"""

# torch ships without types for these; and matrices are capital here, as in the sources.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportConstantRedefinition=false

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from personalization.encoding.style_axes import axes_of
from personalization.heads.heads import Prior


@dataclass(frozen=True, eq=False, slots=True)
class StyleAxes:
    """The axes of style on a device, with what the Gaussian part of the prior says about them.

    Attributes:
        E: Each axis as a difference between two replies, ``a x d``.
        C: Their coordinates in the directions, ``a x (r + 1)``.
        mean: Weights of the average member, ``d``.
        variance: Variance of the weights beside the directions, ``d``.
    """

    E: Tensor
    C: Tensor
    mean: Tensor
    variance: Tensor

    @classmethod
    def of(cls, prior: Prior, A: Tensor, variance: Tensor) -> StyleAxes:
        """Return the axes of a prior with these directions (``d + 1 x r + 1``) and variances (``d``)."""
        E = torch.from_numpy(axes_of(prior.dim)).to(A)
        return cls(E, E @ A[:-1], torch.from_numpy(prior.mean.copy()).to(A), variance)

    @property
    def usual(self) -> Tensor:
        """What the average member wants along each axis, ``a``."""
        return self.E @ self.mean

    @property
    def spread(self) -> Tensor:
        """Variance of a taste along each axis, ``a``."""
        return (self.C**2).sum(dim=1) + self.E**2 @ self.variance

    def covariance(self, C: Tensor, X: Tensor) -> Tensor:
        """Return the covariance of each axis with examples' scores, ``u x a x n``.

        Args:
            C: Coordinates of the examples, ``u x n x (r + 1)``.
            X: Their features, ``u x n x d``.
        """
        return self.C @ C.transpose(1, 2) + (self.E * self.variance) @ X.transpose(1, 2)

    def of_gaussian(self, weights: Tensor, V: Tensor) -> Tensor:
        """Return the certainty of each axis where no feature may be loud, ``u x a``.

        Args:
            weights: Weights of the heads, ``u x d``.
            V: Posterior covariance of the coordinates, ``u x (r + 1) x (r + 1)``.
        """
        means = (weights - self.mean) @ self.E.T  # (u, a)
        variances = ((self.C @ V) * self.C).sum(dim=2) + self.E**2 @ self.variance  # (u, a)
        whole = torch.ones(len(means), 1, 1).to(means)
        return signed(means[:, :, None], variances[:, :, None], self.usual, whole)


def signed(means: Tensor, variances: Tensor, usual: Tensor, chances: Tensor) -> Tensor:
    """Return how certain it is that a member wants more, or less, of each axis.

    A member wants more of an axis if they want more of it than the average member does, and their whole
    taste, that of the average included, is for more of it. So "you like short answers" holds in both senses.

    Args:
        means: Means of the taste along each axis, without that of the average, ``u x a x h``.
        variances: Their variances, ``u x a x h``.
        usual: What the average member wants along each axis, ``a``.
        chances: Probability of each part of this mixture, ``u x 1 x h``; they sum to 1.

    Returns:
        ``u x a``, -1 to 1: positive for more of the axis, negative for less; the size is the probability.
    """
    sign = torch.where((chances * means).sum(dim=2) < 0, -1.0, 1.0).to(means)  # (u, a)
    bar = (-sign * usual).clamp(min=0)  # what outweighs the average, where that is for the opposite
    t = (sign[:, :, None] * means - bar[:, :, None]) / variances.clamp(min=1e-18).sqrt()
    return sign * (chances * torch.special.ndtr(t)).sum(dim=2)
