"""Why this reply: the parts of a score by name, and what the member's own labels say about each.

A head is linear in its features, so a choice can be told exactly: each feature contributes its weight times
how far this reply differs from its rivals. The parts sum to the score that the policy saw. Style features
speak by name; the embedding's many numbers speak as one part, "wording". Only the member's own labels are
read, nobody's text is shown or rebuilt. Pure functions; the ranker asks for the parts of what it chose, and
commands in ``bot`` put them into sentences.
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
"""How well the reply fits the message: not taste, the same for every member."""
WORDING = "wording"
"""What the reply says, as the encoder sees it: the part of taste that has no name."""
OTHER = "other"
"""All parts that are too small to be kept by name."""
KEPT = 8
"""Parts kept by name with a reply."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a score.

    Attributes:
        name: :data:`RELEVANCE`, :data:`WORDING` or one of
            :data:`~personalization.encoding.features.STYLE_FEATURES`.
        amount: What it adds to the score, logits; negative parts lower the score.
        difference: How the reply differs from the mean of all candidates, in the feature's own unit
            scale; positive means more of it. For wording and relevance the same as ``amount``.
    """

    name: str
    amount: float
    difference: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a member's own labels say about one style feature.

    Attributes:
        name: The style feature.
        liked_with: Of the replies that had more of it than the member's median, how many were liked.
        n_with: How many replies that were.
        liked_without: The same for the others.
        n_without: How many the others were.
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
    """Take the score of one candidate apart.

    The bound on taste is one factor for all personal parts: it shrinks them together and leaves their shares.

    Args:
        features: Of all candidates, ``k x d``.
        relevance: Cosine of message and candidate, ``k``.
        head: The head that ranked.
        candidate: Index of the candidate.
        relevance_weight: As in the settings.
        personal_bound: As in the settings.

    Returns:
        Parts that sum to the score, the largest, by size, first.

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
    """Write an explanation as it is kept with the reply: the largest parts, and all others as one.

    Args:
        parts: As :func:`explain` returned them.
        uncertainty: Standard deviation of the score, logits.
        n_labels: Labels the head rests on; 0 means that the prior answered.
    """
    kept = [(part.name, round(part.amount, 4), round(part.difference, 4)) for part in parts[:KEPT]]
    rest = round(sum(part.amount for part in parts[KEPT:]), 4)
    return Reason((*kept, (OTHER, rest, rest)), round(uncertainty, 4), n_labels)


def evidence_of(
    name: str, features: FloatArray, labels: npt.NDArray[np.floating], *, liked_above: float = 0.5
) -> Evidence:
    """Count what a member liked with more and with less of one style feature.

    Args:
        name: One of :data:`~personalization.encoding.features.STYLE_FEATURES`.
        features: The member's labelled replies, ``n x d`` float32.
        labels: Their labels in [0, 1], ``n``.
        liked_above: A label above it counts as liked.

    Raises:
        ValueError: No such style feature.
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
