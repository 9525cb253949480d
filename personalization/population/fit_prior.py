"""Fit of the population prior on consenting members: mean, directions of taste, trust in heads.

The fit starts cold and is deterministic. The mean is one regression over all members in all features, with a
penalty chosen on held-out replies and members. EM then estimates the covariance of members' heads around it
(Laplace approximation in the E step), in a basis of the principal directions of the rated replies. Each
member's threshold is independent of the taste. Mean and covariance are updated in turns, so that a strict or
an unusual member does not pull the mean. Last, :mod:`personalization.population.calibration` finds the trust
in heads.

No member weighs more than a cap, and a few members cannot move far from the starter prior. Members are sorted
by their content first, so that the same pool gives the same bytes in any order.

Called by :mod:`personalization.rounds.trainer` in a worker process, by the evaluation and by the starter
command; imports torch and NumPy, nothing of storage or Discord.

Source: Dempster, Laird, Rubin (1977) for EM; Gelman et al. (2013), Bayesian Data Analysis, 15 and 16, for the
hierarchical logistic model.
"""

# torch ships without types for these; and matrices are capital here, as in the sources.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportConstantRedefinition=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from personalization.arrays import DoubleArray, FloatArray
from personalization.heads.heads import HeadBank, Prior
from personalization.population.calibration import calibrate_with_threshold, folds, held_out, rank_loss
from personalization.population.pooled import Pool, Pooled, Teacher, teachers
from personalization.score_quality import as_good_as_the_best
from personalization.settings import Device, PriorSettings
from personalization.solving.newton import newton_primal
from personalization.solving.training import Examples

__all__ = ["Pool", "fit_prior"]

TURNS = 12
EM_STEPS = 3
"""In each turn."""
START_BIAS_VARIANCE = 4.0
SOLVED = 1e-5
"""Residual at which a member counts as solved in an EM step. The next step continues from there, and the
result is rounded to a thousandth."""
STARTER_VARIANCE = 0.02
"""Variance of taste in each direction of the basis, if the starter prior has no factor."""
STARTER_MEMBERS = 5.0
"""Number of members that the starter's covariance counts like."""
DEFAULTS = PriorSettings()
MEMBERS_AT_ONCE = 64
RIDGES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""Candidate penalties on the mean: precision of each weight on an embedding of length 1."""
RIDGE = 1.0
"""Penalty around a learnt starter, with too few members to choose a penalty by.

It is mild: EM would take a shared taste that the mean misses for a difference between members, and heads of
few labels would overfit (docs/learning.md, "The starter prior").
"""
PLAIN_RIDGE = 100.0
"""Penalty around a plain starter, whose mean of zero carries no information, with too few members."""


def fit_prior(
    pool: Pool,
    starter: Prior,
    *,
    member_cap: float,
    device: Device = "auto",
    n_embedding: int | None = None,
    calibrated: bool = True,
    settings: PriorSettings = DEFAULTS,
) -> Prior:
    """Learn the population prior. Blocks.

    Cost: O(n r^2) for each of the EM steps, twice; 50,000 labels take about 20 s on two CPU cores. Memory is
    bounded by chunks of members.

    Args:
        pool: The examples of all members.
        starter: Mean and covariance that a small population stays near, of the same d.
        member_cap: Largest total weight of one member, > 0.
        device: Where to solve.
        n_embedding: Number of features of the embedding, which come first; the rest are style. None: all.
        calibrated: Whether to fit trust and calibration, which takes most of the time.
        settings: Rank and scales.

    Raises:
        DeviceMissing: This machine does not have the named device.
        ValueError: The pool has another number of features than the starter.
    """
    if pool.X.shape[1] != starter.dim:
        raise ValueError(f"expected a pool of the prior's {starter.dim} features, found {pool.X.shape[1]}")

    members = teachers(pool, member_cap)
    ridge = choose_ridge(
        pool, members, starter, device=device, n_embedding=n_embedding, style_scale=settings.style_scale
    )

    def learn(some: Sequence[Teacher]) -> Prior:
        return _learn(pool, some, starter, ridge, device, n_embedding, settings)

    prior = learn(members)
    if not calibrated:
        return prior
    found = calibrate_with_threshold(pool, members, learn, device, starter.bias_variance)
    if found is None:
        return replace(prior, calibration=starter.calibration)
    table, widened = found
    return replace(
        prior,
        calibration=table,
        bias_variance=starter.bias_variance if widened else prior.bias_variance,
    )


def choose_ridge(
    pool: Pool,
    members: Sequence[Teacher],
    starter: Prior,
    *,
    device: Device,
    n_embedding: int | None,
    style_scale: float = DEFAULTS.style_scale,
) -> float:
    """Choose the penalty on the mean that ranks held-out exchanges of held-out members best."""
    validated = folds(pool, members)
    if not validated:
        return RIDGE if starter.mean.any() else PLAIN_RIDGE
    centre = np.append(starter.mean, starter.bias_mean).astype(np.float64)
    losses = np.zeros((len(RIDGES), len(validated)))
    for f, fold in enumerate(validated):
        pooled, theta = Pooled.of(pool, fold.taught, device), centre
        for i, ridge in reversed(list(enumerate(RIDGES))):
            # Not scaled to the fold: the precision of a prior does not depend on the number of labels.
            precision = mean_precision(starter, n_embedding, ridge, style_scale)
            theta = pooled.solve(centre, precision, begin=theta)
            bank = HeadBank(theta[None, :-1].astype(np.float16), theta[-1:].astype(np.float16), "", "")
            outcome = held_out(pool, fold, partial(_alike, bank), 0)
            if outcome is not None:
                losses[i, f] = rank_loss(outcome.own, outcome)
    return RIDGES[best_or_next_smaller(losses)]


def best_or_next_smaller(losses: DoubleArray) -> int:
    """Choose a penalty: the next smaller than the best if it ranks as well, else the best.

    EM takes a shared taste that the mean misses for a difference between members, so a penalty that is too
    large costs the heads far more than one that is too small. The smallest penalty that ranks as well would
    be wrong: if members share nothing, all penalties rank as well, and a free mean would be noise.

    Args:
        losses: Loss of each penalty, in rising order, on each fold, ``c x f``.

    Returns:
        Index of the penalty.
    """
    best = int(np.argmin(losses.mean(axis=1)))
    return best - 1 if best > 0 and as_good_as_the_best(losses)[best - 1] else best


def _alike(bank: HeadBank, examples: Examples) -> HeadBank:
    """Repeat the one head of a bank for every member."""
    u = len(examples.y)
    return HeadBank(np.repeat(bank.weights, u, axis=0), np.repeat(bank.biases, u), "", "")


# --- mean and covariance ---------------------------------------------------------------------------------


def _learn(
    pool: Pool,
    members: Sequence[Teacher],
    starter: Prior,
    ridge: float,
    device: Device,
    n_embedding: int | None,
    settings: PriorSettings,
) -> Prior:
    """Fit mean and covariance in turns, and round the result, so that equal pools give equal bytes."""
    pooled = Pooled.of(pool, members, device)
    centre = np.append(starter.mean, starter.bias_mean).astype(np.float64)
    precision = mean_precision(starter, n_embedding, ridge, settings.style_scale)
    theta = pooled.solve(centre, precision)  # (d + 1,)
    basis = _basis(pooled, starter.dim if n_embedding is None else n_embedding, settings)
    chunks = list(_chunks(pooled, members, basis))
    S = torch.eye(basis.directions.shape[1] + 1).to(pooled.X) * settings.start_variance
    S[-1, -1] = START_BIAS_VARIANCE
    believed = torch.from_numpy(_believed(starter, basis)).to(S)
    modes = [torch.zeros_like(chunk.C[:, 0]) for chunk in chunks]  # (u, r + 1) each
    for turn in range(TURNS):
        S, own = _em(chunks, modes, pooled.scores(theta), S=S, believed=believed)
        if turn < TURNS - 1:
            theta = pooled.solve(centre, precision, own, begin=theta)
    values, vectors = torch.linalg.eigh(S[:-1, :-1])
    U = basis.directions @ (vectors * values.clamp(min=0).sqrt()).cpu().numpy().astype(np.float64)  # (d, r)
    U = U * np.sign(U[np.abs(U).argmax(axis=0), np.arange(U.shape[1])])
    # Members differ around the centre of the rated replies, so each direction has a part in the intercept.
    factor = np.vstack([U, -basis.centre @ U])  # (d + 1, r)
    return Prior(
        _rounded(theta[:-1]),
        np.zeros(starter.dim, dtype=np.float32),
        float(np.float16(theta[-1])),
        float(np.float16(float(S[-1, -1]))),
        starter.feature_id,
        _rounded(factor),
    )


def _em(
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


def mean_precision(
    starter: Prior, n_embedding: int | None, ridge: float, style_scale: float = DEFAULTS.style_scale
) -> DoubleArray:
    """Return the precision of the mean around the starter's, ``d + 1``, with style features rescaled."""
    precision = np.full(starter.dim + 1, ridge)
    precision[starter.dim if n_embedding is None else n_embedding : -1] /= style_scale**2
    precision[-1] = 1 / starter.bias_variance
    return precision


def _rounded(values: DoubleArray) -> FloatArray:
    # Rounded like a head, so that digits that differ between machines do not reach the bytes.
    return values.astype(np.float16).astype(np.float32)


@dataclass(frozen=True, eq=False, slots=True)
class _Basis:
    """Principal directions of the rated replies: centre ``d`` and directions ``d x r``, float64."""

    centre: DoubleArray
    directions: DoubleArray


def _basis(pooled: Pooled, n_embedding: int, settings: PriorSettings) -> _Basis:
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
    return _Basis(centre / scale, directions * scale[:, None])


def _believed(starter: Prior, basis: _Basis) -> DoubleArray:
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


def _chunks(pooled: Pooled, members: Sequence[Teacher], basis: _Basis) -> Iterator[Chunk]:
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
