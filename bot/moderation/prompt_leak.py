"""Finds sentences of the system prompt in a reply, also with small changes.

Texts are compared by their letters alone, so that case, accents, look-alike letters, spaces, digits and
punctuation make no difference. A secret is cut into units: each sentence, and overlapping pieces of long
texts. A unit leaks where nearly all of its runs of five letters occur within a stretch of its own length. One
changed letter changes five runs. Short sentences are no units of their own, because honest replies hold them.

A reply is read in several ways: as it stands, with digits for letters, backwards, with its words in reverse
order, and decoded from ROT13, Base64 and hexadecimal digits. A translation is not found. Linear in the reply.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
import unicodedata
from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache

from bot.moderation.blocked_terms import LOOKALIKES
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
_LEAST_SECRET = 16
"""A shorter secret as a whole can occur in an honest reply by chance, letters."""

_NO_LETTER = re.compile(r"[\W\d_]+")
_STAND_INS = str.maketrans("4@8369!|15$702", "aabeggiiisstoz")
"""Digits and signs that stand for letters."""
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/_-]\n?){24,}+")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}(?:0x|\\x|[\s:,-]){0,3}){16,}+")
_SENTENCE_END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f;\n]+")
_IDEOGRAPH = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


class Secrets:
    """Texts that a reply must not repeat.

    Args:
        texts: System prompt, style instructions.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._whole = tuple(letters for text in texts if len(letters := _letters(text)) >= _LEAST_SECRET)
        self._sizes: list[int] = []
        self._units_with: dict[str, list[int]] = {}
        for unit in dict.fromkeys(unit for text in texts for unit in _units(text)):
            grams = set(_grams(unit))
            for gram in grams:
                self._units_with.setdefault(gram, []).append(len(self._sizes))
            self._sizes.append(len(unit))

    def leak_in(self, text: str) -> bool:
        """Return whether a text, in one of its readings, repeats a secret or a sentence of one."""
        return bool(self._sizes or self._whole) and any(map(self._leaks_in, _readings(text)))

    def _leaks_in(self, letters: str) -> bool:
        if any(secret in letters for secret in self._whole):
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
    """Return the letters of a text: case-folded, without accents, look-alikes as Latin letters."""
    plain = comparable(text)
    if not plain.isascii():
        plain = unicodedata.normalize("NFD", plain).translate(LOOKALIKES)  # accents are no letters
    return _NO_LETTER.sub("", plain).replace("l", "i")  # both look like 1


def _readings(text: str) -> set[str]:
    """Return the letters of a text in every way in which a reader may be meant to read it."""
    letters = _letters(text)
    return {
        letters,
        letters[::-1],
        _letters(codecs.encode(text, "rot13")),
        _letters(text.translate(_STAND_INS)),
        _letters("".join(reversed(text.split()))),
        *(_letters(decoded) for decoded in _decoded(text)),
    }


def _decoded(text: str) -> Iterator[str]:
    """Yield what is encoded in a text as Base64 or in hexadecimal digits."""
    for found in _BASE64.finditer(text):
        code = found[0].replace("\n", "").replace("-", "+").replace("_", "/")
        for start in range(4):  # a word before the code may be read as a part of it
            whole = code[start : start + (len(code) - start) // 4 * 4]
            yield base64.b64decode(whole).decode("utf-8", "ignore")
    for found in _HEX.finditer(text):
        digits = re.sub(r"0x|\\x|[^0-9a-fA-F]", "", found[0])
        yield binascii.unhexlify(digits[: len(digits) // 2 * 2]).decode("utf-8", "ignore")


def _grams(letters: str) -> Iterator[str]:
    return (letters[i : i + _GRAM] for i in range(len(letters) - _GRAM + 1))


def _units(text: str) -> Iterator[str]:
    """Yield the letters of each sentence that is long enough, and of overlapping pieces of the whole."""
    for sentence in _SENTENCE_END.split(text):
        letters = _letters(sentence)
        dense = len(_IDEOGRAPH.findall(sentence))  # each of them says as much as several letters
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
