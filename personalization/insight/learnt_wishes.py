"""Learnt wishes: what a member's head is sure of in named features, such as "shorter" or "no emoji".

A learnt wish is a direction in the style features. The posterior of the member's weights along it, without
what the average taste weighs there, is read from the head: a mean, and a variance from the head's spread.
Its certainty is the probability that the member wants more of it than the average member. A pure function of
head and prior, so it changes with each round and is forgotten with the head. ``bot.replies`` turns the names
into instructions for the writer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from personalization.arrays import FloatArray
from personalization.encoding.features import STYLE_FEATURES
from personalization.heads.heads import Head, Prior
from personalization.heads.spread import score_covariance

SURE = 0.8
"""Certainty from which a wish counts. Heads of members who toss coins seldom reach it: at most 4 of 100 in
``tests/unit/personalization/insight/test_learnt_wishes.py``."""
MOST = 3
"""Wishes at once."""


@dataclass(frozen=True, slots=True)
class Direction:
    """A direction in the style features that has a name in both ways.

    Attributes:
        axis: Name of the axis.
        features: Style features that rise along it.
        more: Name of the wish for more of it.
        less: Name of the wish for less of it.
    """

    axis: str
    features: tuple[str, ...]
    more: str
    less: str


DIRECTIONS = (
    Direction("length", ("length_chars", "length_words", "sentences"), "longer", "shorter"),
    Direction("emoji", ("emoji",), "emoji", "no-emoji"),
    Direction("questions", ("ends_with_question", "questions"), "asks-back", "no-questions"),
    Direction("lists", ("list_items",), "lists", "no-lists"),
    Direction("liveliness", ("exclamations",), "lively", "calm"),
    Direction("words", ("word_length",), "elaborate-words", "plain-words"),
    Direction("parts", ("commas",), "detailed", "to-the-point"),
    Direction("courtesy", ("courtesy", "greeting"), "polite", "no-courtesies"),
    Direction("cheer", ("positive_tone",), "cheerful", "matter-of-fact"),
    Direction("oneself", ("first_person",), "about-oneself", "not-about-oneself"),
    Direction("you", ("second_person",), "personal", "impersonal"),
    Direction("hedges", ("hedges",), "careful", "straight"),
    Direction("numbers", ("digits",), "numbers", "few-numbers"),
    Direction("humour", ("humour",), "humour", "no-jokes"),
    Direction("formatting", ("markdown",), "formatting", "no-formatting"),
)
"""Every direction that may become a wish. Features that mostly follow the topic (links, code, sad topics) are
left out: a writer cannot follow them in every reply."""

AXIS_OF = {name: one.axis for one in DIRECTIONS for name in (one.more, one.less)}
"""Name of a wish -> its axis."""
MEANING_OF = {one.more: (one.features[0], 1.0) for one in DIRECTIONS} | {
    one.less: (one.features[0], -1.0) for one in DIRECTIONS
}
"""Name of a wish -> the style feature that describes it best, and whether it is more or less of it."""


@dataclass(frozen=True, slots=True)
class LearntWish:
    """A wish that a head is sure of.

    Attributes:
        name: Name of the wish, a key of :data:`AXIS_OF`.
        certainty: Posterior probability that the member wants it, :data:`SURE` to 1.
    """

    name: str
    certainty: float

    @property
    def axis(self) -> str:
        """The axis of the wish; two wishes of one axis contradict each other."""
        return AXIS_OF[self.name]


def learnt_wishes(head: Head, average: Head, prior: Prior) -> tuple[LearntWish, ...]:
    """Return what a head is sure of, the surest first, at most :data:`MOST`, one for each axis.

    Args:
        head: The head used for the member.
        average: The head used for members without labels in the same server.
        prior: The prior in use. A head that was solved under another one has no wish until the next round.
    """
    if head.prior_id != prior.prior_id or head.spread is None:
        return ()
    found = [_wish_along(one, head, average, prior) for one in DIRECTIONS]
    sure = sorted((one for one in found if one.certainty >= SURE), key=lambda one: -one.certainty)
    return tuple(sure[:MOST])


def preference_along(x: FloatArray, head: Head, average: Head) -> float:
    """Return how much more a head likes a difference ``x`` (``d``) than the average taste does, logits."""
    own = head.weights.astype(np.float64) - average.weights.astype(np.float64)  # (d,)
    return float(own @ x.astype(np.float64))


def _wish_along(along: Direction, head: Head, average: Head, prior: Prior) -> LearntWish:
    each = [_vector([name], prior.dim) for name in along.features]
    means = np.array([preference_along(x, head, average) for x in each])
    total = _variance_along(np.sum(each, axis=0), head, prior)
    # Features of one axis are alternatives: where one is loud, the others seldom are. The spread holds no
    # covariance between them. That of alternatives is minus the product of their means.
    shared = float(means.sum() ** 2 - (means**2).sum()) if (means * means.sum() > 0).all() else 0.0
    variance = max(total - shared, min(_variance_along(x, head, prior) for x in each))
    mean = float(means.sum())
    certainty = _normal(abs(mean) / math.sqrt(variance)) if variance > 0 else 0.5
    return LearntWish(along.more if mean > 0 else along.less, certainty)


def _variance_along(x: FloatArray, head: Head, prior: Prior) -> float:
    """Return the posterior variance of the preference for a difference ``x`` (``d``)."""
    # The covariance is that of two candidates around their mean, so a quarter of that of their difference.
    return float(4 * score_covariance(np.stack([x, np.zeros_like(x)]), prior, head.spread)[0, 0])


def _vector(features: Sequence[str], dim: int) -> FloatArray:
    x = np.zeros(dim, dtype=np.float32)
    for name in features:
        x[dim - len(STYLE_FEATURES) + STYLE_FEATURES.index(name)] = 1.0
    return x


def _normal(t: float) -> float:
    """Return the standard normal distribution function."""
    return (1 + math.erf(t / math.sqrt(2))) / 2
