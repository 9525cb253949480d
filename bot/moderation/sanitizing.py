"""Removes mentions and unwanted links from a candidate, so that it may be posted.

Words are never changed, and neither is code, in which Discord renders no link and no mention. Mentions
are also removed from what Discord may read as text: doubtful code, and a code span that is cut into messages.
Pure functions; :mod:`bot.moderation.output_filter` decides by the safety level what to remove.
"""

from __future__ import annotations

import re
from itertools import pairwise

from bot.messages.markdown import Kind, Part, parts_of

LINK_REMOVED = "(link removed)"

_LONGEST_SPAN = 2000
"""A code span of this length does not fit into one message, characters."""
_MENTION = re.compile(r"[ \t]?<@[!&]?\d{1,20}>")
_EVERYBODY = re.compile(r"(?<!@)@++(?=(?:everyone|here)\b)")


def tidied(
    text: str, *, unmask: bool = False, remove_links: bool = False, remove_mentions: bool = False
) -> str:
    """Return a sanitised text.

    Args:
        text: Text of a candidate.
        unmask: Write ``[text](address)`` out, so that everybody sees where it leads.
        remove_links: Replace each address by a note.
        remove_mentions: Remove mentions of people and roles, and the @ of "everyone" and "here".
    """
    pieces: list[str] = []
    ends = Part(Kind.CODE, len(text), len(text))
    for before, part in pairwise([Part(Kind.CODE, 0, 0), *parts_of(text), ends]):
        prose = text[before.end : part.start]
        pieces.append(_without_mentions(prose) if remove_mentions else prose)
        raw = text[part.start : part.end]
        if part.kind is Kind.MASKED and unmask:
            raw = f"{part.label} ({part.target})"
        elif part.kind is Kind.ADDRESS and remove_links:
            raw = f"<{LINK_REMOVED}>" if raw.startswith("<") else LINK_REMOVED
        elif remove_mentions and _may_be_text(part, raw):
            raw = _without_mentions(raw)
        pieces.append(raw)
    rest = "".join(pieces)
    return text if rest == text else rest.strip()


def _may_be_text(part: Part, raw: str) -> bool:
    """Return whether Discord may read a piece of code as text."""
    is_cut = len(raw) >= _LONGEST_SPAN and not raw.startswith("```")
    return part.kind is Kind.DOUBTFUL or (part.kind is Kind.CODE and is_cut)


def _without_mentions(text: str) -> str:
    """Return a text without mentions; a mention that another one was hiding is broken up."""
    text, n = _MENTION.subn("", text)
    if n and _MENTION.search(text):
        text = text.replace("<@", "<")
    return _EVERYBODY.sub("", text)
