"""Finds blocked terms in a reply as whole words, also where they are disguised.

Disguises are: look-alike letters of another script, invisible characters, digits and signs for letters,
repeated or spaced-out letters, and markup inside a word. Each is undone only where it can be a disguise:
people switch off a filter that finds "ass" in "class" or in the phone "A55".

Server managers choose the terms and the language model writes the text, so both can be hostile. The search is
linear by construction: RE2 matches many terms in one pass and cannot backtrack. A long list is compiled in
pieces, because RE2 holds the GIL while it compiles. The compiled lists share one bounded cache, so that the
lists of many servers, or many lists of one server, cannot fill the memory. Pure functions, used by
:mod:`bot.moderation.output_filter`.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterator, Sequence

import re2
from cachetools import LRUCache, cached

LOOKALIKES = str.maketrans("аеорсухіјѕԁӏһкмтвнгԛԝ" + "αεορυνικτχ", "aeopcyxijsdlhkmtbhrqw" + "aeopuviktx")
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
_SIGNS = "".join(sign for ways in _STAND_INS.values() for sign in ways if not sign.isalnum())
_SPACED = re.compile(r"(?<![^\W_])[^\W_](?:[\W_]{1,2}[^\W_](?![^\W_]))+|[^\W_]+")
"""A word, or single characters in a row, which may be a spaced-out word."""
_ONLY_DIGIT = dict(enumerate(map(chr, range(0xE000, 0xE00A)), ord("0")))
"""Digit -> the private character that replaces it where it means no letter."""
_PIECE = 30_000
"""Length from which a pattern is compiled, bytes; about 20 ms of work with the GIL held."""
_PIECE_MEMORY = 16 << 20
"""Memory that RE2 may use for one pattern; the longest needs a quarter of it."""
_MOST_INSTRUCTIONS = 1_000_000
"""Total size of the compiled lists in the cache; five of the longest lists, or thousands of short ones."""
_LEAST_SPACED = 3
"""Minimum length of a term that is also searched spaced out; with two letters "i. e." would match."""


def is_blocked(text: str, terms: Sequence[str]) -> bool:
    """Return whether a text contains one of the terms, plain or disguised.

    The cost is linear in the length of the text and in the length of all terms. Compiled terms are cached.
    """
    matcher = _matcher(tuple(terms))
    if matcher is None:
        return False
    read = as_latin(as_read(text))
    return any(matcher.finds(form) for form in {read, _MARKUP.sub("", read)})


class _Alphabet(dict[int, str]):
    """Translates characters between words that no term contains to spaces; so the gap is a small class."""

    def __init__(self, signs: str) -> None:
        self._signs = frozenset(signs)

    def __missing__(self, code: int) -> str:
        char = chr(code)
        kept = char.isalnum() or char in self._signs or char in _ONLY_DIGIT.values()
        self[code] = found = char if kept else " "
        return found


class _Matcher:
    """All terms of one list as RE2 patterns. RE2 knows no look-around, so the gap is part of a match.

    Args:
        terms: The terms as read, without duplicates.

    Attributes:
        size: Size of the compiled patterns, instructions of RE2.
    """

    def __init__(self, terms: Sequence[str]) -> None:
        signs = "".join(
            sorted({char for term in terms for char in term if not char.isalnum()} | {*_SIGNS, " "})
        )
        self._alphabet = _Alphabet(signs)
        options = re2.Options()
        options.max_mem = _PIECE_MEMORY
        options.never_capture = True
        options.log_errors = False  # it would log the terms
        gap = f"[{re2.escape(signs)}]"
        self._patterns = [re2.compile(piece, options) for piece in _pieces(terms, gap)]
        self.size = sum(pattern.programsize for pattern in self._patterns)

    def finds(self, read: str) -> bool:
        """Return whether a text, as read, contains a term."""
        meant = _bytes(_SPACED.sub(_with_meant_digits, read).translate(self._alphabet))
        return any(pattern.search(meant) is not None for pattern in self._patterns)


def _pieces(terms: Sequence[str], gap: str) -> Iterator[bytes]:
    """Yield patterns that together match all terms, each of about the length of a piece."""
    ways: list[bytes] = []
    for term in terms:
        if _NO_SPACES.search(term):
            way = f"{gap}*".join(map(_drawn_out, term.split()))
        else:
            way = f"(?:^|{gap})(?:{'|'.join(_ways(term, gap))})(?:$|{gap})"
        ways.append(_bytes(way))
        if sum(map(len, ways)) >= _PIECE:
            yield b"|".join(ways)
            ways.clear()
    if ways:
        yield b"|".join(ways)


def _bytes(text: str) -> bytes:
    """Return UTF-8; half a character, which a model can write, becomes a question mark."""
    return text.encode("utf-8", "replace")


def as_read(text: str) -> str:
    """Return a text case-folded and without invisible characters; other scripts are kept."""
    folded = _UNSEEN.sub("", unicodedata.normalize("NFKC", text))
    return "".join(char for char in folded if unicodedata.category(char) != "Cf").casefold()


def as_latin(read: str) -> str:
    """Replace look-alike letters by Latin ones where they are a disguise.

    They are a disguise in a word that mixes them with Latin letters, or in a text whose letters of the other
    script are all look-alikes. "сор" in a Russian sentence is kept.
    """
    foreign = _OTHER_SCRIPT.findall(read)
    disguise = bool(foreign) and all(char.translate(LOOKALIKES) != char for char in foreign)
    return _WORD.sub(lambda word: _in_latin(word[0], disguise), read)


def _in_latin(word: str, disguise: bool) -> str:
    if disguise or (_OTHER_SCRIPT.search(word) and re.search("[a-z]", word)):
        return word.translate(LOOKALIKES)
    return word


def _with_meant_digits(word: re.Match[str]) -> str:
    """Mark the digits of a word that has more digits than letters, as "A55": they mean no letters."""
    found = word[0]
    digits = sum(char.isdigit() for char in found)
    return found.translate(_ONLY_DIGIT) if digits > sum(char.isalpha() for char in found) else found


def _size_of(matcher: _Matcher | None) -> int:
    return 1 if matcher is None else matcher.size


@cached(LRUCache(_MOST_INSTRUCTIONS, getsizeof=_size_of), lock=threading.Lock())
def _matcher(terms: tuple[str, ...]) -> _Matcher | None:
    """Compile a list of terms; None if there are none."""
    read = [" ".join(as_read(term).split()) for term in terms]
    wanted = sorted({form for term in read if term for form in (term, as_latin(term))})
    return _Matcher(wanted) if wanted else None


def _ways(term: str, gap: str) -> list[str]:
    """Return patterns for the spellings of a term: normal and spaced out."""
    whole = f"{gap}+".join(map(_drawn_out, term.split()))
    letters = term.replace(" ", "")
    if len(letters) < _LEAST_SPACED or not letters.isalpha():
        return [whole]
    return [whole, f"{gap}{{1,2}}".join(map(_letter, letters))]


def _drawn_out(word: str) -> str:
    """Return a pattern of a word in which letters may be repeated three or more times."""
    parts: list[str] = []
    for run in re.finditer(r"(.)\1*", word):
        letter, n = _letter(run[1]), len(run[0])
        parts.append(f"{letter}{{{n},}}" if n > 1 else f"(?:{letter}{{3,}}|{letter})")
    return "".join(parts)


def _letter(char: str) -> str:
    if char.isdecimal() and char.isascii():
        return f"[{char}{_ONLY_DIGIT[ord(char)]}]"
    return f"[{re2.escape(_STAND_INS[char])}]" if char in _STAND_INS else re2.escape(char)
