"""Text as a reader sees it: without invisible characters, and normalised for comparison. Pure functions."""

from __future__ import annotations

import re
import unicodedata

from bot.messages.markdown import IGNORABLE

_IGNORABLE = re.compile(f"[{IGNORABLE}]")


def shown(text: str) -> str:
    """Return a text without the characters that are not shown: default-ignorable and format characters."""
    text = _IGNORABLE.sub("", text)
    return text if text.isascii() else "".join(c for c in text if unicodedata.category(c) != "Cf")


def visible(text: str) -> str:
    """Return a text without the characters that are not shown, in Unicode compatibility form (NFKC)."""
    return shown(unicodedata.normalize("NFKC", shown(text)))


def is_readable(char: str) -> bool:
    """Return whether a character carries meaning: a letter, a digit, or a symbol such as an emoji."""
    return char.isalnum() or (char > "\x7f" and unicodedata.category(char) in ("So", "Sm"))


def comparable(text: str) -> str:
    """Return a text for comparison: visible, case-folded, with white space collapsed."""
    return " ".join(visible(text).casefold().split())
