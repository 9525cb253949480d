"""Outcomes of held-out members: scores beside labels, their losses, and the fit of probabilities to them.

Used by :mod:`personalization.population.calibration`, by the fit of the prior and by the evaluation; NumPy.

Source: Platt (1999), Probabilistic outputs for support vector machines, with one slope and shift for each
bucket of the number of labels.
"""

# Matrices are capital here, as in the sources.
# pyright: reportConstantRedefinition=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from personalization.arrays import BoolArray, DoubleArray, IntArray

SLOPES = tuple(2.0 ** (i / 2) for i in range(-6, 13))
ALONE, STEP = (0.5, 0.5), (0.2, 0.2)
"""Standard deviations of slope (as a share of the anchor's) and shift: of the first two buckets around what
stands without data, and of each other bucket around the one before."""


@dataclass(frozen=True, eq=False, slots=True)
class Outcome:
    """Scores by heads of k labels for other labels of the same members; one entry for each label, ``n``.

    Attributes:
        base: Score by the mean of the prior, without the intercept.
        own: Contribution of the head, added to ``base``.
        biases: The head's intercept; 0 for pairs.
        y: Label values.
        outcome: Values that probabilities are calibrated to.
        member: Number of the member who gave the label; a member's labels are consecutive.
        pairwise: Whether the label compares two replies.
        share: Part of the member's evidence that counts, by :mod:`personalization.sharing`.
    """

    base: DoubleArray
    own: DoubleArray
    biases: DoubleArray
    y: DoubleArray
    outcome: DoubleArray
    member: IntArray
    pairwise: BoolArray
    share: DoubleArray

    def scores(self, trust: float) -> DoubleArray:
        """Return the scores at this trust (0 to 1), before slope and shift, ``n``."""
        return self.base + trust * self.own + self.biases


def together(parts: Sequence[Outcome]) -> Outcome | None:
    """Concatenate outcomes of different members; None if there are none."""
    if not parts:
        return None
    names = [field.name for field in fields(Outcome)]
    return Outcome(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def wrong_share(scores: DoubleArray, asked: Outcome) -> DoubleArray:
    """Return the share of each member's pairs in the wrong order, members ascending; NaN without pairs."""
    gaps = _gaps(scores, asked)
    return np.array([np.where(gap == 0, 0.5, gap < 0).mean() if len(gap) else np.nan for gap in gaps])


def rank_loss(scores: DoubleArray, asked: Outcome) -> float:
    """Return the mean over members, by share, of the logistic loss over their pairs of different labels.

    A smooth version of the concordance, taken at the slope that suits the scores best, so that the scale of
    the scores does not matter. Used to choose the penalty on the mean: a smooth criterion is less affected by
    chance.

    Args:
        scores: ``n``; for pairs the difference of the two scores.
        asked: The labels.
    """
    losses = rank_losses(scores, asked)
    starts = np.append(0, np.flatnonzero(np.diff(asked.member)) + 1)
    share = asked.share[starts]
    known = ~np.isnan(losses)
    return float(share[known] @ losses[known] / share[known].sum()) if known.any() else 0.0


def rank_losses(scores: DoubleArray, asked: Outcome) -> DoubleArray:
    """Return each member's part of :func:`rank_loss`, members ascending; NaN without pairs."""
    starts = np.append(0, np.flatnonzero(np.diff(asked.member)) + 1)
    gaps = _gaps(scores, asked)
    lengths = np.array([len(gap) for gap in gaps])
    u = np.repeat(np.arange(len(gaps)), lengths)
    gap, share = np.concatenate(gaps), asked.share[starts]
    counts = np.where(lengths > 0, share, 0.0)
    best: DoubleArray = np.full(len(gaps), np.nan)
    for slope in SLOPES:
        total = np.bincount(u, weights=np.logaddexp(0, -slope * gap), minlength=len(gaps))
        losses = np.divide(total, lengths, out=np.full(len(gaps), np.nan), where=lengths > 0)
        if np.isnan(best).all() or np.nansum(counts * losses) < np.nansum(counts * best):
            best = losses
    return best


def _gaps(scores: DoubleArray, asked: Outcome) -> list[DoubleArray]:
    """Return the lead of the better reply, for each member's pairs of differently labelled replies.

    For a member who gave both kinds of label, comparisons of two replies are left out.
    """
    gaps: list[DoubleArray] = []
    for rows in np.split(np.arange(len(scores)), np.flatnonzero(np.diff(asked.member)) + 1):
        pairs = asked.pairwise[rows]
        if pairs.all():
            gaps.append(scores[rows] * np.sign(asked.y[rows] - 0.5))
        else:
            s, y = scores[rows][~pairs], asked.y[rows][~pairs]
            gaps.append((s[:, None] - s[None, :])[y[:, None] > y[None, :]])
    return gaps


def platt(
    s: DoubleArray, y: DoubleArray, *, shift: bool, weight: DoubleArray | None = None
) -> tuple[float, float]:
    """Fit slope and shift of ``sigmoid(slope s + shift)`` to labels, with a weak prior at (1, 0).

    Args:
        s: Scores, ``n``.
        y: Outcomes in [0, 1], ``n``.
        shift: Whether to fit a shift; False: it stays 0.
        weight: Weight of each label, ``n``; None: 1.
    """
    A = np.stack([s, np.full_like(s, float(shift))], axis=1)  # (n, 2)
    w = np.ones_like(s) if weight is None else weight
    theta = np.array([1.0, 0.0])
    # Not personalization.solving.newton.maximise: the two unknowns stay near their start, so clipping
    # a step at 1 damps it well enough, and the objective need not be evaluated.
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(A @ theta, -40, 40)))
        gradient = A.T @ (w * (y - p)) - (theta - [1.0, 0.0])
        step = np.linalg.solve((A * (w * p * (1 - p))[:, None]).T @ A + np.eye(2), gradient)
        theta = theta + np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-9:
            break
    return float(theta[0]), float(theta[1])


def platt_chain(
    parts: Sequence[tuple[DoubleArray, DoubleArray, DoubleArray] | None],
    anchor: DoubleArray,
    *,
    shift: bool,
) -> DoubleArray:
    """Fit slope and shift of several buckets at once, each drawn to its neighbours and all to an anchor.

    A bucket of few people says little about its slope. Its neighbours, whose heads have a few labels more or
    less, say more. So the deviations from the anchor are a random walk over the buckets with the standard
    deviations :data:`STEP`. The prior's own scores, in the bucket of no label, say nothing about heads.

    Args:
        parts: Scores, outcomes in [0, 1] and weights of each bucket, ``n`` each; None: no data.
        anchor: Slope and shift of each bucket that stand without data, ``b x 2``.
        shift: Whether to fit shifts; False: they stay the anchor's.

    Returns:
        ``b x 2``.
    """
    b = len(parts)
    slopes, shifts = np.asarray(anchor, np.float64).T
    walk = np.eye(b) - np.eye(b, k=-1)
    walk[1:2, 0] = 0.0
    precision = np.zeros((2 * b, 2 * b))
    for column in range(2):
        by_row = np.full(b, STEP[column] ** -2.0)
        by_row[:2] = ALONE[column] ** -2.0
        precision[column::2, column::2] = walk.T @ (by_row[:, None] * walk)
    start = np.stack([np.ones(b), shifts], axis=1).ravel()
    theta = start.copy()
    for _ in range(50):
        H, gradient = precision.copy(), -precision @ (theta - start)
        for i, part in enumerate(parts):
            if part is None:
                continue
            s, y, w = part
            A = np.stack([slopes[i] * s, np.full_like(s, float(shift))], axis=1)  # (n, 2)
            here = slice(2 * i, 2 * i + 2)
            f = A[:, 0] * theta[2 * i] + theta[2 * i + 1]
            p = 1 / (1 + np.exp(-np.clip(f, -40, 40)))
            H[here, here] += A.T @ (A * (w * p * (1 - p))[:, None])
            gradient[here] += A.T @ (w * (y - p))
        step = np.linalg.solve(H, gradient)
        theta = theta + np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-9:
            break
    factor, shifts = theta.reshape(b, 2).T
    return np.stack([factor * slopes, shifts], axis=1)
