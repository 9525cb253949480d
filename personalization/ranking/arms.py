"""Arms of a bandit: which kinds of candidates a member likes, from likes and dislikes alone.

A candidate has four parts: its style, its writer, the learnt wish in its prompt, and whether examples stood
in it. Each part is a bandit of its own, whose arms are the options of the part, so that twenty labels say
something about each of them. The candidates of a reply are dealt by :func:`shares`:

1. Levels, one within the other: all members, the members of the server, the member.
2. At each level either every arm is liked as at the level above, apart from how much is liked at all (the
   spike), or each arm has a rate of its own, from a Beta distribution around that of the level above (the
   slab). The labels decide how probable the slab is. So chance alone, as of a member who tosses coins, hardly
   moves anything.
3. Thompson sampling: an arm is dealt with the probability that its rate is the largest. The probability is
   computed by quadrature, so it is exact, known and can be stored for the report.
4. The probability multiplies the base share of the arm. Where there is a plain arm, the share of each other
   arm is also multiplied by twice the probability that the member likes it at least as much, if that is less
   than 1. So an arm that is liked less than the plain one loses its candidates soon.
5. A :data:`FLOOR` of the base share remains, so that a taste may change.

Everything is a pure function of the labels, so forgetting is exact. NumPy only.

Source: Thompson (1933); Chapelle and Li (2011), An empirical evaluation of Thompson sampling. Mitchell and
Beauchamp (1988), for spike and slab.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from personalization.arrays import DoubleArray

FLOOR = 0.1
"""Part of the base share that an arm keeps, whatever is liked."""
SPREAD = 4.0
"""Labels that the rate of the level above is worth, where a level has rates of its own."""
DIFFERS = 0.35
"""Probability, before any label, that a level has rates of its own."""
MOST_POOLED = 30.0
"""Labels that an arm counts with at most at a level of many members, because members differ."""
_GRID = (np.arange(256) + 0.5) / 256
_STEPS = 40


@dataclass(frozen=True, slots=True)
class Tally:
    """Weights of the labels of an arm: likes and dislikes, each >= 0."""

    liked: float = 0.0
    disliked: float = 0.0

    @property
    def n(self) -> float:
        """Weight of all labels."""
        return self.liked + self.disliked


NO_LABELS = Tally()
Level = Mapping[str, Tally]
"""Arm -> its labels at one level; arms without labels may be missing."""


def shares(
    base: Mapping[str, float], levels: Sequence[Level], *, plain: str | None = None
) -> dict[str, float]:
    """Return the probability with which each arm is dealt; they sum to 1.

    Args:
        base: Arm -> its share without any label, > 0; they need not sum to 1.
        levels: Labels, the widest level first. All but the last are of many members.
        plain: The arm that the others must not fall behind; None: no arm is.
    """
    whole = sum(base.values())
    even = {arm: share / whole for arm, share in base.items()}
    if len(base) == 1:
        return even
    best, keeps = _chances(list(base), levels, plain)
    tilted = np.array(list(even.values())) * best * keeps
    tilted /= tilted.sum()
    return {
        arm: FLOOR * share + (1 - FLOOR) * float(part)
        for (arm, share), part in zip(even.items(), tilted, strict=True)
    }


def _chances(
    arms: Sequence[str], levels: Sequence[Level], plain: str | None
) -> tuple[DoubleArray, DoubleArray]:
    """Return the probability of each arm to be liked most (n), and the part that "never worse" leaves (n)."""
    n = len(arms)
    centre, best, keeps = np.full(n, 0.5), np.full(n, 1 / n), np.ones(n)
    for place, level in enumerate(levels):
        found = [level.get(arm, NO_LABELS) for arm in arms]
        liked = np.array([one.liked for one in found])
        labels = np.array([one.n for one in found])
        if not labels.any():
            continue
        if place < len(levels) - 1:
            kept = np.minimum(1.0, MOST_POOLED / np.maximum(labels, MOST_POOLED))
            liked, labels = liked * kept, labels * kept
        centre = _shifted(centre, liked, labels)
        differs = _differs(centre, liked, labels)
        own_liked, own_disliked = centre * SPREAD + liked, (1 - centre) * SPREAD + labels - liked
        best = (1 - differs) * best + differs * _largest(own_liked, own_disliked)
        centre = (1 - differs) * centre + differs * own_liked / (own_liked + own_disliked)
        if plain in arms:
            keeps = _as_good_as(arms.index(plain), own_liked, own_disliked)
    return best, keeps


def _as_good_as(plain: int, liked: DoubleArray, disliked: DoubleArray) -> DoubleArray:
    """Return twice the probability of each arm to be liked at least like the plain one, at most 1 (n)."""
    pairs = [_largest(liked[[i, plain]], disliked[[i, plain]])[0] for i in range(len(liked))]
    return np.minimum(1.0, 2 * np.array(pairs))


def _shifted(centre: DoubleArray, liked: DoubleArray, labels: DoubleArray) -> DoubleArray:
    """Shift the rates (n) by one amount, logits, to how much is liked at this level.

    Two labels without a shift are added, so that a first label shifts little. Solved by bisection.
    """
    at = np.log(centre) - np.log1p(-centre)
    wanted, low, high = float(liked.sum() + 2 * centre.mean()), -8.0, 8.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        rates = 1 / (1 + np.exp(-(at + middle)))
        if float(labels @ rates + 2 * rates.mean()) < wanted:
            low = middle
        else:
            high = middle
    return np.clip(1 / (1 + np.exp(-(at + low))), 1e-3, 1 - 1e-3)


def _differs(centre: DoubleArray, liked: DoubleArray, labels: DoubleArray) -> float:
    """Return the probability that the arms have rates of their own, given the labels."""
    disliked = labels - liked
    same = float(liked @ np.log(centre) + disliked @ np.log1p(-centre))
    own = sum(
        _log_beta(c * SPREAD + a, (1 - c) * SPREAD + b) - _log_beta(c * SPREAD, (1 - c) * SPREAD)
        for c, a, b in zip(centre.tolist(), liked.tolist(), disliked.tolist(), strict=True)
    )
    odds = math.log(DIFFERS / (1 - DIFFERS)) + own - same
    return 1 / (1 + math.exp(-max(-500.0, min(500.0, odds))))


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _largest(liked: DoubleArray, disliked: DoubleArray) -> DoubleArray:
    """Return the probability of each of these Beta variables (n) to be the largest, by quadrature."""
    log_density = np.outer(liked - 1, np.log(_GRID)) + np.outer(disliked - 1, np.log1p(-_GRID))  # (n, grid)
    mass = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    mass /= mass.sum(axis=1, keepdims=True)
    below = np.maximum(np.cumsum(mass, axis=1) - mass / 2, 1e-300)
    logs = np.log(below)
    found = (mass * np.exp(logs.sum(axis=0) - logs)).sum(axis=1)  # (n,)
    return found / found.sum()
