"""What another policy would have earned, told from the log of the one that ran: IPS, SNIPS, doubly robust.

Each reply was posted with a known chance. A reply that another policy would have posted more often counts
more, one that it would have posted less often counts less: so the log of one policy answers for another,
without trying it on anybody. How sure that is, an interval says; how many replies carry it, the effective
sample size. What one member does hangs together, and what they are shown depends on what they said before,
so members are what chance is counted over.

Plain functions on arrays, each with its source; NumPy only. Used by
:mod:`personalization.insight.uplift_report` on the bot's own log and by
:mod:`personalization.lab.bandit_replay` where the truth is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from personalization.arrays import BoolArray, DoubleArray, IntArray
from personalization.score_quality import EPS, clustered_mean

Z_95 = 1.959964
"""Normal quantile of a two-sided 95 % interval."""


@dataclass(frozen=True, eq=False, slots=True)
class Log:
    """What was posted, with which chances.

    Attributes:
        propensities: Chance of each candidate, ``n x k``, 0 where a reply had fewer; > 0 for the posted one.
        chosen: Index of the posted candidate, ``n``.
        member: To whom, ``n``.
    """

    propensities: DoubleArray
    chosen: IntArray
    member: IntArray

    def __post_init__(self) -> None:
        posted = self.of_posted(self.propensities)
        if len(posted) and not (posted > 0).all():
            raise ValueError(f"expected propensities > 0, found {float(posted.min()):g}")

    def of_posted(self, values: npt.NDArray[np.generic]) -> DoubleArray:
        """Take the value (``n x k``) of the candidate that was posted, ``n``."""
        return np.take_along_axis(values, self.chosen[:, None], axis=1)[:, 0].astype(np.float64)

    def only(self, here: BoolArray) -> Log:
        """Keep some of the replies (``n``)."""
        return Log(self.propensities[here], self.chosen[here], self.member[here])

    def answers_for(self, target: DoubleArray) -> BoolArray:
        """Tell for which replies all that the target might post could have been posted, ``n``.

        For the others no log can answer.
        """
        unable: IntArray = ((target > 0) & (self.propensities <= 0)).sum(axis=1)
        return unable == 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a policy would earn, or how much more than another one.

    Attributes:
        value: Mean reward a reply.
        low: Lower end of the 95 % interval, over members; NaN with fewer than two.
        high: Upper end of it.
        n_effective: Replies that carry the estimate, ``(sum w)^2 / sum w^2``; far below the number logged,
            the interval is not to be trusted. Of a difference: the smaller one of the two.
    """

    value: float
    low: float
    high: float
    n_effective: float


@dataclass(frozen=True, slots=True)
class Estimates:
    """The same by three estimators."""

    ips: Estimate
    snips: Estimate
    dr: Estimate


def mean_of(log: Log, rewards: DoubleArray) -> Estimate:
    """Give the mean reward (of ``n``) of the policy that ran."""
    return _estimate(rewards, log.member, float(len(rewards)))


def value_of(log: Log, rewards: DoubleArray, target: DoubleArray, predicted: DoubleArray) -> Estimates:
    """Estimate the mean reward of a policy.

    Args:
        log: What was posted.
        rewards: What that earned, ``n``.
        target: Chance that the policy gives to each candidate, ``n x k``.
        predicted: Reward predicted for each candidate, ``n x k``; only the doubly robust estimate uses it.
    """
    terms = _terms(log, rewards, target, predicted)
    carried = n_effective(log, target)
    return Estimates(*(_estimate(of, log.member, carried) for of in terms))


def difference_of(
    log: Log, rewards: DoubleArray, target: DoubleArray, other: DoubleArray, predicted: DoubleArray
) -> Estimates:
    """Estimate by how much a policy earns more than another one; chance that both share cancels.

    Arguments as in :func:`value_of`.
    """
    one, two = (_terms(log, rewards, policy, predicted) for policy in (target, other))
    carried = min(n_effective(log, target), n_effective(log, other))
    return Estimates(*(_estimate(a - b, log.member, carried) for a, b in zip(one, two, strict=True)))


def n_effective(log: Log, target: DoubleArray) -> float:
    """Count the replies that carry an estimate of the target.

    Source: Kish (1965), Survey sampling, for weighted samples.
    """
    w = _weights(log, target)
    squares = float((w**2).sum())
    return float(w.sum()) ** 2 / squares if squares else 0.0


# --- the estimators: terms whose mean is the estimate ----------------------------------------------------


def _weights(log: Log, target: DoubleArray) -> DoubleArray:
    return log.of_posted(target) / log.of_posted(log.propensities)


def _terms(
    log: Log, rewards: DoubleArray, target: DoubleArray, predicted: DoubleArray
) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
    w = _weights(log, target)
    return _ips(w, rewards), _snips(w, rewards), _doubly_robust(w, rewards, log, target, predicted)


def _ips(w: DoubleArray, rewards: DoubleArray) -> DoubleArray:
    """Weigh by inverse propensities: unbiased, with a large variance.

    Source: Horvitz and Thompson (1952).
    """
    return w * rewards


def _snips(w: DoubleArray, rewards: DoubleArray) -> DoubleArray:
    """Divide by the weights' own sum: a little bias of order 1/n for much less variance.

    Source: Swaminathan and Joachims (2015); around the mean the delta method's terms for a ratio.
    """
    mean = float((w * rewards).sum() / max(float(w.sum()), EPS))
    return mean + w * (rewards - mean) / max(float(w.mean()) if len(w) else 0.0, EPS)


def _doubly_robust(
    w: DoubleArray, rewards: DoubleArray, log: Log, target: DoubleArray, predicted: DoubleArray
) -> DoubleArray:
    """Weigh only what the prediction got wrong: right when either propensities or predictions are.

    Source: Dudik, Langford, Li (2011), Doubly robust policy evaluation and learning.
    """
    return (target * predicted).sum(axis=1) + w * (rewards - log.of_posted(predicted))


def _estimate(terms: DoubleArray, member: IntArray, carried: float) -> Estimate:
    value, se = clustered_mean(terms, member)
    half = quantile_95(len(np.unique(member)) - 1) * se
    return Estimate(value, value - half, value + half, carried)


def quantile_95(freedom: int) -> float:
    """Quantile of Student's t for a two-sided 95 % interval: a few members know their own scatter badly.

    Source: Abramowitz and Stegun (1964), 26.7.5, an expansion that is a few hundredths off at 3 degrees of
    freedom and exact to a thousandth from 6 on.
    """
    if freedom < 1:
        return math.nan
    z, v = Z_95, float(freedom)
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )
