"""Detects replies that repeat themselves, as small models do when they lose the thread.

Pure functions, linear in the length of the text.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator

from bot.moderation.visible_text import comparable

_NOT_SPOKEN = re.compile(r"[^\w\u0080-\U0010ffff]+")
_TOKEN = re.compile(r"\w+|[!-/:-@\[-`{-~]+|[^\w\s]")
_SENTENCE_END = re.compile(r"[.!?…。！？\n]+")
_STRETCH = 120
"""Characters that are compressed together in the search for a stutter."""
_STUTTER_RATIO = 0.3
"""A stretch is a stutter when its compressed size is below this share of its size."""
_WINDOW = 40
"""Tokens per window in the search for a loop."""


def is_loop(text: str) -> bool:
    """Return whether a text repeats the same words, sentences or phrases over and over."""
    if _stutters(text):
        return True
    sentences = [plain for s in _SENTENCE_END.split(text) if len((plain := comparable(s)).split()) >= 4]
    if sentences and max(Counter(sentences).values()) >= max(3, len(sentences) / 3):
        return True
    return any(_share_of_new_trigrams(window) < 0.3 for window in _windows(_TOKEN.findall(text.casefold())))


def _stutters(text: str) -> bool:
    """Return whether some stretch of a text repeats one short unit, such as "ha ha ha ...".

    Repetition compresses well: two lines of prose shrink to nine tenths of their size, a stutter to a fifth.
    The cost is linear in the length. A regular expression for repeats blocked the bot for a second.
    """
    spoken = _NOT_SPOKEN.sub(" ", text)
    for start in range(0, max(1, len(spoken) - _STRETCH // 2), _STRETCH // 2):
        stretch = spoken[start : start + _STRETCH].encode()
        if len(stretch) >= _STRETCH // 2 and len(zlib.compress(stretch)) < _STUTTER_RATIO * len(stretch):
            return True
    return False


def _windows(tokens: list[str]) -> Iterator[list[str]]:
    """Yield overlapping windows of tokens; none for texts too short to be a loop."""
    if len(tokens) >= 12:
        for start in range(0, max(1, len(tokens) - _WINDOW // 2), _WINDOW // 2):
            yield tokens[start : start + _WINDOW]


def _share_of_new_trigrams(tokens: list[str]) -> float:
    """Return the share of distinct trigrams of tokens, 0 to 1."""
    trigrams = list(zip(tokens, tokens[1:], tokens[2:], strict=False))
    return len(set(trigrams)) / len(trigrams) if trigrams else 1.0
