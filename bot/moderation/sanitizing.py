"""Removes mentions and unwanted links from a candidate, so that it may be posted.

Words are never changed, and neither is code, in which Discord renders no link and no mention. Pure functions;
:mod:`bot.moderation.output_filter` decides by the safety level what to remove.
"""

from __future__ import annotations

import re

LINK_REMOVED = "(link removed)"

_ADDRESS = r"\b(?:https?|ftps?|steam|discord)://[^\s<>]*[^\s<>.,!?;:)\]]"
LINK = re.compile(_ADDRESS, re.IGNORECASE)
"""An address that Discord renders as a link."""
_BARE = re.compile(r"(?<!\]\()(?<!\]\(<)" + _ADDRESS, re.IGNORECASE)
"""An address that is not the target of ``[text](address)``; those are written out or dropped."""
_CODE = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]+`)", re.DOTALL)
_MASKED = re.compile(
    r"\[([^\]\n]{0,300})\]\(\s*<?([a-z][a-z0-9+.-]{0,20}:[^\s)>]{0,2000})>?\s*\)", re.IGNORECASE
)
_MENTION = re.compile(r"[ \t]?<@[!&]?\d{1,20}>")
_EVERYBODY = re.compile(r"@(?=(?:everyone|here)\b)")


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
    parts = _CODE.split(text)
    for index in range(0, len(parts), 2):  # odd parts are code
        part = parts[index]
        if unmask:
            part = _MASKED.sub(r"\1 (\2)", part)
        if remove_links:
            part = _BARE.sub(LINK_REMOVED, part)
        if remove_mentions:
            part = _EVERYBODY.sub("", _MENTION.sub("", part))
        parts[index] = part
    rest = "".join(parts)
    return text if rest == text else rest.strip()
