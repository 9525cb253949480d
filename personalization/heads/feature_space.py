"""What a prior knows of its features: how many there are, and which of them may be loud in a member's taste.

Imported by :mod:`personalization.heads.heads`; imports only settings.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from personalization.arrays import FloatArray
from personalization.settings import LearningSettings

ONE, TWO = 0.3, 0.6
"""Prior probabilities that one feature is loud in a member's taste, and that two are."""


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
