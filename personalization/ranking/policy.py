"""Policies: from scores and their covariance to the candidate to post, with exact propensities.

A policy computes the probability of posting each candidate, and :func:`choose` draws one candidate with these
probabilities. So the propensities stored with an impression are exact, and the uplift report
(:mod:`personalization.insight.uplift_report`) needs no estimate of them. Called by
:mod:`personalization.ranking.ranker`. Pure functions on arrays; the random generator is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from personalization.arrays import DoubleArray
from personalization.settings import LearningSettings

DRAWS = 256
"""Posterior draws of Thompson sampling."""


class Policy(Protocol):
    """Maps scores of ``k`` > 0 candidates to propensities; all numbers are finite."""

    @property
    def name(self) -> str:
        """Name and settings, stored with the impression."""
        ...

    def propensities(
        self, scores: DoubleArray, covariance: DoubleArray, rng: np.random.Generator
    ) -> DoubleArray:
        """Compute the propensity of each candidate.

        Args:
            scores: Posterior means, ``k``.
            covariance: Posterior covariance of the scores, ``k x k``.
            rng: Random generator.

        Returns:
            ``k`` numbers >= 0 that sum to 1.
        """
        ...


@dataclass(frozen=True, slots=True)
class Choice:
    """Decision of a policy.

    Attributes:
        order: Indices of the candidates, the posted one first, the others by falling score (k).
        propensities: Probability of posting each candidate, by index (k). They sum to 1, and that of the
            posted candidate is above 0.
    """

    order: tuple[int, ...]
    propensities: tuple[float, ...]


def choose(
    policy: Policy, scores: npt.ArrayLike, covariance: npt.ArrayLike, rng: np.random.Generator
) -> Choice:
    """Compute propensities with a policy and draw the candidate to post.

    Args:
        policy: The policy.
        scores: Posterior means, ``k`` finite numbers, k > 0.
        covariance: Posterior covariance of the scores, ``k x k``.
        rng: Random generator; the same state gives the same choice.

    Raises:
        ValueError: There are no scores, a number is not finite, or the covariance has another shape.
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
    """Post the candidate with the highest score; ties share the probability."""

    @property
    def name(self) -> str:
        """Name, stored with the impression."""
        return "greedy"

    def propensities(
        self, scores: DoubleArray, covariance: DoubleArray, rng: np.random.Generator
    ) -> DoubleArray:
        """Give all probability to the highest score; the covariance is ignored."""
        return best_of(scores)


@dataclass(frozen=True, slots=True)
class UpperBound:
    """Post the candidate with the highest upper confidence bound: score plus ``width`` standard deviations.

    Attributes:
        width: Number of standard deviations, >= 0; 0 is greedy.

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
        """Give all probability to the highest bound."""
        return best_of(scores + self.width * np.sqrt(np.clip(np.diag(covariance), 0.0, None)))


@dataclass(frozen=True, slots=True)
class Thompson:
    """Post each candidate with the frequency at which it is the best one in draws from the posterior.

    The draws define the propensities, and the choice is drawn from the propensities, so these are exact.

    Attributes:
        scale: Factor on the posterior standard deviation. 1 is Thompson sampling, which explores too much
            over a few dozen replies; 0 is greedy.
        n_draws: Posterior draws per choice; propensities are multiples of ``1 / n_draws``.

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
        """Compute the share of draws in which each candidate is best."""
        values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
        root = vectors * np.sqrt(np.clip(values, 0.0, None))  # (k, k)
        draws = rng.standard_normal((self.n_draws, len(scores)))  # (s, k)
        return best_of(scores + self.scale * (draws @ root.T)).mean(axis=0)


@dataclass(frozen=True, slots=True)
class Explore:
    """Mix a policy with a uniform choice among all candidates.

    The uniform share is a floor under every propensity. Without it, a log has no data about candidates that
    were never posted, and another policy cannot be estimated from it.

    Attributes:
        policy: The policy used otherwise.
        share: Share of uniform choices, 0 to 1.
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
        """Compute the propensities of the policy, scaled to lie above the floor."""
        return self.share / len(scores) + (1 - self.share) * self.policy.propensities(scores, covariance, rng)


def policy_of(settings: LearningSettings) -> Policy:
    """Create the policy named in the settings."""
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
    """Give all probability to the largest number of each row; ties share it. The shape is kept."""
    best = values == values.max(axis=-1, keepdims=True)
    return best / best.sum(axis=-1, keepdims=True)
