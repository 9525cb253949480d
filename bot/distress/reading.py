"""Reduces a message to the letters that rules compare: without disguises and accents.

Two forms exist, because Chinese, Japanese and Korean are compared without spaces. Each step takes time linear
in the length of the text. Pure functions, used by :mod:`bot.distress.rules`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import partial

from bot.moderation.blocked_terms import as_latin, as_read

_MARKUP = re.compile(r"\*{1,3}|__|~~|\|\|")
_APOSTROPHES = dict.fromkeys(map(ord, "'’‘ʼ´`"))
_LONE = {"ł": "l", "ø": "o", "đ": "d", "ı": "i", "œ": "oe", "æ": "ae"}
"""Latin letters that Unicode does not decompose."""
_TOKEN = re.compile(r"[a-z0-9@$!|]+")
_SIGNS = str.maketrans("034579@$!|", "oeastgasil")
_END = re.compile(r"(?<![.!?…;\n])[.!?…;\n]++(?=\s|$)|[。！？．]++")
_NO_LETTER = re.compile(r"[\W_]++")
_SPELT = re.compile(r"(?<!\S)[a-z](?: [a-z]){2,}(?!\S)")
_TWICE = re.compile(r"([a-z])\1+")
_JOINED_SCRIPT = re.compile(r"[\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_TO_HIRAGANA = {code: code - 0x60 for code in range(0x30A1, 0x30F7)}
_END_MARK = "\x01"
_LEAST_HASHTAG = 8
"""Length from which a word may be a sentence without spaces, letters."""


class _Plain(dict[int, str]):
    """Translates accented Latin letters to plain ones; other scripts stay."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if 0xC0 <= code < 0x250 or 0x1E00 <= code < 0x1F00:
            char = _LONE.get(char) or unicodedata.normalize("NFD", char)[0]
        self[code] = char
        return char


_PLAIN = _Plain()


def spaced_forms(text: str) -> set[str]:
    """Return the readings of a text as plain words between single spaces, with " . " between sentences.

    A digit or sign inside a word is read as a letter; "1" is read as "i" and as "l".
    """
    plain = folded(_MARKUP.sub("", as_latin(as_read(text))))
    return {_spaced(_TOKEN.sub(partial(_meant, one), plain)) for one in "il"}


def spelt_out(form: str) -> Iterator[str]:
    """Yield words of a form that may be sentences: letters in a row, joined, and words without spaces."""
    yield from (run[0].replace(" ", "") for run in _SPELT.finditer(form))
    yield from (word for word in form.split() if len(word) >= _LEAST_HASHTAG)


def collapsed(form: str) -> str:
    """Return a form with spelt-out words joined, and each repeated letter once."""
    return _TWICE.sub(r"\1", _SPELT.sub(lambda run: run[0].replace(" ", ""), form))


def joined_form(text: str) -> str:
    """Return a text for scripts without spaces, with "." after sentences; "" without such a script."""
    if not _JOINED_SCRIPT.search(text):
        return ""
    ended = _END.sub(_END_MARK, as_read(text))
    parts = (_NO_LETTER.sub("", part) for part in f"{ended}{_END_MARK}".split(_END_MARK))
    return ".".join(parts).translate(_TO_HIRAGANA)


def folded(text: str) -> str:
    """Return a case-folded text without accents and apostrophes."""
    return text.casefold().translate(_APOSTROPHES).translate(_PLAIN)


def to_hiragana(text: str) -> str:
    """Return a text with katakana as hiragana."""
    return text.translate(_TO_HIRAGANA)


def _spaced(text: str) -> str:
    text = _NO_LETTER.sub(" ", _END.sub(f" {_END_MARK} ", text).replace(_END_MARK, "0end0"))
    return f" {' '.join(text.split())} . ".replace(" 0end0 ", " . ")


def _meant(one: str, found: re.Match[str]) -> str:
    """Read the digits and signs of a word as the letters they stand for, if a third are letters."""
    token = found[0]
    ended = token.rstrip("!|")
    n_letters = sum(char.isalpha() for char in ended)
    if n_letters == len(ended) or 3 * n_letters < len(ended) != 1:
        return token
    return ended.replace("1", one).translate(_SIGNS) + token[len(ended) :]
