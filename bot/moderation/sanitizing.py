"""What is taken out of a candidate so that it may be posted: mentions, and links that are not wanted.

Only marks are rewritten, never words, and nothing inside code, where Discord makes neither a link nor a
mention. Pure text; :mod:`bot.moderation.output_filter` says what a level asks for.
"""

from __future__ import annotations

import re

LINK_REMOVED = "(link removed)"

_ADDRESS = r"\b(?:https?|ftps?|steam|discord)://[^\s<>]*[^\s<>.,!?;:)\]]"
LINK = re.compile(_ADDRESS, re.IGNORECASE)
"""An address that Discord makes a link of."""
_BARE = re.compile(r"(?<!\]\()(?<!\]\(<)" + _ADDRESS, re.IGNORECASE)
"""The same, where it does not stand behind other words: that is written out, or dropped."""
_CODE = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]+`)", re.DOTALL)
_MASKED = re.compile(
    r"\[([^\]\n]{0,300})\]\(\s*<?([a-z][a-z0-9+.-]{0,20}:[^\s)>]{0,2000})>?\s*\)", re.IGNORECASE
)
_MENTION = re.compile(r"[ \t]?<@[!&]?\d{1,20}>")
_EVERYBODY = re.compile(r"@(?=(?:everyone|here)\b)")


def tidied(
    text: str, *, unmask: bool = False, remove_links: bool = False, remove_mentions: bool = False
) -> str:
    """Return a text without what is not wanted.

    Args:
        text: A candidate's.
        unmask: Write ``[text](address)`` out, so that everybody sees where it leads.
        remove_links: Put a note in the place of each address.
        remove_mentions: Leave mentions of people and roles out, and take the @ off "everyone" and "here".
    """
    parts = _CODE.split(text)
    for index in range(0, len(parts), 2):  # code stands between
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
