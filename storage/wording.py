"""English words for the host: a count with its noun, and the known word that a mistyped one is close to.

Used by commands, logs and errors of all packages, which are in English. Texts for members are translated
instead: ``trn`` of :mod:`bot.languages` knows the plural forms of every language.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def counted(n: int, one: str, many: str | None = None) -> str:
    """Return ``1 reply`` or ``1,234 replies``.

    Args:
        n: The count.
        one: The noun for one.
        many: The noun for any other count; None adds an s.
    """
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean doctor?``, or an empty text when no known word is close.

    Args:
        word: The word that is not known.
        known: The words that are.
    """
    spelt = {_plain(one): one for one in sorted(known, reverse=True)}
    close = get_close_matches(_plain(word), spelt, n=1)
    return f"; did you mean {spelt[close[0]]}?" if close else ""


def _plain(word: str) -> str:
    """Return a word without case and with one kind of separator, so that these differences weigh nothing."""
    return word.casefold().replace("_", "-")


def character_in_words(char: str) -> str:
    """Return a character in words, without showing a letter of the secret."""
    if char in "\r\n\u2028\u2029":
        return "a line end"
    if char.isspace():
        return "a blank"
    if char in "“”„‟‘’‚‛«»‹›":
        return "typographic quotes"
    return "a character that is not ASCII" if ord(char) > 126 else "a control character"
