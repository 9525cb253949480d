"""Tells whether a text speaks of a language, so that a reply in another language may be what was asked for.

The names of languages are those of CLDR (Unicode's locale data), in the languages of common models.
``python -m tests.rig.language_names`` writes them into ``language_names.toml``: CLDR itself takes 16 MB
of memory. Linear in the text.
"""

from __future__ import annotations

import tomllib
import unicodedata
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

import regex

from bot.moderation.visible_text import comparable

_OTHER_WORDS = [
    *"translat mandarin cantonese castilian castellano übersetz uebersetz sprache spreche".split(),
    *"langue traduction traduis tradui traduzi traduce tradut traduç traducción idioma lengua língua".split(),
    *"lingua tłumacz język vertaal taal перевод переве язык мов переклад".split(),
]
_OTHER_SIGNS = (
    "翻译 翻訳 语言 言語 中国话 英文 法文 德文 日文 韩文 西班牙文 汉语 普通话 广东话 번역 언어".split()
)
LANGUAGE_NAMES = Path(__file__).with_name("language_names.toml")
"""Code of a language -> its names in several languages, as :func:`comparable` leaves them."""
_ENDING = 2
"""Letters at the end of a name that other forms of it may change ("po francusku")."""
_SHORTEST = 5
"""Shortest beginning of a name that stands for it, letters; a shorter name must be a whole word."""
_WORD = regex.compile(r"[\p{L}\p{M}]+")
_WITHOUT_BLANKS = regex.compile(r"[\p{Han}\p{Katakana}\p{Hangul}]")


@dataclass(frozen=True)
class _Names:
    """The names of a language: beginnings of words, whole words, and signs of scripts without blanks."""

    beginnings: frozenset[str]
    words: frozenset[str]
    signs: frozenset[str]


def speaks_of_a_language(text: str) -> bool:
    """Return whether a text names a language or speaks of translation."""
    names, text = _names(), comparable(text)
    lengths = sorted({len(beginning) for beginning in names.beginnings})
    return any(sign in text for sign in names.signs) or any(
        word in names.words or any(word[:length] in names.beginnings for length in lengths)
        for word in _WORD.findall(text)
    )


@cache
def _names() -> _Names:
    beginnings, words, signs = set[str](_OTHER_WORDS), set[str](), set[str](_OTHER_SIGNS)
    for name in chain.from_iterable(tomllib.loads(LANGUAGE_NAMES.read_text(encoding="utf-8")).values()):
        if _WITHOUT_BLANKS.search(name):
            signs.add(name)
            continue
        for form in {name, _without_accents(name)}:
            beginning = form[: max(_SHORTEST, len(form) - _ENDING)]
            (beginnings if len(form) >= _SHORTEST else words).add(beginning)
    return _Names(frozenset(beginnings), frozenset(words), frozenset(signs))


def _without_accents(text: str) -> str:
    return "".join(sign for sign in unicodedata.normalize("NFD", text) if not unicodedata.combining(sign))
