"""Scores and what is not yet known of them -> which candidate is posted, with the exact chance of each.

A policy only says how likely each candidate is to be posted; :func:`choose` throws the dice. So the chances
(propensities) stored with an impression are those by which it was chosen, not an estimate of them, and the
operator can work out from them, without guessing, what personalization brings
(:mod:`personalization.insight.uplift_report`). Pure functions on arrays; chance is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from personalization.arrays import DoubleArray
from personalization.settings import LearningSettings

DRAWS = 256


class Policy(Protocol):
    """What decides; ``k`` candidates, k > 0, all numbers finite."""

    @property
    def name(self) -> str:
        """Name and settings, stored with the impression."""
        ...

    def propensities(
        self, scores: DoubleArray, covariance: DoubleArray, rng: np.random.Generator
    ) -> DoubleArray:
        """Give the chance of each candidate.

        Args:
            scores: Posterior means, ``k``.
            covariance: Posterior covariance of the scores, ``k x k``.
            rng: The source of chance.

        Returns:
            ``k`` numbers >= 0 that sum to 1.
        """
        ...


@dataclass(frozen=True, slots=True)
class Choice:
    """What was decided.

    Attributes:
        order: Indices of the candidates, the posted one first, the rest by falling score (k).
        propensities: Probability of posting each candidate, by index (k); sums to 1, and is never 0 for the
            posted one.
    """

    order: tuple[int, ...]
    propensities: tuple[float, ...]


def choose(
    policy: Policy, scores: npt.ArrayLike, covariance: npt.ArrayLike, rng: np.random.Generator
) -> Choice:
    """Have the policy give every candidate its chance, and choose by it.

    Args:
        policy: What decides.
        scores: Posterior means, ``k`` finite numbers, k > 0.
        covariance: Posterior covariance of the scores, ``k x k``.
        rng: The source of chance; the same one gives the same choice.

    Raises:
        ValueError: No scores, one is not finite, or the covariance has another shape.
    """
    mean, cov = np.asarray(scores, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    k = len(mean) if mean.ndim == 1 else 0
    if not k or cov.shape != (k, k) or not (np.isfinite(mean).all() and np.isfinite(cov).all()):
        raise ValueError(f"expected finite scores (k) and covariance (k, k), found {mean.shape}, {cov.shape}")
    chances = policy.propensities(mean, cov, rng)
    chances = chances / chances.sum()
    chosen = int(rng.choice(k, p=chances))
    rest = [int(i) for i in np.argsort(-mean, kind="stable") if i != chosen]
    return Choice((chosen, *rest), tuple(float(p) for p in chances))


# --- policies --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Greedy:
    """Post the best candidate; equal best ones share their chance."""

    @property
    def name(self) -> str:
        """Name, stored with the impression."""
        return "greedy"

    def propensities(
        self, scores: DoubleArray, covariance: DoubleArray, rng: np.random.Generator
    ) -> DoubleArray:
        """Give the best candidate every chance, whatever is not known."""
        return best_of(scores)


@dataclass(frozen=True, slots=True)
class UpperBound:
    """Post the candidate that may turn out best: score plus so many standard deviations of it.

    Attributes:
        width: Standard deviations, >= 0; 0 is greedy.

    Source: Li, Chu, Langford, Schapire (2010), A contextual-bandit approach to personalized news article
    recommendation.
    """

    width: float

    def __post_init__(self) -> None:
        if not self.width >= 0:
            raise ValueError(f"expected a width >= 0, found {self.width}")

    @property
    def name(self) -> str:
        """Name and width, stored with the impression."""
        return f"ucb:{self.width:g}"

    def propensities(
        self, scores: DoubleArray, covariance: DoubleArray, rng: np.random.Generator
    ) -> DoubleArray:
        """Give the candidate with the highest bound every chance."""
        return best_of(scores + self.width * np.sqrt(np.clip(np.diag(covariance), 0.0, None)))


@dataclass(frozen=True, slots=True)
class Thompson:
    """Post each candidate as often as it is the best one under scores that the labels leave possible.

    The draws make the propensities, and the choice is made by the propensities: so they are exact.

    Attributes:
        scale: Of the posterior's standard deviation; 1 is Thompson sampling proper, which explores too much
            over some dozens of replies, 0 is greedy.
        n_draws: Posterior draws behind a choice; propensities are multiples of ``1 / n_draws``.

    Source: Thompson (1933), On the likelihood that one unknown probability exceeds another.
    """

    scale: float
    n_draws: int = DRAWS

    def __post_init__(self) -> None:
        if not (self.scale >= 0 and self.n_draws > 0):
            raise ValueError(
                f"expected a scale >= 0 and draws > 0, found {self.scale} and {self.n_draws} draws"
            )

    @property
    def name(self) -> str:
        """Name and scale, stored with the impression."""
        return f"thompson:{self.scale:g}"

    def propensities(
        self, scores: DoubleArray, covariance: DoubleArray, rng: np.random.Generator
    ) -> DoubleArray:
        """Give each candidate the share of draws in which it is best."""
        values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
        root = vectors * np.sqrt(np.clip(values, 0.0, None))  # (k, k)
        draws = rng.standard_normal((self.n_draws, len(scores)))  # (s, k)
        return best_of(scores + self.scale * (draws @ root.T)).mean(axis=0)


@dataclass(frozen=True, slots=True)
class Explore:
    """Follow a policy, but post any candidate at random now and then.

    The share is a floor under every chance: without it, a log says nothing about what was never posted, and
    no honest estimate of another policy can be made from it.

    Attributes:
        policy: What decides otherwise.
        share: Of choices made at random among all candidates, 0 to 1.
    """

    policy: Policy
    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"expected an exploration share from 0 to 1, found {self.share}")

    @property
    def name(self) -> str:
        """Name of the policy and the share, stored with the impression."""
        return f"{self.policy.name}+{self.share:g}"

    def propensities(
        self, scores: DoubleArray, covariance: DoubleArray, rng: np.random.Generator
    ) -> DoubleArray:
        """Give each candidate its chance under the policy, above the floor."""
        return self.share / len(scores) + (1 - self.share) * self.policy.propensities(scores, covariance, rng)


def policy_of(settings: LearningSettings) -> Policy:
    """Make the policy that the settings name."""
    match settings.policy:
        case "greedy":
            return Greedy()
        case "epsilon":
            return Explore(Greedy(), settings.exploration)
        case "ucb":
            return Explore(UpperBound(settings.ucb_width), settings.exploration)
        case "thompson":
            return Explore(Thompson(settings.thompson_scale), settings.exploration)


def best_of(values: DoubleArray) -> DoubleArray:
    """Give all chance to the largest number of each row, shared where several are equal; shape kept."""
    best = values == values.max(axis=-1, keepdims=True)
    return best / best.sum(axis=-1, keepdims=True)
