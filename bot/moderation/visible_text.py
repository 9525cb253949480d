"""Text as a reader sees it: without invisible characters, and normalised for comparison. Pure functions."""

from __future__ import annotations

import unicodedata


def visible(text: str) -> str:
    """Return a text without invisible format characters, in Unicode compatibility form (NFKC)."""
    folded = unicodedata.normalize("NFKC", text)
    return "".join(char for char in folded if unicodedata.category(char) != "Cf")


def is_readable(char: str) -> bool:
    """Return whether a character carries meaning: a letter, a digit, or a symbol such as an emoji."""
    return char.isalnum() or (char > "\x7f" and unicodedata.category(char) in ("So", "Sm"))


def comparable(text: str) -> str:
    """Return a text for comparison: visible, case-folded, with white space collapsed."""
    return " ".join(visible(text).casefold().split())
