"""Role markers of chat models: the signs by which a model tells who speaks.

A member who writes one could speak in the name of the system, and a model that writes one begins the turn of
somebody else. The table holds the markers of the known families, for servers whose tokenizer is unknown. The
markers of a model in this process are also read from its tokenizer and its chat template. Pure functions,
linear in the text: nothing in a pattern repeats without a bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_ROLES = r"(?:system|user|assistant|human|bot|model|instruction|response|input)"
_WORDS = (
    r"inst|think|system_prompt|available_tools|tool_calls|tool_results|tool_content|args|call_id|model_settings"
    r"|gmask|smask|sys|eot|begin_of_text"
)
_NAMES = (
    r"s|bos|eos|sop|eop|eoa|eoh|eod|pad|unk|think|thinking|thought|tool_call|tool_calls|tool_response|function_call"
    r"|function_calls|(?:start|end)_of_(?:turn|image|audio)|(?:begin|end)_of_text|turn|(?:begin|end)_of_sentence"
    r"|start_of_role|end_of_role|seed:[a-z_]{1,20}|minimax:[a-z_]{1,20}|reserved_\d{1,4}|special_\d{1,4}"
    r"|extra_(?:id_)?\d{1,3}|human|bot|sep"
)
_MARKED = (
    r"<\|[^\s|<>]{1,40}(?:\|>|>)"  # ChatML, Llama 3, GLM, Phi, Command R, Kimi, harmony, Granite; DeepSeek's bars
    r"|<[a-z_]{1,40}\|>"  # Gemma
    r"|\[\|[^\s|\[\]]{1,40}\|\]"  # EXAONE
    r"|\]~!?b[\[\]]|\[e~\["  # MiniMax
    rf"|\[/?(?:{_WORDS})\]"  # Mistral, ChatGLM
    r"|<</?sys>>"  # Llama 2
    rf"|</?(?:{_NAMES})>"
    r"|\u25c1/?[a-z]{1,20}\u25b7"  # Kimi-VL
)
_HEADED = rf"#{{2,4}}[ \t]{{0,3}}{_ROLES}[ \t]{{0,3}}:"
_LOUD = r"(?:USER|ASSISTANT|HUMAN|SYSTEM)[ \t]{0,3}:"
_LEFT = r"(?<![^\s>*_#\"'(\[])"  # after a space, or a sign that begins a word

MARKER = re.compile(_MARKED, re.IGNORECASE)
"""A marker that has no meaning in prose."""
SPEAKER = re.compile(rf"(?i:{_HEADED})|{_LEFT}{_LOUD}")
"""A name with a colon as the Alpaca and Vicuna families write it."""

_FOLDED = {0xFF01 + i: 0x21 + i for i in range(94)}
"""Full-width forms, which some tokenizers read as ASCII: each is one character for one."""
_LITERAL = re.compile(r"'((?:[^'\\\n]|\\.){1,80})'|\"((?:[^\"\\\n]|\\.){1,80})\"")
_JINJA = re.compile(r"\{[%{#][^{}]{0,4000}[%}#]\}")
_NAMED = re.compile(rf"[^\n:]{{0,20}}\b{_ROLES}\b[^\n:]{{0,8}}:", re.IGNORECASE)
_LEAST = 3
"""A shorter token occurs in ordinary text."""


def folded(text: str) -> str:
    """Return a text of the same length with ASCII for its full-width forms."""
    return text if text.isascii() else text.translate(_FOLDED)


def defuse(text: str, markers: re.Pattern[str] | None = None) -> str:
    """Break up role markers in a text with a space after their first character.

    Args:
        text: The text.
        markers: Further markers, as :func:`pattern_of` made them.
    """
    plain, cuts = folded(text), set[int]()
    for pattern in (_BEGINS, _SPEAKS, markers):
        if pattern is not None:
            cuts.update(match.start() + 1 for match in pattern.finditer(plain))
    if not cuts:
        return text
    edges = [0, *sorted(cuts), len(text)]
    return " ".join(text[a:b] for a, b in zip(edges, edges[1:], strict=False))


# Only the first character is consumed, because markers can overlap. "<|" alone is broken up, too.
_BEGINS = re.compile(rf"<(?=\|)|(?={_MARKED}).", re.IGNORECASE)
_SPEAKS = re.compile(rf"(?i:#(?=#{{1,3}}[ \t]{{0,3}}{_ROLES}[ \t]{{0,3}}:))|{_LEFT}(?={_LOUD}).")


def markers_of(tokenizer: Any) -> frozenset[str]:
    """Return the markers of a loaded tokenizer that the table does not hold."""
    template = tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else ""
    added: Mapping[int, Any] = getattr(tokenizer, "added_tokens_decoder", {})
    tokens = {str(token) for token in added.values() if token.special or str(token) in template}
    return markers_in({*tokens, *tokenizer.all_special_tokens}, template)


def markers_in(tokens: Iterable[str], template: str) -> frozenset[str]:
    """Return the markers among control tokens and in a chat template that the table does not hold."""
    literals = [one or two for one, two in _LITERAL.findall(template)]
    written = [line for text in (*literals, _JINJA.sub("\n", template)) for line in _lines(text)]
    named = {line for line in written if len(line) <= 40 and _NAMED.fullmatch(line)}
    found = {token.strip() for token in tokens} | named
    return frozenset(
        one
        for one in found
        if len(one) >= _LEAST and not one.isalnum() and not MARKER.fullmatch(folded(one))
    )


def pattern_of(markers: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern for the first character of each marker, or None without markers."""
    literals = sorted({re.escape(folded(one)) for one in markers}, key=len, reverse=True)
    return re.compile(rf"(?={'|'.join(literals)}).", re.DOTALL) if literals else None


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.replace("\\n", "\n").split("\n")]
