"""Differences between members: the basis of taste, and EM for the covariance of heads around a mean.

Used by :mod:`personalization.population.fit_prior`; torch and NumPy.

Source: Dempster, Laird, Rubin (1977) for EM; Gelman et al. (2013), Bayesian Data Analysis, 15 and 16, for the
hierarchical logistic model.
"""

# torch ships without types for these; and matrices are capital here, as in the sources.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportConstantRedefinition=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from personalization.arrays import DoubleArray
from personalization.heads.heads import Prior
from personalization.population.pooled import Pooled, Teacher
from personalization.settings import PriorSettings
from personalization.solving.newton import newton_primal

EM_STEPS = 3
"""In each turn."""
SOLVED = 1e-5
"""Residual at which a member counts as solved in an EM step. The next step continues from there, and the
result is rounded to a thousandth."""
STARTER_VARIANCE = 0.02
"""Variance of taste in each direction of the basis, if the starter prior has no factor."""
STARTER_MEMBERS = 5.0
"""Number of members that the starter's covariance counts like."""
MEMBERS_AT_ONCE = 64


@dataclass(frozen=True, eq=False, slots=True)
class Basis:
    """Principal directions of the rated replies: centre ``d`` and directions ``d x r``, float64."""

    centre: DoubleArray
    directions: DoubleArray


def basis_of(pooled: Pooled, n_embedding: int, settings: PriorSettings) -> Basis:
    """Find the principal directions of the rated replies, whitened by the power in the settings."""
    X = pooled.X[:, :-1].cpu().numpy().astype(np.float64)  # (m, d)
    scale = np.ones(X.shape[1])
    scale[n_embedding:] = settings.style_scale
    trust = pooled.w.cpu().numpy().astype(np.float64)  # capped, so that no member decides the directions
    count = np.bincount(pooled.row.cpu().numpy(), weights=trust, minlength=len(X))
    share = (count / count.sum())[:, None]  # (m, 1)
    X = X * scale
    pairs_only = not bool((pooled.X[:, -1] != 0).any())
    centre = np.zeros(X.shape[1]) if pairs_only else (share * X).sum(axis=0)
    values, vectors = np.linalg.eigh(X.T @ (share * X) - np.outer(centre, centre))
    kept = np.argsort(values)[::-1][: min(settings.rank, len(scale))]
    kept = kept[values[kept] > 1e-9 * values.max()]
    values, vectors = values[kept], vectors[:, kept]
    power = settings.whitening  # at 0.25, a direction's spread enters by its square root
    directions = vectors / values**power / np.sqrt((values ** (1 - 2 * power)).mean())
    directions = directions * np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(len(kept))])
    return Basis(centre / scale, directions * scale[:, None])


def believed_in(starter: Prior, basis: Basis) -> DoubleArray:
    """Express the starter's covariance in the basis, ``(r + 1) x (r + 1)``."""
    r = basis.directions.shape[1]
    S = np.diag(np.append(np.full(r, STARTER_VARIANCE), starter.bias_variance))
    if starter.factor is not None:
        known = np.linalg.pinv(basis.directions) @ starter.factor[:-1]  # (r, r of the starter)
        S[:r, :r] = known @ known.T + 0.1 * S[:r, :r]
    return S


@dataclass(frozen=True, eq=False, slots=True)
class Chunk:
    """Members of similar size, padded.

    Attributes:
        C: Coordinates in the basis, ``u x n x (r + 1)``; the last is 1 where the score has an intercept.
        y: Label values, ``u x n``.
        w: Weights, ``u x n``, 0 for padding.
        mask: True where there is a label, ``u x n``.
        places: Position of the label in the concatenation of all members' labels, ``u x n``.
    """

    C: Tensor
    y: Tensor
    w: Tensor
    mask: Tensor
    places: Tensor


def chunks_of(pooled: Pooled, members: Sequence[Teacher], basis: Basis) -> Iterator[Chunk]:
    """Cut the members into padded chunks of similar size."""
    sizes = np.array([len(member.rows) for member in members])
    starts = np.cumsum(sizes) - sizes
    order = np.argsort(-sizes, kind="stable")
    centre, directions = (torch.from_numpy(part).to(pooled.X) for part in (basis.centre, basis.directions))
    bias = pooled.X[:, -1:]  # (m, 1)
    Z = torch.cat([(pooled.X[:, :-1] - bias * centre) @ directions, bias], dim=1)  # (m, r + 1)
    for first in range(0, len(order), MEMBERS_AT_ONCE):
        taken = order[first : first + MEMBERS_AT_ONCE]
        within = np.arange(int(sizes[taken[0]]))
        here = within < sizes[taken][:, None]  # (u, n)
        places = torch.from_numpy(np.where(here, starts[taken][:, None] + within, 0)).to(bias.device)
        mask = torch.from_numpy(here).to(bias.device)
        C = Z[pooled.row[places]] * mask[:, :, None]  # (u, n, r + 1)
        yield Chunk(C, pooled.y[places] * mask, pooled.w[places] * mask, mask, places)


def _posterior(chunk: Chunk, m: Tensor, P: Tensor, *, start: Tensor) -> tuple[Tensor, Tensor]:
    """Return the Laplace approximation of members' deviations: mode ``u x r``, covariance ``u x r x r``."""
    C, w = chunk.C, chunk.w
    z, _, _ = newton_primal(C, m, chunk.y, w, precision=P, start=start, tolerance=SOLVED)
    p = torch.sigmoid(m + (C @ z[:, :, None])[:, :, 0])  # (u, n)
    H = C.transpose(1, 2) @ (C * (w * p * (1 - p))[:, :, None]) + P  # (u, r, r)
    return z, torch.cholesky_inverse(torch.linalg.cholesky(H))


def em_steps(
    chunks: Sequence[Chunk], modes: list[Tensor], scores: Tensor, *, S: Tensor, believed: Tensor
) -> tuple[Tensor, Tensor]:
    """Take :data:`EM_STEPS` EM steps for the covariance of members around a given mean.

    Args:
        chunks: The members.
        modes: Last deviations of each chunk, ``u x (r + 1)``; replaced by the new ones.
        scores: Score of every label's reply by the mean head, ``n``.
        S: Covariance to start from, ``(r + 1) x (r + 1)``, the intercept last.
        believed: Covariance of the starter prior, of the same shape.

    Returns:
        The covariance, and what each member's deviation adds to the score of each label, ``n``.
    """
    threshold = S[-1, -1].clone()
    u, offset = sum(len(chunk.y) for chunk in chunks), torch.zeros_like(scores)
    learn_bias = any(bool((chunk.C[:, :, -1] != 0).any()) for chunk in chunks)
    for step in range(EM_STEPS):
        P = torch.linalg.inv(S)
        second = torch.zeros_like(S)
        for i, chunk in enumerate(chunks):
            m = scores[chunk.places] * chunk.mask  # (u, n)
            z, V = _posterior(chunk, m, P, start=modes[i])  # (u, r + 1), (u, r + 1, r + 1)
            modes[i] = z
            second = second + z.T @ z + V.sum(dim=0)
            if step == EM_STEPS - 1:
                offset[chunk.places[chunk.mask]] = (chunk.C @ z[:, :, None])[:, :, 0][chunk.mask]
        S = (second + STARTER_MEMBERS * believed) / (u + STARTER_MEMBERS)
        own = S[-1, -1].clone() if learn_bias else threshold
        S[-1, :], S[:, -1] = 0.0, 0.0  # the threshold is independent of the taste
        S[-1, -1] = own
        S = (S + S.T) / 2
    return S, offset
