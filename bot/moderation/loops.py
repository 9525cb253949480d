"""Detects replies that repeat themselves, as small models do when they lose the thread.

Pure functions, linear in the length of the text.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator

from bot.messages.markdown import Kind, parts_of
from bot.moderation.visible_text import comparable

_NOT_SPOKEN = re.compile(r"[^\w\u0080-\U0010ffff]+")
_TOKEN = re.compile(r"\w+|[!-/:-@\[-`{-~]+|[^\w\s]")
_SENTENCE_END = re.compile(r"[.!?…。！？\n]+")
_STRETCH = 120
"""Characters that are compressed together in the search for a stutter."""
_STUTTER_RATIO = 0.3
"""A stretch is a stutter when its compressed size is below this share of its size."""
_LONG_CODE = 20
"""Characters from which a piece of code counts when it comes back."""
_SAME_CODES = 4
"""Times that the same code makes a loop."""
_SAME_LINES = 48
"""Most times that a line may stand in one piece of code, half of it in open code; a Go board has 19 lines."""
_LONG_LINE = 400
"""Characters from which a line of code counts when it stutters, half of it in open code."""
_WINDOW = 40
"""Tokens per window in the search for a loop."""


def is_loop(text: str) -> bool:
    """Return whether a text repeats the same words, sentences or phrases over and over.

    Code repeats itself by nature: boards, tables, drawings, data. So it is a loop only if the whole code, one
    of its lines, or the words of a line come back too often.
    """
    text, codes = _prose_and_codes(text)
    if any(map(_is_endless, codes)) or max(Counter(codes).values(), default=0) >= _SAME_CODES:
        return True
    if _stutters(text):
        return True
    sentences = [plain for s in _SENTENCE_END.split(text) if len((plain := comparable(s)).split()) >= 4]
    if sentences and max(Counter(sentences).values()) >= max(3, len(sentences) / 3):
        return True
    return any(_share_of_new_trigrams(window) < 0.3 for window in _windows(_TOKEN.findall(text.casefold())))


def _prose_and_codes(text: str) -> tuple[str, list[str]]:
    """Return a text with a space for each piece of code, and these pieces, as far as they are long."""
    pieces, codes, last = list[str](), list[str](), 0
    for part in parts_of(text):
        if part.kind in (Kind.CODE, Kind.DOUBTFUL):
            code = text[part.start : part.end]
            pieces += [text[last : part.start], " "]
            codes += [code] if len(code) >= _LONG_CODE else []
            last = part.end
    return "".join([*pieces, text[last:]]), codes


def _is_endless(code: str) -> bool:
    """Return whether one line of code, or what is in one line, comes back more often than in any board."""
    closed = code.endswith("`")  # a model in a loop does not close its code
    lines = [line.strip() for line in code.split("\n") if line.strip("` \t")]
    if max(Counter(lines).values(), default=0) > (_SAME_LINES if closed else _SAME_LINES // 2):
        return True
    return any(len(line) > (_LONG_LINE if closed else _LONG_LINE // 2) and _stutters(line) for line in lines)


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
