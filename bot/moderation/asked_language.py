"""Tells whether a text speaks of a language, so that a reply in another language may be what was asked for.

The names of languages are those of CLDR (Unicode's locale data, through babel), in the languages that the bot
speaks. Linear in the text.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache

import regex
from babel import Locale

from bot.moderation.visible_text import comparable

_SPOKEN = "en de fr es pt it pl nl zh ja ko ru uk".split()
_NAMED = [
    *_SPOKEN,
    *"ar bg bn ca cs da el et eu fa fi ga he hi hr hu id is ka la lt lv ms nb ro sk sl sq sr sv".split(),
    *"sw ta th tl tr ur vi".split(),
]
_OTHER_WORDS = [
    *"translat mandarin cantonese castilian castellano übersetz uebersetz sprache spreche".split(),
    *"langue traduction traduis tradui traduzi traduce tradut traduç traducción idioma lengua língua".split(),
    *"lingua tłumacz język vertaal taal перевод переве язык мов переклад".split(),
]
_OTHER_SIGNS = (
    "翻译 翻訳 语言 言語 中国话 英文 法文 德文 日文 韩文 西班牙文 汉语 普通话 广东话 번역 언어".split()
)
_ENDING = 2
"""Letters at the end of a name that other forms of it may change ("po francusku")."""
_SHORTEST = 5
"""Shortest beginning of a name that stands for it, letters; a shorter name must be a whole word."""
_WORD = regex.compile(r"[\p{L}\p{M}]+")
_WITHOUT_BLANKS = regex.compile(r"[\p{Han}\p{Katakana}\p{Hangul}]")


@dataclass(frozen=True)
class _Names:
    """What stands for a language: beginnings of words, whole words, and signs of scripts without blanks."""

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
    for locale in map(Locale.parse, _SPOKEN):
        for code in _NAMED:
            name = comparable(locale.languages.get(code, ""))
            if _WITHOUT_BLANKS.search(name):
                signs.add(name)
                continue
            for form in {name, _without_accents(name)}:
                beginning = form[: max(_SHORTEST, len(form) - _ENDING)]
                (beginnings if len(form) >= _SHORTEST else words).add(beginning)
    return _Names(frozenset(beginnings), frozenset(words - {""}), frozenset(signs))


def _without_accents(text: str) -> str:
    return "".join(sign for sign in unicodedata.normalize("NFD", text) if not unicodedata.combining(sign))
