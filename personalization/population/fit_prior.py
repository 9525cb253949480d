"""Fit of the population prior on consenting members: mean, directions of taste, trust in heads.

The fit starts cold and is deterministic. The mean is one regression over all members in all features, with a
penalty chosen on held-out replies and members. EM then estimates the covariance of members' heads around it
(Laplace approximation in the E step), in a basis of the principal directions of the rated replies. Each
member's threshold is independent of the taste. Mean and covariance are updated in turns, so that a strict or
an unusual member does not pull the mean. Last, :mod:`personalization.population.calibration` finds the trust
in heads. Mean and covariance are used only where held-out members are ranked better by them
(:mod:`personalization.population.adoption`).

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

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from personalization.arrays import DoubleArray, FloatArray
from personalization.heads.heads import HeadBank, Prior
from personalization.population.adoption import (
    MEAN_NEEDED,
    NEEDED_BY_FEW,
    adopted,
    before,
    gains,
    losses_by_member,
)
from personalization.population.calibration import (
    MEMBERS_TO_VALIDATE,
    calibrate_with_threshold,
    folds,
    held_out,
)
from personalization.population.differences import basis_of, believed_in, chunks_of, em_steps
from personalization.population.outcomes import Outcome, rank_loss, together
from personalization.population.pooled import Pool, Pooled, Teacher, teachers
from personalization.score_quality import as_good_as_the_best
from personalization.settings import Device, PriorSettings
from personalization.solving.training import Examples

__all__ = ["Pool", "fit_prior"]

TURNS = 12
START_BIAS_VARIANCE = 4.0
DEFAULTS = PriorSettings()
RIDGES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""Candidate penalties on the mean: precision of each weight on an embedding of length 1."""
KEPT_RIDGE = 1e9
"""Penalty that keeps the mean at the starter's."""


def fit_prior(
    pool: Pool,
    starter: Prior,
    *,
    member_cap: float,
    device: Device = "auto",
    n_embedding: int | None = None,
    calibrated: bool = True,
    settings: PriorSettings = DEFAULTS,
    keep_mean: bool = False,
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
        keep_mean: Whether the mean's weights stay the starter's, because the members do not agree on one.

    Raises:
        DeviceMissing: This machine does not have the named device.
        ValueError: The pool has another number of features than the starter.
    """
    if pool.X.shape[1] != starter.dim:
        raise ValueError(f"expected a pool of the prior's {starter.dim} features, found {pool.X.shape[1]}")

    members = teachers(pool, member_cap)
    validated = folds(pool, members)
    ridge = KEPT_RIDGE
    if not keep_mean:
        ridge = choose_ridge(
            pool, members, starter, device=device, n_embedding=n_embedding, style_scale=settings.style_scale
        )

    def learn(some: Sequence[Teacher]) -> Prior:
        return _learn(pool, some, starter, ridge, device, n_embedding, settings)

    prior = learn(members)
    if not calibrated:
        return prior
    if not validated:  # nothing can be checked
        return replace(
            before(starter).of(prior, starter),
            bias_variance=starter.bias_variance,
            calibration=starter.calibration,
        )
    priors = [learn(fold.taught) for fold in validated]
    form = adopted(pool, validated, priors, starter, device)
    prior, priors = form.of(prior, starter), [form.of(one, starter) for one in priors]
    anchor = starter.calibration if form.spread is None else None
    table, widened = calibrate_with_threshold(
        pool, validated, priors, device, wide=starter.bias_variance, anchor=anchor
    )
    variance = starter.bias_variance if widened else prior.bias_variance
    return replace(prior, calibration=table, bias_variance=variance)


def choose_ridge(
    pool: Pool,
    members: Sequence[Teacher],
    starter: Prior,
    *,
    device: Device,
    n_embedding: int | None,
    style_scale: float = DEFAULTS.style_scale,
) -> float:
    """Choose the penalty on the mean that ranks held-out exchanges of held-out members best.

    Returns:
        The penalty; :data:`KEPT_RIDGE` where the starter's mean ranks them as well.
    """
    validated = folds(pool, members)
    if not validated:
        return KEPT_RIDGE
    centre = np.append(starter.mean, starter.bias_mean).astype(np.float64)
    losses = np.zeros((len(RIDGES), len(validated)))
    asked: list[list[Outcome]] = [[] for _ in RIDGES]
    for f, fold in enumerate(validated):
        pooled, theta = Pooled.of(pool, fold.taught, device), centre
        for i, ridge in reversed(list(enumerate(RIDGES))):
            # Not scaled to the fold: the precision of a prior does not depend on the number of labels.
            precision = mean_precision(starter, n_embedding, ridge, style_scale)
            theta = pooled.solve(centre, precision, begin=theta)
            bank = HeadBank(theta[None, :-1].astype(np.float16), theta[-1:].astype(np.float16), "", "")
            outcome = held_out(pool, fold, partial(_alike, bank), 0, starter.mean)
            if outcome is not None:
                losses[i, f] = rank_loss(outcome.base + outcome.own, outcome)
                asked[i].append(outcome)
    best = best_or_next_smaller(losses)
    everybody = together(asked[best])
    if everybody is None:
        return KEPT_RIDGE
    needed = MEAN_NEEDED if len(members) >= MEMBERS_TO_VALIDATE else NEEDED_BY_FEW
    without = losses_by_member([replace(everybody, own=np.zeros_like(everybody.own))])
    better = gains(losses_by_member([everybody]).over(without), needed)
    return RIDGES[best] if better else KEPT_RIDGE


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
    basis = basis_of(pooled, starter.dim if n_embedding is None else n_embedding, settings)
    chunks = list(chunks_of(pooled, members, basis))
    S = torch.eye(basis.directions.shape[1] + 1).to(pooled.X) * settings.start_variance
    S[-1, -1] = START_BIAS_VARIANCE
    believed = torch.from_numpy(believed_in(starter, basis)).to(S)
    modes = [torch.zeros_like(chunk.C[:, 0]) for chunk in chunks]  # (u, r + 1) each
    for turn in range(TURNS):
        S, own = em_steps(chunks, modes, pooled.scores(theta), S=S, believed=believed)
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
        loud=starter.loud,
        loud_chances=starter.loud_chances,
    )


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
