"""Role markers of chat models: the signs by which a model tells who speaks.

A member who writes one could speak in the name of the system, and a model that writes one begins the turn of
somebody else. The table holds the markers of the known families, for servers whose tokenizer is unknown. The
markers of a model in this process are also read from its tokenizer and its chat template. Pure functions,
linear in the text: nothing in a pattern repeats without a bound.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from bot.generators.marks import LEFT, LOUD, SPEAKERS, THOUGHTS, TURNS

_ROLES = rf"(?:{SPEAKERS}|bot|model|input|output|instruct)"
# These occur in honest prose, too. So they are broken up in prompts, but they do not drop a reply.
_ALSO_PROSE = (
    r"(?-i:\[/?(?:ARGS|CALL_ID|SYS|PREFIX|SUFFIX|MIDDLE|USER|BOT|SEP|CLS|IMG)\])"
    r"|</?(?:pad|unk|sep|turn|human|bot|thought|role|ai|user|assistant|system)>"
)
_THOUGHTS = "|".join(mark for row in THOUGHTS for mark in row if mark.startswith(("<", r"\[", r"\u")))

MARKER = re.compile(rf"{TURNS}|{_THOUGHTS}", re.IGNORECASE)
"""A mark of thoughts or turns."""

# Only the first character is consumed, because markers can overlap. "<|" alone is broken up, too.
_BEGINS = re.compile(rf"<(?=\|)|(?={MARKER.pattern}|{_ALSO_PROSE}).", re.IGNORECASE)
_SPEAKS = re.compile(rf"(?i:#(?=#{{1,3}}[ \t]{{0,3}}{_ROLES}[ \t]{{0,3}}:))|{LEFT}(?={LOUD}).")


class _Folded(dict[int, str]):
    """Translates each character that some tokenizers normalise (NFKC) to one ASCII character to that one."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        plain = unicodedata.normalize("NFKC", char)
        found = self[code] = plain if len(plain) == 1 and plain.isascii() else char
        return found


_FOLDED = _Folded()
_LITERAL = re.compile(r"'((?:[^'\\\n]|\\.){1,80})'|\"((?:[^\"\\\n]|\\.){1,80})\"")
_JINJA = re.compile(r"\{[%{#][^{}]{0,4000}[%}#]\}")
_NAMED = re.compile(rf"[^\n:]{{0,20}}\b{_ROLES}\b[^\n:]{{0,8}}:", re.IGNORECASE)
_LEAST = 3
"""A shorter token occurs in ordinary text."""


def folded(text: str) -> str:
    """Return a text of the same length with ASCII for its compatibility forms, such as full-width ones."""
    return text if text.isascii() else text.translate(_FOLDED)


def defuse(text: str, markers: re.Pattern[str] | None = None) -> str:
    """Break up role markers in a text with a space after their first character.

    Args:
        text: The text.
        markers: Further markers, as :attr:`ModelMarkers.broken` holds them.
    """
    plain, cuts = folded(text), set[int]()
    for pattern in (_BEGINS, _SPEAKS, markers):
        if pattern is not None:
            cuts.update(match.start() + 1 for match in pattern.finditer(plain))
    if not cuts:
        return text
    edges = [0, *sorted(cuts), len(text)]
    return " ".join(text[a:b] for a, b in pairwise(edges))


@dataclass(frozen=True, slots=True)
class ModelMarkers:
    """Markers of one model that the table does not hold; None: there are none.

    Attributes:
        broken: First character of each, for :func:`defuse`.
        ends: Each that the chat template writes; a reply ends before it. Others, as ``<filename>``, occur in
            honest replies.
    """

    broken: re.Pattern[str] | None = None
    ends: re.Pattern[str] | None = None


def markers_of(tokenizer: Any) -> ModelMarkers:
    """Return the markers of a loaded tokenizer."""
    template = tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else ""
    added: Mapping[int, Any] = getattr(tokenizer, "added_tokens_decoder", {})
    tokens = {str(token) for token in added.values() if token.special or str(token) in template}
    return markers_in({*tokens, *tokenizer.all_special_tokens}, template)


def markers_in(tokens: Iterable[str], template: str) -> ModelMarkers:
    """Return the markers among control tokens and in a chat template."""
    literals = [one or two for one, two in _LITERAL.findall(template)]
    tokens = {token.strip() for token in tokens}
    written = [line for text in (*literals, _JINJA.sub("\n", template)) for line in _lines(text, tokens)]
    named = {line for line in written if len(line) <= 40 and _NAMED.fullmatch(line)}
    found = {
        folded(one)
        for one in named | tokens
        if len(one) >= _LEAST and not one.isalnum() and not MARKER.fullmatch(folded(one))
    }
    return ModelMarkers(_first_of(found), _first_of(one for one in found if one in folded(template)))


def _first_of(markers: Iterable[str]) -> re.Pattern[str] | None:
    literals = [re.escape(one) for one in sorted(markers)]
    return re.compile(rf"(?={'|'.join(literals)}).", re.DOTALL) if literals else None


def _lines(text: str, tokens: Iterable[str]) -> list[str]:
    """Return what is left of each line without tokens."""
    for token in tokens:
        if len(token) >= _LEAST and token in text:
            text = text.replace(token, "\n")
    return [line.strip() for line in text.replace("\\n", "\n").split("\n")]
