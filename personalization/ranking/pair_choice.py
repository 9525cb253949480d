"""Selection of the two candidates that ``/compare`` shows: the pair with the most uncertain order.

The larger the posterior variance of the difference of two scores, the more a choice between them teaches.
Near-duplicates are skipped, because a member cannot choose between them. NumPy only.

Source: Houlsby, Huszar, Ghahramani, Lengyel (2011), Bayesian active learning for classification and
preference learning. We use the variance of the difference, not the information gain: candidates of one prompt
differ little in their mean scores, so the mean hardly changes which pair is best.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from personalization.arrays import DoubleArray, FloatArray

NEAR_COSINE = 0.98
"""Cosine of two embeddings above which two texts have the same content."""
NEAR_STYLE = 0.5
"""Distance of style features, each of about unit scale, below which two texts have the same style."""


@dataclass(frozen=True, eq=False, slots=True)
class Contrast:
    """Candidates, with the data needed to select two of them for a comparison.

    Attributes:
        features: Features of the candidates, ``k x d`` float32.
        covariance: Posterior covariance of the head's scores, ``k x k`` float64.
        feature_id: Id of the encoder and style features behind ``features``.
        n_embedding: Number of leading features that are the embedding.
    """

    features: FloatArray
    covariance: DoubleArray
    feature_id: str
    n_embedding: int

    def bytes_of(self, i: int) -> bytes:
        """Pack the features of one candidate as ``d`` little-endian float32."""
        return np.ascontiguousarray(self.features[i], dtype="<f4").tobytes()


def most_informative(contrast: Contrast, shown: Collection[frozenset[int]]) -> tuple[int, int] | None:
    """Find the pair with the largest posterior variance of the difference of its scores.

    Args:
        contrast: The candidates.
        shown: Pairs that were shown already and are skipped.

    Returns:
        Indices, the smaller first; None if every remaining pair is a near-duplicate.
    """
    C = contrast.covariance
    best, found = 0.0, None
    for i, j in combinations(range(len(contrast.features)), 2):
        variance = float(C[i, i] + C[j, j] - 2 * C[i, j])
        if variance > best and frozenset((i, j)) not in shown and not is_near(contrast, i, j):
            best, found = variance, (i, j)
    return found


def is_near(contrast: Contrast, i: int, j: int) -> bool:
    """Return whether two candidates have the same content and the same style."""
    (a, style_a), (b, style_b) = (
        (row[: contrast.n_embedding], row[contrast.n_embedding :]) for row in contrast.features[[i, j]]
    )
    length = max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12)
    return float(a @ b) / length > NEAR_COSINE and float(np.linalg.norm(style_a - style_b)) < NEAR_STYLE
