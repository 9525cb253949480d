"""Off-policy estimates: the value of a policy, from the log of another one. IPS, SNIPS and doubly robust.

Each reply was posted with a known propensity. Weighting it by the ratio of the target policy's propensity to
the logged one estimates the target policy without running it. An interval gives the uncertainty, and the
effective sample size gives the number of replies that carry the estimate. A member's replies are correlated,
and later replies depend on earlier feedback, so standard errors are clustered by member.

Pure functions on arrays, each with its source; NumPy only. Used by
:mod:`personalization.insight.uplift_report` on the bot's own log and by
:mod:`personalization.lab.bandit_replay`, where the truth is known.
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
    """Posted replies with their propensities.

    Attributes:
        propensities: Propensity of each candidate, ``n x k``; 0 pads replies with fewer candidates, and the
            posted candidate's is > 0.
        chosen: Index of the posted candidate, ``n``.
        member: Member who got the reply, ``n``.

    Raises:
        ValueError: A posted candidate has propensity 0.
    """

    propensities: DoubleArray
    chosen: IntArray
    member: IntArray

    def __post_init__(self) -> None:
        posted = self.of_posted(self.propensities)
        if len(posted) and not (posted > 0).all():
            raise ValueError(f"expected propensities > 0, found {float(posted.min()):g}")

    def of_posted(self, values: npt.NDArray[np.generic]) -> DoubleArray:
        """Select the values (``n x k``) of the posted candidates, ``n``."""
        return np.take_along_axis(values, self.chosen[:, None], axis=1)[:, 0].astype(np.float64)

    def only(self, here: BoolArray) -> Log:
        """Keep the replies for which ``here`` (``n``) is true."""
        return Log(self.propensities[here], self.chosen[here], self.member[here])

    def answers_for(self, target: DoubleArray) -> BoolArray:
        """Check overlap: whether every candidate the target may post had a propensity > 0, ``n``.

        Replies without overlap cannot be used in an estimate.
        """
        unable: IntArray = ((target > 0) & (self.propensities <= 0)).sum(axis=1)
        return unable == 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """Estimated value of a policy, or of the difference between two policies.

    Attributes:
        value: Mean reward per reply.
        low: Lower end of the 95 % interval over members; NaN with fewer than two members.
        high: Upper end of the interval.
        n_effective: Effective number of replies, ``(sum w)^2 / sum w^2``. If it is far below the number
            logged, the interval cannot be trusted. For a difference, the smaller of the two numbers.
    """

    value: float
    low: float
    high: float
    n_effective: float


@dataclass(frozen=True, slots=True)
class Estimates:
    """One quantity, estimated by three estimators."""

    ips: Estimate
    snips: Estimate
    dr: Estimate


def mean_of(log: Log, rewards: DoubleArray) -> Estimate:
    """Compute the mean of the rewards (``n``) of the policy that ran."""
    return _estimate(rewards, log.member, float(len(rewards)))


def value_of(log: Log, rewards: DoubleArray, target: DoubleArray, predicted: DoubleArray) -> Estimates:
    """Estimate the mean reward of a policy.

    Args:
        log: Posted replies.
        rewards: Reward of each posted reply, ``n``.
        target: Propensity of each candidate under the target policy, ``n x k``.
        predicted: Predicted reward of each candidate, ``n x k``; used by the doubly robust estimate only.
    """
    terms = _terms(log, rewards, target, predicted)
    carried = n_effective(log, target)
    return Estimates(*(_estimate(of, log.member, carried) for of in terms))


def difference_of(
    log: Log, rewards: DoubleArray, target: DoubleArray, other: DoubleArray, predicted: DoubleArray
) -> Estimates:
    """Estimate the mean reward of a policy minus that of another one; shared noise cancels.

    Args:
        log: Posted replies.
        rewards: Reward of each posted reply, ``n``.
        target: Propensities under the policy, ``n x k``.
        other: Propensities under the other policy, ``n x k``.
        predicted: Predicted reward of each candidate, ``n x k``.
    """
    one, two = (_terms(log, rewards, policy, predicted) for policy in (target, other))
    carried = min(n_effective(log, target), n_effective(log, other))
    return Estimates(*(_estimate(a - b, log.member, carried) for a, b in zip(one, two, strict=True)))


def n_effective(log: Log, target: DoubleArray) -> float:
    """Compute the effective number of replies for an estimate of the target.

    Source: Kish (1965), Survey sampling, for weighted samples.
    """
    w = _weights(log, target)
    squares = float((w**2).sum())
    return float(w.sum()) ** 2 / squares if squares else 0.0


# --- estimators: terms whose mean is the estimate --------------------------------------------------------


def _weights(log: Log, target: DoubleArray) -> DoubleArray:
    return log.of_posted(target) / log.of_posted(log.propensities)


def _terms(
    log: Log, rewards: DoubleArray, target: DoubleArray, predicted: DoubleArray
) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
    w = _weights(log, target)
    return _ips(w, rewards), _snips(w, rewards), _doubly_robust(w, rewards, log, target, predicted)


def _ips(w: DoubleArray, rewards: DoubleArray) -> DoubleArray:
    """Inverse propensity weighting: unbiased, with a large variance.

    Source: Horvitz and Thompson (1952).
    """
    return w * rewards


def _snips(w: DoubleArray, rewards: DoubleArray) -> DoubleArray:
    """Self-normalized weighting: a bias of order 1/n in exchange for much less variance.

    The terms around the mean are those of the delta method for a ratio.

    Source: Swaminathan and Joachims (2015).
    """
    mean = float((w * rewards).sum() / max(float(w.sum()), EPS))
    return mean + w * (rewards - mean) / max(float(w.mean()) if len(w) else 0.0, EPS)


def _doubly_robust(
    w: DoubleArray, rewards: DoubleArray, log: Log, target: DoubleArray, predicted: DoubleArray
) -> DoubleArray:
    """Weight the prediction's residuals: unbiased if either the propensities or the predictions are right.

    Source: Dudik, Langford, Li (2011), Doubly robust policy evaluation and learning.
    """
    return (target * predicted).sum(axis=1) + w * (rewards - log.of_posted(predicted))


def _estimate(terms: DoubleArray, member: IntArray, carried: float) -> Estimate:
    value, se = clustered_mean(terms, member)
    half = quantile_95(len(np.unique(member)) - 1) * se
    return Estimate(value, value - half, value + half, carried)


def quantile_95(freedom: int) -> float:
    """Quantile of Student's t for a two-sided 95 % interval; NaN below one degree of freedom.

    With few members the standard error itself is uncertain, so the normal quantile would be too small.

    Source: Abramowitz and Stegun (1964), 26.7.5, an expansion. Its error is a few hundredths at 3 degrees of
    freedom and at most a thousandth from 6 on.
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
