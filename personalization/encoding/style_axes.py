"""Named axes of style: directions in the style features that have a name in both ways.

"Shorter" and "longer" are the two ways of one axis, for example. Each head keeps how certain it is of every
axis (:mod:`personalization.solving.loud_tastes`); :mod:`personalization.insight.learnt_wishes` reads it.
Imports the names of the features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from personalization.arrays import DoubleArray
from personalization.encoding.features import STYLE_FEATURES


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
"""Every direction that may become a wish, in the order in which heads keep their certainties. Features that
mostly follow the topic (links, code, sad topics) are left out: a writer cannot follow them in every reply."""

AXIS_OF = {name: one.axis for one in DIRECTIONS for name in (one.more, one.less)}
"""Name of a wish -> its axis."""
MEANING_OF = {one.more: (one.features[0], 1.0) for one in DIRECTIONS} | {
    one.less: (one.features[0], -1.0) for one in DIRECTIONS
}
"""Name of a wish -> the style feature that describes it best, and whether it is more or less of it."""


def n_axes(dim: int) -> int:
    """Return the number of axes in features of this dimension: none if these hold no style features."""
    return len(DIRECTIONS) if dim >= len(STYLE_FEATURES) else 0


def axes_of(dim: int) -> DoubleArray:
    """Return each axis as a difference between two replies.

    Args:
        dim: Number of features (d); the style features are the last of them.

    Returns:
        ``a x d`` float64.
    """
    found = np.zeros((n_axes(dim), dim))
    for along, row in zip(DIRECTIONS, found, strict=False):
        row[[dim - len(STYLE_FEATURES) + STYLE_FEATURES.index(name) for name in along.features]] = 1.0
    return found
