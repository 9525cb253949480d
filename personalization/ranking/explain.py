"""Explanations of a ranking: the named parts of a score, and the member's own labels about each part.

A head is linear in its features, so an explanation is exact: each feature contributes its weight times the
difference between this reply and the mean of all candidates. The parts sum to the score that the policy used.
Style features are parts of their own; the dimensions of the embedding are summed to one part, "wording". Only
the member's own labels are read, and no text. Pure functions: the ranker computes the parts of the reply it
chose, and commands in ``bot`` put them into sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from personalization.arrays import FloatArray
from personalization.encoding.features import STYLE_FEATURES
from personalization.heads.heads import Head
from storage.records import Reason

RELEVANCE = "relevance"
"""Part for how well the reply fits the message. It is the same for every member."""
WORDING = "wording"
"""Part for the embedding of the reply: taste that no style feature names."""
OTHER = "other"
"""Sum of all parts that are too small to be stored by name."""
KEPT = 8
"""Number of parts stored by name with a reply."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a score.

    Attributes:
        name: :data:`RELEVANCE`, :data:`WORDING` or one of
            :data:`~personalization.encoding.features.STYLE_FEATURES`.
        amount: Contribution to the score, logits; negative parts lower the score.
        difference: Feature of the reply minus its mean over all candidates, in the scale of the feature. For
            wording and relevance it equals ``amount``.
    """

    name: str
    amount: float
    difference: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """Counts of a member's own labels with more and with less of one style feature.

    Attributes:
        name: The style feature.
        liked_with: Liked replies among those above the member's median of the feature.
        n_with: Replies above the median.
        liked_without: Liked replies among the others.
        n_without: The other replies.
    """

    name: str
    liked_with: int
    n_with: int
    liked_without: int
    n_without: int


def explain(
    features: FloatArray,
    relevance: FloatArray,
    head: Head,
    candidate: int,
    *,
    relevance_weight: float,
    personal_bound: float,
) -> tuple[Part, ...]:
    """Split the score of one candidate into parts.

    The bound on taste is one factor for all personal parts. It shrinks them together and keeps their ratios.

    Args:
        features: Features of all candidates, ``k x d``.
        relevance: Cosine of message and candidate, ``k``.
        head: The head that ranked.
        candidate: Index of the candidate.
        relevance_weight: Weight of relevance, as in the settings.
        personal_bound: Bound on taste, logits, > 0, as in the settings.

    Returns:
        Parts that sum to the score, sorted by falling absolute amount.

    Raises:
        ValueError: The head is for other features.
    """
    weights = head.weights.astype(np.float64)  # (d,)
    if features.shape[1] != len(weights):
        raise ValueError(f"expected a head of {features.shape[1]} features, found {len(weights)}")
    values = features.astype(np.float64)  # (k, d)
    difference = values[candidate] - values.mean(axis=0)  # (d,)
    linear = weights * difference  # (d,)
    taste = float(linear.sum())
    shrink = personal_bound * np.tanh(taste / personal_bound) / taste if taste else 1.0
    n_embedding = len(weights) - len(STYLE_FEATURES)
    wording = float(shrink * linear[:n_embedding].sum())
    fit = relevance_weight * float(relevance[candidate])
    parts = [Part(RELEVANCE, fit, fit), Part(WORDING, wording, wording)]
    parts += [
        Part(name, float(shrink * linear[n_embedding + j]), float(difference[n_embedding + j]))
        for j, name in enumerate(STYLE_FEATURES)
    ]
    return tuple(sorted(parts, key=lambda part: -abs(part.amount)))


def reason_of(parts: Sequence[Part], *, uncertainty: float, n_labels: int) -> Reason:
    """Convert an explanation to its stored form: the largest parts, and the sum of all others.

    Args:
        parts: Parts as :func:`explain` returned them.
        uncertainty: Standard deviation of the score, logits.
        n_labels: Number of labels behind the head; 0 means that the prior answered.
    """
    kept = [(part.name, round(part.amount, 4), round(part.difference, 4)) for part in parts[:KEPT]]
    rest = round(sum(part.amount for part in parts[KEPT:]), 4)
    return Reason((*kept, (OTHER, rest, rest)), round(uncertainty, 4), n_labels)


def evidence_of(
    name: str, features: FloatArray, labels: npt.NDArray[np.floating], *, liked_above: float = 0.5
) -> Evidence:
    """Count a member's likes among replies with more and with less of one style feature.

    Args:
        name: One of :data:`~personalization.encoding.features.STYLE_FEATURES`.
        features: Features of the member's labelled replies, ``n x d`` float32.
        labels: Labels in [0, 1], ``n``.
        liked_above: Labels above this value count as liked.

    Raises:
        ValueError: The style feature does not exist.
    """
    if name not in STYLE_FEATURES:
        raise ValueError(f"expected one of {', '.join(STYLE_FEATURES)}, found {name!r}")
    column = features.shape[1] - len(STYLE_FEATURES) + STYLE_FEATURES.index(name)
    values = features[:, column]  # (n,)
    more = values > np.median(values) if len(values) else np.zeros(0, dtype=np.bool_)
    liked = np.asarray(labels) > liked_above
    return Evidence(
        name,
        liked_with=int((liked & more).sum()),
        n_with=int(more.sum()),
        liked_without=int((liked & ~more).sum()),
        n_without=int((~more).sum()),
    )
