"""Choice of liked replies that show the writer a member's taste by example.

Only replies of the bot are chosen, by features and labels; no text is read here. Replies are examples where
the member's head prefers the liked ones to all others by enough. A member who tosses coins or likes
everything has no such preference, so their replies show nothing. Pure functions, used by
:mod:`personalization.insight.taste`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from personalization.arrays import FloatArray
from personalization.heads.heads import Head
from personalization.insight.learnt_wishes import preference_along

NEWEST = 40
"""Latest replies with feedback from which examples are chosen."""
LEAST_LIKES = 2
LEAST_ADVANTAGE = 0.9
"""Least preference of the head for the liked replies over all, logits. On simulated members it is reached by
one coin tosser in twenty, and by two in five members of a known taste after ten reactions."""
SAME = 0.8
"""Cosine of two embeddings from which the second reply shows nothing new."""


def best_liked(
    X: FloatArray, values: Sequence[float | None], head: Head, average: Head, *, n_embedding: int
) -> list[int]:
    """Return the indices of replies that show a member's taste, the best first; none without a clear taste.

    Args:
        X: Features of the member's latest replies, ``n x d``.
        values: Label of each, 0 to 1; None: no label (n).
        head: The head used for the member.
        average: The head used for members without labels.
        n_embedding: Number of features of the embedding, which come first.
    """
    labelled = [i for i, value in enumerate(values) if value is not None]
    liked = [i for i in labelled if (values[i] or 0) > 0.5]
    if len(liked) < LEAST_LIKES or head.feature_id != average.feature_id:
        return []
    advantage = X[liked].mean(axis=0) - X[labelled].mean(axis=0)  # (d,)
    if preference_along(advantage, head, average) < LEAST_ADVANTAGE:
        return []
    liking = {i: preference_along(X[i], head, average) for i in liked}
    ordered = sorted(liked, key=lambda i: (-(values[i] or 0), -liking[i]))
    return _diverse(ordered, X[:, :n_embedding])


def _diverse(ordered: Sequence[int], embeddings: FloatArray) -> list[int]:
    """Drop every reply whose embedding is close to that of an earlier one."""
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-9)  # (n, d)
    kept: list[int] = []
    for i in ordered:
        if all(float(unit[i] @ unit[j]) < SAME for j in kept):
            kept.append(i)
    return kept
