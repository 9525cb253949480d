"""Scores of candidates: weighted relevance to the message plus bounded taste.

Used by the ranker for every reply, and by the evaluation of first replies, so that both score alike. NumPy
only.
"""

from __future__ import annotations

import numpy as np

from personalization.arrays import FloatArray


def combined(
    personal: FloatArray, relevance: FloatArray, *, relevance_weight: float, personal_bound: float
) -> tuple[FloatArray, FloatArray]:
    """Add weighted relevance and bounded taste.

    Only differences affect the order. So the mean taste is removed, which keeps an intercept from using up
    the bound.

    Args:
        personal: Scores of a head, logits, ``... x k``.
        relevance: Cosine of message and candidate, ``... x k``.
        relevance_weight: Weight of relevance, as in the settings.
        personal_bound: Bound on taste, logits, > 0, as in the settings.

    Returns:
        The scores, and their derivative by the taste, both ``... x k``.
    """
    taste = np.tanh((personal - personal.mean(axis=-1, keepdims=True)) / personal_bound)  # (..., k)
    return relevance_weight * relevance + personal_bound * taste, 1 - taste**2
