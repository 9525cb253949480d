"""Turns raw model output into candidates.

Shared by all generators. Removes what models add around a reply (role names, reasoning, lines of the next
speaker), a sentence that the token limit cut off, and blank or repeated candidates. Whether a candidate may
be posted is decided later, in ``bot/moderation/output_filter.py``. Every pattern is linear in the length of
the text: possessive quantifiers (``++``) never backtrack, and a run is tried only from its first character.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import regex

from bot.generation import Candidate
from bot.generators.role_markers import MARKER, SPEAKER, folded
from bot.messages.markdown import Kind, parts_of

_THINK = r"think|thinking|thought|reasoning|seed:think"
_REASONING = re.compile(
    rf"<(?:{_THINK})>.*?(?:</(?:{_THINK})>|\Z)|\A.*?</(?:{_THINK})>"
    r"|\[think\].*?(?:\[/think\]|\Z)|\A.*?\[/think\]"
    r"|\u25c1think\u25b7.*?(?:\u25c1/think\u25b7|\Z)|\A.*?\u25c1/think\u25b7",
    re.DOTALL | re.IGNORECASE,
)
_HARMONY = re.compile(r"\A.*<\|channel\|>final(?:<\|constrain\|>[a-z]{1,20})?<\|message\|>", re.DOTALL)
# What is left of it when the tokenizer leaves out control tokens.
_HARMONY_WORDS = re.compile(r"\Aanalysis(?=[^a-z]|[A-Z]).*?assistantfinal", re.DOTALL)
_LEADING = re.compile(rf"\A\s*+(?:(?:{MARKER.pattern})(?:assistant\b)?\s*+)++", re.IGNORECASE)
_ROLE_PREFIX = re.compile(
    r"\A(?:[\s\"'*_]*+(?:#{2,4}[ \t]{0,3})?(?:assistant|ai|bot|simpatico|reply|response|answer)"
    r"[*_]*+\s*+:[*_]*+\s*+)+",
    re.IGNORECASE,
)
_NEXT_SPEAKER = re.compile(
    r"\n[ \t]{0,8}[^\w\n]{0,3}(?:user|human|assistant|system)[^\w\n]{0,3}:", re.IGNORECASE
)
# \X: between two characters that are no space, the match must end with a grapheme cluster.
_SENTENCE_END = regex.compile(
    r"(?<![.!?…])(?<!\n\d)(?<!\A\d)[.!?…]++[\"'”’)\]*_~]*+(?=\s|\Z)"
    r"|(?:(?=[。！？])\X)++(?:(?=[」』”’）])\X)*+|\n"
)
_EMPTY_ITEM = re.compile(r"[ \t]{0,8}(?:[-*•]|\d{1,3}[.)])[ \t]*+")
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Written:
    """Raw output for one style, and whether the token limit cut it off."""

    text: str
    style: str
    cut_off: bool


def candidates_of(
    written: Iterable[Written], *, drafts: bool = False, markers: re.Pattern[str] | None = None
) -> list[Candidate]:
    """Clean raw outputs; leave out blank texts and repeats, ignoring case and spacing.

    Args:
        written: Raw outputs of the model.
        drafts: Whether an output that the token limit cut off is a draft to be continued.
        markers: Role markers of the model that the table does not hold.
    """
    candidates: list[Candidate] = []
    seen = {""}
    for one in written:
        text = clean(one.text, cut_off=one.cut_off, markers=markers)
        key = " ".join(text.casefold().split())
        if key not in seen:
            seen.add(key)
            candidates.append(Candidate(text, one.style, unfinished=drafts and one.cut_off))
    return candidates


def clean(text: str, *, cut_off: bool = False, markers: re.Pattern[str] | None = None) -> str:
    """Extract the reply from raw output.

    Args:
        text: Decoded output. Half a character at the end may appear as U+FFFD. A lone surrogate cannot be
            encoded and is replaced by U+FFFD.
        cut_off: Whether the token limit cut it off, so that the last sentence may be unfinished.
        markers: Role markers of the model that the table does not hold.
    """
    text = _HALF_CHARACTER.sub("\ufffd", text)
    for noise in (_HARMONY, _HARMONY_WORDS, _REASONING, _LEADING):
        text = noise.sub("", text)
    text = _without_role_prefix(_up_to_a_marker(text, markers))
    text = _without_next_speaker(text).strip().rstrip("\ufffd").rstrip()
    return without_unfinished_end(text) if cut_off else text


def _up_to_a_marker(text: str, markers: re.Pattern[str] | None) -> str:
    """Cut the text at its first role marker, except inside code, which may be about chat templates."""
    plain = folded(text)
    patterns = [MARKER, SPEAKER, *([markers] if markers else [])]
    if not any(pattern.search(plain) for pattern in patterns):
        return text
    pieces, last = [], 0
    for part in parts_of(text):
        if part.kind is Kind.CODE:
            pieces += [plain[last : part.start], " " * (part.end - part.start)]
            last = part.end
    plain = "".join([*pieces, plain[last:]])
    if MARKER.match(plain) is None and (prefix := _ROLE_PREFIX.match(plain)):
        plain = " " * prefix.end() + plain[prefix.end() :]  # removed later
    found = [match.start() for pattern in patterns if (match := pattern.search(plain))]
    return text[: min(found, default=len(text))]


def _without_role_prefix(text: str) -> str:
    prefix = _ROLE_PREFIX.match(folded(text))
    return text[prefix.end() :] if prefix else text


def _without_next_speaker(text: str) -> str:
    """Cut the text where the model writes the next speaker's turn, except inside a code block."""
    match = _NEXT_SPEAKER.search(text)
    return text[: match.start()] if match and text[: match.start()].count("```") % 2 == 0 else text


def without_unfinished_end(text: str) -> str:
    """Drop an unfinished last sentence or list item, unless it is the whole text. Keep code unchanged."""
    if text.count("```") % 2:
        return text
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    kept = _without_empty_items(text[: ends[-1]].rstrip()) if ends else ""
    return kept or text


def _without_empty_items(text: str) -> str:
    """Drop empty list items from the end."""
    lines = text.split("\n")
    while len(lines) > 1 and _EMPTY_ITEM.fullmatch(lines[-1]):
        lines.pop()
    return "\n".join(lines)
