"""From what a model wrote to candidates that read like replies.

Shared by both generators. Takes away what models add around a reply (role names, reasoning, the next
speaker's lines), a sentence that the token limit cut off, and candidates that are blank or say the same.
Whether a candidate may be posted is decided later, in ``bot/moderation/output_filter.py``. Every pattern
takes time linear in the text: possessive quantifiers (``++``) never give back, and a run is only tried from
its first character.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import regex

from bot.generation import Candidate

_REASONING = re.compile(r"<think>.*?(?:</think>|\Z)|\A.*?</think>", re.DOTALL | re.IGNORECASE)
_ROLE_PREFIX = re.compile(
    r"\A(?:[\s\"'*_]*+(?:assistant|ai|bot|simpatico|reply|response|answer)[*_]*+\s*+:[*_]*+\s*+)+",
    re.IGNORECASE,
)
_NEXT_SPEAKER = re.compile(
    r"\n[ \t]{0,8}[^\w\n]{0,3}(?:user|human|assistant|system)[^\w\n]{0,3}:", re.IGNORECASE
)
_TEMPLATE = re.compile(r"<\|[^|<>\n]{1,40}\|>.*|<end_of_turn>.*|</s>.*", re.DOTALL)
# Between two characters that are no space the match must end with a grapheme cluster, hence the \X.
_SENTENCE_END = regex.compile(
    r"(?<![.!?…])(?<!\n\d)(?<!\A\d)[.!?…]++[\"'”’)\]*_~]*+(?=\s|\Z)"
    r"|(?:(?=[。！？])\X)++(?:(?=[」』”’）])\X)*+|\n"
)
_EMPTY_ITEM = re.compile(r"[ \t]{0,8}(?:[-*•]|\d{1,3}[.)])[ \t]*+")
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Written:
    """What a model wrote for one style, and whether the token limit cut it off."""

    text: str
    style: str
    cut_off: bool


def candidates_of(written: Iterable[Written], *, drafts: bool = False) -> list[Candidate]:
    """Clean what was written; blank texts and repeats (whatever their case and spacing) are left out.

    Args:
        written: What the model wrote.
        drafts: Whether what the token limit cut off may be gone on with.
    """
    candidates: list[Candidate] = []
    seen = {""}
    for one in written:
        text = clean(one.text, cut_off=one.cut_off)
        key = " ".join(text.casefold().split())
        if key not in seen:
            seen.add(key)
            candidates.append(Candidate(text, one.style, unfinished=drafts and one.cut_off))
    return candidates


def clean(text: str, *, cut_off: bool = False) -> str:
    """Return the reply in what a model wrote.

    Args:
        text: As decoded; half a character at a cut end may show as U+FFFD. A lone surrogate, which no file
            and no network takes, becomes one.
        cut_off: Whether the token limit ended it, so that the last sentence may be unfinished.
    """
    text = _HALF_CHARACTER.sub("\ufffd", text)
    for noise in (_REASONING, _TEMPLATE, _ROLE_PREFIX):
        text = noise.sub("", text)
    text = _without_next_speaker(text).strip().rstrip("\ufffd").rstrip()
    return without_unfinished_end(text) if cut_off else text


def _without_next_speaker(text: str) -> str:
    """Cut where the model goes on in somebody else's name; the same words in a code block are a file's."""
    match = _NEXT_SPEAKER.search(text)
    return text[: match.start()] if match and text[: match.start()].count("```") % 2 == 0 else text


def without_unfinished_end(text: str) -> str:
    """Drop an unfinished last sentence or list item, unless nothing else is there. Code is left as it is."""
    if text.count("```") % 2:
        return text
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    kept = _without_empty_items(text[: ends[-1]].rstrip()) if ends else ""
    return kept or text


def _without_empty_items(text: str) -> str:
    """Drop list items without a word from the end."""
    lines = text.split("\n")
    while len(lines) > 1 and _EMPTY_ITEM.fullmatch(lines[-1]):
        lines.pop()
    return "\n".join(lines)
