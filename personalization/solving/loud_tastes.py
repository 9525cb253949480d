"""Sparse part of the prior: one or two features are loud in a member's taste, such as a reply's length.

Under the Gaussian part of the prior every feature matters a little. The sparse part adds, for at most two
of the features that may be loud, a weight with a large variance (spike and slab). Each set of loud features
is one hypothesis. Its evidence and its posterior follow in closed form from two small arrays of the member:
the gradient and the information that the labels hold about each feature, given the Gaussian part. So a
member costs one factorisation per step and not one fit per hypothesis. The posterior averages over all
hypotheses.

The logistic likelihood is replaced by a parabola that touches it at the posterior mean, which is then
computed again; :data:`STEPS` repetitions start at the prior. These parabolas lie below the likelihood, so
that no step goes too far, also where labels contradict each other. The last approximation is that of Laplace.
So the result is a pure function of prior and labels.

Called by :mod:`personalization.solving.posterior`; imports torch alone. Axes: ``u`` members, ``n``
examples, ``s`` features that may be loud, ``r`` directions.

Source: Mitchell and Beauchamp (1988), Bayesian variable selection in linear regression; Rasmussen and
Williams (2006), Gaussian Processes for Machine Learning, algorithm 3.1.
"""

# torch ships without types for these; and matrices are capital here, as in the sources.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportConstantRedefinition=false

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

STEPS = 6
"""Quadratic approximations of the likelihood before the last one."""
LEAST_CURVATURE = 1e-3
"""Least curvature of a label's loss relative to its weight, so that the working response stays finite."""


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


def average(G: Tensor, J: Tensor, slab: Slab) -> Loud:
    """Average over all sets of at most two loud features.

    Args:
        G: Gradient of the log-likelihood by the loud weights at 0, the Gaussian part marginalised, ``u x s``.
        J: Information about the loud weights, likewise, ``u x s x s``.
        slab: Prior of the loud weights.
    """
    s, variance = G.shape[1], slab.variance
    q = 1 / variance + J.diagonal(dim1=1, dim2=2)  # (u, s)
    single = math.log(slab.one / s) + 0.5 * (G**2 / q - (variance * q).log())  # (u, s)
    apart = ~torch.eye(s, dtype=torch.bool, device=G.device)
    qi, qj, Gi, Gj = q[:, :, None], q[:, None, :], G[:, :, None], G[:, None, :]
    det = (qi * qj - J**2).clamp(min=1e-12)  # (u, s, s)
    M = (qj * Gi - J * Gj) / det  # mean of the first of two, (u, s, s)
    # Each pair stands twice in the table, hence half its probability.
    pair = math.log(slab.two / max(1, s * (s - 1))) + 0.5 * (
        Gi * M + Gj * M.transpose(1, 2) - (variance[:, None] * variance * det).log()
    )
    pair = pair.masked_fill(~apart, -torch.inf)
    none = torch.full_like(G[:, :1], math.log(1 - slab.one - slab.two))
    everything = torch.cat([none, single, pair.flatten(1)], dim=1)
    chances = everything.softmax(dim=1)  # (u, 1 + s + s s)
    one, two = chances[:, 1 : s + 1], 2 * chances[:, s + 1 :].view_as(J)  # (u, s), (u, s, s)
    mean = one * G / q + (two * M).sum(dim=2)
    square = one * ((G / q) ** 2 + 1 / q) + (two * (M**2 + qj / det)).sum(dim=2)
    product = two * (M * M.transpose(1, 2) - J / det)
    product = product.masked_fill(~apart, 0.0) + torch.diag_embed(square)
    return Loud(mean, product - mean[:, :, None] * mean[:, None, :], one + two.sum(dim=2))


@dataclass(frozen=True, eq=False, slots=True)
class Sparse:
    """Posterior under the whole prior.

    Attributes:
        a: Dual weights of the Gaussian part, ``u x n``.
        loud: Posterior of the loud weights.
        scores: Posterior mean of the examples' scores, ``u x n``.
        S: Posterior variance of these scores, ``u x n``.
        V: Posterior covariance of the coordinates of the Gaussian part, ``u x r x r``.
    """

    a: Tensor
    loud: Loud
    scores: Tensor
    S: Tensor
    V: Tensor


def solve(C: Tensor, K: Tensor, m: Tensor, X: Tensor, slab: Slab, y: Tensor, w: Tensor) -> Sparse:
    """Solve members under a prior with a Gaussian and a sparse part.

    Args:
        C: Coordinates of the examples in the directions of the Gaussian part, ``u x n x r``.
        K: Covariance of the examples' scores under the Gaussian part, ``u x n x n``.
        m: Prior mean of the scores, ``u x n``.
        X: The features that may be loud, ``u x n x s``.
        slab: Prior of the loud weights.
        y: Label values, ``u x n``.
        w: Weights, ``u x n``; 0 for padding.
    """
    f = m
    for _ in range(STEPS):
        f = _step(K, m, X, slab, y, w, at=f, curvature=_bound(f)).scores
    step = _step(K, m, X, slab, y, w, at=f, curvature=f.sigmoid() * (1 - f.sigmoid()))
    loud, root = step.loud, step.root
    T = torch.linalg.solve_triangular(step.L, root[:, :, None] * K, upper=False)  # (u, n, n)
    Q = torch.linalg.solve_triangular(step.L, root[:, :, None] * C, upper=False)  # (u, n, r)
    D = X - K @ step.BX  # scores by the loud weights, the Gaussian part adapted, (u, n, s)
    S = K.diagonal(dim1=1, dim2=2) - (T**2).sum(dim=1) + ((D @ loud.covariance) * D).sum(dim=2)
    R = C.transpose(1, 2) @ step.BX  # (u, r, s)
    V = torch.eye(C.shape[2]).to(C) - Q.transpose(1, 2) @ Q + R @ loud.covariance @ R.transpose(1, 2)
    return Sparse(step.a, loud, step.scores, S, V)


@dataclass(frozen=True, eq=False, slots=True)
class _Step:
    """Posterior under one quadratic approximation.

    Attributes:
        a: As in :class:`Sparse`.
        loud: As in :class:`Sparse`.
        scores: As in :class:`Sparse`.
        root: Square roots of the curvatures, ``u x n``.
        L: Cholesky factor of ``I + root K root``, ``u x n x n``.
        BX: ``(K + 1 / curvature)^-1 X``, ``u x n x s``.
    """

    a: Tensor
    loud: Loud
    scores: Tensor
    root: Tensor
    L: Tensor
    BX: Tensor


def _bound(f: Tensor) -> Tensor:
    """Return the curvature at which a parabola that touches the loss of a label at f lies above it elsewhere.

    Source: Jaakkola and Jordan (2000), Bayesian parameter estimation via variational methods.
    """
    f = f.abs().clamp(min=1e-3)
    return (f / 2).tanh() / (2 * f)


def _step(
    K: Tensor, m: Tensor, X: Tensor, slab: Slab, y: Tensor, w: Tensor, *, at: Tensor, curvature: Tensor
) -> _Step:
    """Approximate the likelihood at these scores (``u x n``) with this curvature; see :func:`solve`."""
    p = at.sigmoid()
    curvature = curvature.clamp(min=LEAST_CURVATURE)
    root = (w * curvature).sqrt()  # (u, n)
    L = torch.linalg.cholesky(torch.eye(K.shape[1]).to(K) + root[:, :, None] * K * root[:, None, :])
    working = (root * (at - m + (y - p) / curvature))[:, :, None]  # (u, n, 1)
    both = torch.cholesky_solve(torch.cat([working, root[:, :, None] * X], dim=2), L)
    both = root[:, :, None] * both  # (u, n, 1 + s)
    G, J = (X.transpose(1, 2) @ both).split([1, X.shape[2]], dim=2)
    loud, BX = average(G[:, :, 0], J, slab), both[:, :, 1:]
    a = both[:, :, 0] - (BX @ loud.mean[:, :, None])[:, :, 0]  # (u, n)
    scores = m + (K @ a[:, :, None])[:, :, 0] + (X @ loud.mean[:, :, None])[:, :, 0]
    return _Step(a, loud, scores, root, L, BX)
