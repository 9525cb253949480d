"""Finds blocked terms in a reply as whole words, also where they are disguised.

Disguises are: look-alike letters of another script, invisible characters, digits and signs for letters,
repeated or spaced-out letters, and markup inside a word. Each is undone only where it can be a disguise:
people switch off a filter that finds "ass" in "class" or in the phone "A55". Pure functions, used by
:mod:`bot.moderation.output_filter`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

_LOOKALIKES = str.maketrans("аеорсухіјѕԁӏһкмтвнгԛԝ" + "αεορυνικτχ", "aeopcyxijsdlhkmtbhrqw" + "aeopuviktx")
"""Lower-case Cyrillic and Greek letters that look like Latin ones; applied after case folding."""

_STAND_INS = {
    "a": "a4@",
    "b": "b8",
    "e": "e3",
    "g": "g9",
    "i": "i1!|",
    "l": "l1|",
    "o": "o0",
    "s": "s5$",
    "t": "t7",
    "z": "z2",
}
_UNSEEN = re.compile(
    "[\u0300-\u036f\u115f\u1160\u17b4\u17b5\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff"
    "\u2800\u3164\ufe00-\ufe0f\ufe20-\ufe2f\uffa0]"
)
"""Combining marks that form no precomposed letter, and blanks that do not count as white space."""
_OTHER_SCRIPT = re.compile(r"[\u0370-\u03ff\u0400-\u052f]")
_WORD = re.compile(r"[^\W_]+")
_MARKUP = re.compile(r"(?<=\w)(?:\*{1,3}|\|\||~~|__|`)(?=\w)")
_NO_SPACES = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Scripts without spaces between words; a term in them is also searched inside words."""
_BEFORE, _AFTER = r"(?<![^\W_])", r"(?![^\W_])"
_LEAST_SPACED = 3
"""Minimum length of a term that is also searched spaced out; with two letters "i. e." would match."""


def is_blocked(text: str, terms: Sequence[str]) -> bool:
    """Return whether a text contains one of the terms, plain or disguised.

    The cost is linear in the length of the text and in the number of terms.
    """
    pattern = _pattern(tuple(terms))
    if pattern is None:
        return False
    read = _as_latin(_as_read(text))
    return any(
        _is_meant(found[0]) for form in {read, _MARKUP.sub("", read)} for found in pattern.finditer(form)
    )


def _as_read(text: str) -> str:
    """Return a text case-folded and without invisible characters; other scripts are kept."""
    folded = _UNSEEN.sub("", unicodedata.normalize("NFKC", text))
    return "".join(char for char in folded if unicodedata.category(char) != "Cf").casefold()


def _as_latin(read: str) -> str:
    """Replace look-alike letters by Latin ones where they are a disguise.

    They are a disguise in a word that mixes them with Latin letters, or in a text whose letters of the other
    script are all look-alikes. "сор" in a Russian sentence is kept.
    """
    foreign = _OTHER_SCRIPT.findall(read)
    disguise = bool(foreign) and all(char.translate(_LOOKALIKES) != char for char in foreign)
    return _WORD.sub(lambda word: _in_latin(word[0], disguise), read)


def _in_latin(word: str, disguise: bool) -> str:
    if disguise or (_OTHER_SCRIPT.search(word) and re.search("[a-z]", word)):
        return word.translate(_LOOKALIKES)
    return word


def _is_meant(found: str) -> bool:
    """Return whether digits in a match can mean letters: not if most characters are digits, as in "A55"."""
    digits = sum(char.isdigit() for char in found)
    return digits == 0 or digits <= sum(char.isalpha() for char in found)


@lru_cache(maxsize=256)
def _pattern(terms: tuple[str, ...]) -> re.Pattern[str] | None:
    """Compile one pattern for all terms; None if there are none."""
    read = [" ".join(_as_read(term).split()) for term in terms]
    wanted = sorted({form for term in read if term for form in (term, _as_latin(term))})
    if not wanted:
        return None
    whole = [way for term in wanted if not _NO_SPACES.search(term) for way in _ways(term)]
    inside = [r"\s*".join(map(_drawn_out, term.split())) for term in wanted if _NO_SPACES.search(term)]
    words = [f"{_BEFORE}(?:{'|'.join(whole)}){_AFTER}"] if whole else []  # one search for the start of a word
    return re.compile("|".join(words + inside))


def _ways(term: str) -> list[str]:
    """Return patterns for the spellings of a term: normal and spaced out."""
    whole = r"[\W_]+".join(map(_drawn_out, term.split()))
    letters = term.replace(" ", "")
    if len(letters) < _LEAST_SPACED or not letters.isalpha():
        return [whole]
    return [whole, r"[\W_]{1,2}".join(map(_letter, letters))]


def _drawn_out(word: str) -> str:
    """Return a pattern of a word in which letters may be repeated three or more times."""
    parts: list[str] = []
    for run in re.finditer(r"(.)\1*", word):
        letter, n = _letter(run[1]), len(run[0])
        parts.append(f"{letter}{{{n},}}" if n > 1 else f"(?:{letter}{{3,}}|{letter})")
    return "".join(parts)


def _letter(char: str) -> str:
    return f"[{re.escape(_STAND_INS[char])}]" if char in _STAND_INS else re.escape(char)
