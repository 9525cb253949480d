"""Known tastes for measurements of learning: what a simulated member likes, as a number for each text.

A taste is a weighted sum of measures. Each measure is standardised over the pool of replies, so a
satisfaction of 1 is one standard deviation above the average reply. The measures are written for this
purpose and are not the style features of the encoder. Topics are cosines to a few example texts. Nothing is
tuned to single tastes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import emoji
import numpy as np

from personalization.arrays import DoubleArray
from personalization.encoding.encoder import Encoder

_WORD = re.compile(r"[^\W\d_]+")


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _share(text: str, wanted: str) -> float:
    words = _words(text)
    return sum(word in wanted.split() for word in words) / max(1, len(words))


MEASURES: Mapping[str, Callable[[str], float]] = {
    "long": lambda text: np.log(10 + len(text)),
    "lively": lambda text: np.log1p(text.count("!") + 2 * emoji.emoji_count(text)),
    "asks": lambda text: float("?" in text) + float(text.rstrip().endswith("?")),
    "elaborate": lambda text: float(np.mean([len(word) for word in _words(text)] or [4])),
    "about oneself": lambda text: _share(text, "i me my mine myself i'm we our"),
    "to you": lambda text: _share(text, "you your yours yourself"),
    "kind": lambda text: _share(
        text, "please thanks glad sorry hope welcome love happy great wonderful friend"
    ),
    "detailed": lambda text: np.log1p(sum(char in ",;:\n" for char in text)),
    "exact": lambda text: np.log1p(sum(char.isdigit() for char in text)),
}
"""Name -> measure of a text."""

TOPICS: Mapping[str, tuple[str, ...]] = {
    "food": (
        "Cook the rice with butter, garlic and salt.",
        "A warm soup with bread and cheese is delicious.",
    ),
    "science": (
        "Light is scattered by molecules of the air.",
        "Gravity and energy shape the planets and stars.",
    ),
    "feelings": (
        "I understand how you feel, it hurts to be alone.",
        "Be kind to yourself and talk to a friend.",
    ),
}
"""Name -> texts that are near to the topic."""


@dataclass(frozen=True, slots=True)
class Taste:
    """What a member likes.

    Attributes:
        name: Name in the report.
        kind: Kind of the taste: length, form, tone, wording, topic or combination.
        weights: Weight of each measure or topic.
    """

    name: str
    kind: str
    weights: Mapping[str, float]


TASTES: tuple[Taste, ...] = (
    Taste("short", "length", {"long": -1}),
    Taste("long", "length", {"long": 1}),
    Taste("asks back", "form", {"asks": 1}),
    Taste("never asks", "form", {"asks": -1}),
    Taste("detailed", "form", {"detailed": 1}),
    Taste("lively", "tone", {"lively": 1}),
    Taste("sober", "tone", {"lively": -1}),
    Taste("kind", "tone", {"kind": 1}),
    Taste("plain words", "wording", {"elaborate": -1}),
    Taste("elaborate words", "wording", {"elaborate": 1}),
    Taste("about oneself", "wording", {"about oneself": 1}),
    Taste("likes food", "topic", {"food": 1}),
    Taste("likes feelings", "topic", {"feelings": 1}),
    Taste("short and lively", "combination", {"long": -1, "lively": 1}),
    Taste("long and sober", "combination", {"long": 1, "lively": -1}),
    Taste("kind questions to you", "combination", {"kind": 0.5, "asks": 1, "to you": 0.7}),
)


class Satisfaction:
    """Satisfaction of each taste with a text, standardised over the texts of a pool.

    Args:
        texts: The texts of the pool.
        encoder: Embeds texts, for the topics.
    """

    def __init__(self, texts: Sequence[str], encoder: Encoder) -> None:
        self._encoder = encoder
        self._topics = {name: encoder.encode(examples).T for name, examples in TOPICS.items()}
        columns = self._columns(texts)
        self._scales = {name: (column.mean(), max(1e-9, column.std())) for name, column in columns.items()}
        mixed = {taste.name: self._mixed(taste, columns) for taste in TASTES}
        self._deviations = {name: max(1e-9, float(column.std())) for name, column in mixed.items()}

    def of(self, texts: Sequence[str]) -> dict[str, DoubleArray]:
        """Return the satisfaction of each taste with each text (n), in standard deviations of the pool."""
        columns = self._columns(texts)
        return {taste.name: self._mixed(taste, columns) / self._deviations[taste.name] for taste in TASTES}

    def _columns(self, texts: Sequence[str]) -> dict[str, DoubleArray]:
        columns = {name: np.array([measure(text) for text in texts]) for name, measure in MEASURES.items()}
        embedded = self._encoder.encode(texts)  # (n, d)
        near = {name: (embedded @ examples).mean(axis=1) for name, examples in self._topics.items()}
        return columns | {name: column.astype(np.float64) for name, column in near.items()}

    def _mixed(self, taste: Taste, columns: Mapping[str, DoubleArray]) -> DoubleArray:
        parts = []
        for name, weight in taste.weights.items():
            mean, deviation = self._scales[name]
            parts.append(weight * (columns[name] - mean) / deviation)
        return np.sum(parts, axis=0)
