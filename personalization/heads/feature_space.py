"""What a prior knows of its features: how many there are, and which of them may be loud in a member's taste.

Imported by :mod:`personalization.heads.heads`; imports settings and errors.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from personalization.arrays import DoubleArray, FloatArray
from personalization.errors import HeadDamaged
from personalization.settings import LearningSettings

LOUD_CHANCES = (0.3, 0.6)
"""Probabilities that one feature is loud in a member's taste, and that two are, where members have taught
nothing about it."""


class FeatureSpace(Protocol):
    """The part of :class:`~personalization.encoding.features.FeatureMap` that a prior needs."""

    @property
    def feature_id(self) -> str:
        """Id of the encoder and the style features."""
        ...

    @property
    def dim(self) -> int:
        """Number of features (d)."""
        ...

    @property
    def n_embedding(self) -> int:
        """Number of features of the embedding, which come first."""
        ...


def loud_variance(features: FeatureSpace, settings: LearningSettings) -> FloatArray | None:
    """Return the variance of each feature's weight where it is loud, ``d`` float32; None: no feature is.

    Any style feature may be loud. No dimension of the embedding is: it has no meaning of its own.
    """
    if not settings.loud_sd or features.dim == features.n_embedding:
        return None
    variance = np.zeros(features.dim, dtype=np.float32)
    variance[features.n_embedding :] = settings.loud_sd**2
    return variance


def chances_of(stored: DoubleArray | None) -> tuple[float, float]:
    """Read the probabilities of one and of two loud features from a prior's bytes; None: the usual ones.

    Raises:
        HeadDamaged: They are no probabilities.
    """
    one, two = LOUD_CHANCES if stored is None else (float(value) for value in stored)
    if not (one > 0 and two > 0 and one + two < 1):
        raise HeadDamaged(
            f"expected probabilities of loud features > 0 with a sum below 1, found {one} and {two}; the next"
            " rebuild replaces the prior"
        )
    return one, two
