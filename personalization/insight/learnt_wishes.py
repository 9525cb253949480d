"""Learnt wishes: what a member's head is sure of in named features, such as "shorter" or "no emoji"."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LearntWish:
    """A wish that a head is sure of.

    Attributes:
        name: Name of the wish, such as ``shorter``.
        certainty: Posterior probability that the member likes it, 0 to 1.
    """

    name: str
    certainty: float
