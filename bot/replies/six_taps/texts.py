"""Pairs of texts of the six taps, in each language of the bot.

Each pair answers an everyday message twice. The two answers say the same and differ along one axis. The texts
ship with the bot and are the same for everybody, so an answer to them holds no word of a member.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bot.languages import ENGLISH, LANGUAGES

AXES = ("length", "lively", "asks", "oneself", "words", "details")
"""Axes in which people differ most: length; liveliness and emoji; asking back; talking about oneself; plain
or elaborate words; lists and detail."""
LANGUAGE_NAMES = tuple(sorted({ENGLISH, *LANGUAGES.values()}))
_FOLDER = Path(__file__).parent / "languages"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to a message.

    Attributes:
        name: Axis and number; the same pair has the same name in each language.
        axis: One of :data:`AXES`.
        message: The message that is answered.
        less: The answer with less of what the axis is named after.
        more: The answer with more of it.
    """

    name: str
    axis: str
    message: str
    less: str
    more: str


@cache
def pairs_in(language: str) -> tuple[Pair, ...]:
    """Return all pairs in a language, the pairs of an axis beside each other.

    Args:
        language: One of :data:`LANGUAGE_NAMES`.
    """
    read = tomllib.loads((_FOLDER / f"{language}.toml").read_text(encoding="utf-8"))
    return tuple(
        Pair(f"{axis}-{number}", axis, one["message"], one["less"], one["more"])
        for axis in AXES
        for number, one in enumerate(read[axis], start=1)
    )
