"""Finds sentences of the system prompt in a reply, also with small changes.

Texts are compared by their letters and digits alone, so that case, spaces and punctuation make no
difference. A secret is cut into units: each sentence, and overlapping pieces of long texts. A unit leaks
where nearly all of its runs of five letters occur within a stretch of its own length. One changed letter
changes five runs. Short sentences are no units of their own, because honest replies hold them. Linear in the
reply.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache

from bot.moderation.visible_text import comparable

_GRAM = 5
"""Letters in a run."""
_LEAST_LETTERS = 28
"""A shorter sentence can occur in an honest reply by chance."""
_LEAST_WORDS = 5
_PIECE = 60
"""Letters in a piece of a longer text."""
_STEP = 20
"""Letters between the starts of two pieces."""
_LEAST_SECRET = 20
"""A shorter secret as a whole can occur in an honest reply by chance, characters."""

_NO_LETTER = re.compile(r"[\W_]+")
_SENTENCE_END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f;\n]+")
_IDEOGRAPH = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


class Secrets:
    """Texts that a reply must not repeat.

    Args:
        texts: System prompt, style instructions.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._whole = tuple(_letters(text) for text in texts if len(comparable(text)) >= _LEAST_SECRET)
        self._sizes: list[int] = []
        self._units_with: dict[str, list[int]] = {}
        for unit in dict.fromkeys(unit for text in texts for unit in _units(text)):
            grams = set(_grams(unit))
            for gram in grams:
                self._units_with.setdefault(gram, []).append(len(self._sizes))
            self._sizes.append(len(unit))

    def leak_in(self, text: str) -> bool:
        """Return whether a text repeats a secret or a sentence of one."""
        letters = _letters(text)
        if any(secret and secret in letters for secret in self._whole):
            return True
        found: dict[int, deque[int]] = {}
        for position, gram in enumerate(_grams(letters)):
            for unit in self._units_with.get(gram, ()):
                size = self._sizes[unit]
                recent = found.setdefault(unit, deque())
                recent.append(position)
                while recent[0] <= position - size + _GRAM - 1:
                    recent.popleft()
                if len(recent) >= size - _GRAM + 1 - _changes(size) * _GRAM:
                    return True
        return False


@lru_cache(maxsize=256)
def secrets_of(texts: tuple[str, ...]) -> Secrets:
    """Return the secrets of one server, prepared once."""
    return Secrets(texts)


def _changes(size: int) -> int:
    """Return how many letters of a unit may differ."""
    return 2 if size >= _PIECE else 1


def _letters(text: str) -> str:
    return _NO_LETTER.sub("", comparable(text))


def _grams(letters: str) -> Iterator[str]:
    return (letters[i : i + _GRAM] for i in range(len(letters) - _GRAM + 1))


def _units(text: str) -> Iterator[str]:
    """Yield the letters of each sentence that is long enough, and of overlapping pieces of the whole."""
    for sentence in _SENTENCE_END.split(text):
        letters = _letters(sentence)
        dense = len(_IDEOGRAPH.findall(letters))  # each of them says as much as several letters
        n_words = len(sentence.split()) + dense
        if (
            len(letters) + 2 * dense >= _LEAST_LETTERS
            and n_words >= _LEAST_WORDS
            and len(letters) < 2 * _PIECE
        ):
            yield letters
    whole = _letters(text)
    for start in range(0, len(whole) - _PIECE + 1, _STEP):
        yield whole[start : start + _PIECE]
