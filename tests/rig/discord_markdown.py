"""Oracle: the links and formats that Discord renders in a message, found by its own rules.

Written apart from :mod:`bot.messages.markdown` and in another way: a list of rules in order of precedence,
each a pattern for the start of the rest, applied again to what a rule holds (as the ``simple-markdown``
library does). Slow and obvious; for short texts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import ada_url

_FLAGS = re.DOTALL | re.IGNORECASE
_INSIDE = r"(?:\[[^\]]*\]|[^\[\]]|\](?=[^\[]*\]))*"
_HREF = r"\s*<?((?:\([^)]*\)|[^\s\\]|\\.)*?)>?(?:\s+['\"](.*?)['\"])?\s*"

LEAVES = ("code block", "inline code", "escape", "text")
RULES = [
    ("escape", re.compile(r"\\([^0-9A-Za-z\s])", _FLAGS)),
    ("quote", re.compile(r" *>>> +(.*)|( *>(?!>>) +[^\n]*(?:\n *>(?!>>) +[^\n]*)*\n?)", _FLAGS)),
    ("heading", re.compile(r" *(?:#{1,3}(?!#)|-#)\s+([^\n]+)(?:\n|\Z)", _FLAGS)),
    ("code block", re.compile(r"```(?:([a-z0-9_+\-.#]+?)\n)?\n*([^\n].*?)\n*```", _FLAGS)),
    ("item", re.compile(r" *(?:[*+-]|\d+\.) +([^\n]*(?:\n(?! *(?:[*+-]|\d+\.) )[^\n]+)*)(?:\n|\Z)", _FLAGS)),
    ("angle", re.compile(r"<([^: >]+:/[^ >]+)>", _FLAGS)),
    ("address", re.compile(r"((?:https?|steam)://[^\s<]+[^<.,:;\"'\]\s])", _FLAGS)),
    ("link", re.compile(rf"\[({_INSIDE})\]\({_HREF}\)", _FLAGS)),
    ("strong", re.compile(r"\*\*((?:\\.|[^\\])+?)\*\*(?!\*)", _FLAGS)),
    ("underline", re.compile(r"__((?:\\.|[^\\])+?)__(?!_)", _FLAGS)),
    ("emphasis", re.compile(r"\*(?=\S)((?:\*\*|\\.|\s+(?:\\.|[^\s*\\]|\*\*)|[^\s*\\])+?)\*(?!\*)", _FLAGS)),
    ("emphasis", re.compile(r"_((?:__|\\.|[^\\_])+?)_\b", _FLAGS)),
    ("struck", re.compile(r"~~(.+?)~~(?!_)", _FLAGS)),
    ("spoiler", re.compile(r"\|\|(.+?)\|\|", _FLAGS)),
    ("inline code", re.compile(r"(`+)(.*?[^`])\1(?!`)", _FLAGS)),
]
LINE_RULES = ("quote", "heading", "item")


@dataclass(frozen=True)
class Rendered:
    """A link: the address, and the words that hide it, or None."""

    address: str
    label: str | None = None


def links_of(text: str) -> list[Rendered]:
    """Return the links that Discord renders in a text."""
    found: list[Rendered] = []
    position = 0
    while position < len(text):
        for name, pattern in RULES:
            if name in LINE_RULES and position and text[position - 1] != "\n":
                continue
            match = pattern.match(text, position)
            if match and match.end() > position:
                taken = _links_in(name, match)
                if taken is None:
                    continue
                found += taken
                position = match.end()
                break
        else:
            position += 1
    return found


def shown_in(text: str, around: frozenset[str] = frozenset()) -> list[tuple[str, frozenset[str]]]:
    """Return each character that a reader sees, with its formats; white space and list marks are left out."""
    found: list[tuple[str, frozenset[str]]] = []
    position = 0
    while position < len(text):
        for name, pattern in RULES:
            if name in LINE_RULES and position and text[position - 1] != "\n":
                continue
            match = pattern.match(text, position)
            if match and match.end() > position:
                found += _shown_of(name, match, around)
                position = match.end()
                break
        else:
            found += _plain(text[position], around)
            position += 1
    return found


def hidden_in(text: str) -> str:
    """Return the characters that a spoiler hides."""
    return "".join(char for char, formats in shown_in(text) if "spoiler" in formats)


def _shown_of(name: str, match: re.Match[str], around: frozenset[str]) -> list[tuple[str, frozenset[str]]]:
    """Return the characters in what a rule took."""
    if name == "escape":
        return _plain(match[1], around)
    if name in ("angle", "address"):
        return _plain(match[0], around)
    if name in ("code block", "inline code"):
        return _plain(match[2], around | {name})
    if name == "quote":
        return shown_in(_quoted_text(match), around | {name})
    return shown_in(match[1], around if name == "item" else around | {name})


def _plain(text: str, around: frozenset[str]) -> list[tuple[str, frozenset[str]]]:
    return [(char, around) for char in text if not char.isspace() and char != "\u2060"]


def _quoted_text(match: re.Match[str]) -> str:
    return match[1] if match[1] is not None else re.sub(r"^ *> ?", "", match[2], flags=re.MULTILINE)


def _links_in(name: str, match: re.Match[str]) -> list[Rendered] | None:
    """Return the links in what a rule took, or None if it does not take it."""
    if name in LEAVES:
        return []
    if name in ("angle", "address"):
        return [Rendered(match[1])] if _goes_somewhere(match[1]) else None
    if name == "link":
        target = re.sub(r"\\(.)", r"\1", match[2])
        return [Rendered(target, match[1])] if _goes_somewhere(target) else None
    if name == "quote":
        return links_of(_quoted_text(match))
    return links_of(match[1])


def _goes_somewhere(address: str) -> bool:
    try:
        url = ada_url.URL(address)
    except ValueError:
        return False
    return url.protocol in ("http:", "https:", "discord:", "steam:", "ftp:") and url.href != url.protocol
