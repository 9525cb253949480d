"""Which two candidates to show a member side by side: the pair whose order is least known.

The more is open about the difference of two scores, the more a choice between them tells. Near-duplicates
are left out: nobody can choose between them, however the numbers look. NumPy only; called at the time of a
``/compare``.

Source: Houlsby, Huszar, Ghahramani, Lengyel (2011), Bayesian active learning for classification and
preference learning. We take the variance of the difference alone, not the information gain: candidates of one
prompt differ little in their mean scores, and a pair that is likely to be close is asked for all the same.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from personalization.arrays import DoubleArray, FloatArray

NEAR_COSINE = 0.98
"""Of two embeddings; from there on two texts say the same."""
NEAR_STYLE = 0.5
"""Distance of the style features, which are of about unit scale; below it two texts also sound the same."""


@dataclass(frozen=True, eq=False, slots=True)
class Contrast:
    """Candidates as a choice between two of them needs them.

    Attributes:
        features: ``k x d`` float32.
        covariance: What is open about the head's scores, ``k x k`` float64.
        feature_id: Which encoder and style features made ``features``.
        n_embedding: How many of them are the embedding; they come first.
    """

    features: FloatArray
    covariance: DoubleArray
    feature_id: str
    n_embedding: int

    def bytes_of(self, i: int) -> bytes:
        """The features of one candidate, d little-endian float32."""
        return np.ascontiguousarray(self.features[i], dtype="<f4").tobytes()


def most_informative(contrast: Contrast, told: Collection[frozenset[int]]) -> tuple[int, int] | None:
    """Find the pair with the largest posterior variance of the difference of its scores.

    Args:
        contrast: The candidates.
        told: Pairs that are not to be shown again.

    Returns:
        Indices, the smaller first; None when no pair is left that differs.
    """
    C = contrast.covariance
    best, found = 0.0, None
    for i, j in combinations(range(len(contrast.features)), 2):
        variance = float(C[i, i] + C[j, j] - 2 * C[i, j])
        if variance > best and frozenset((i, j)) not in told and not is_near(contrast, i, j):
            best, found = variance, (i, j)
    return found


def is_near(contrast: Contrast, i: int, j: int) -> bool:
    """Whether two candidates say the same in the same manner."""
    (a, style_a), (b, style_b) = (
        (row[: contrast.n_embedding], row[contrast.n_embedding :]) for row in contrast.features[[i, j]]
    )
    length = max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12)
    return float(a @ b) / length > NEAR_COSINE and float(np.linalg.norm(style_a - style_b)) < NEAR_STYLE
