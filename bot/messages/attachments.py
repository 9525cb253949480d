"""What members attach: text files become their words, pictures go to a model that can read them.

Everything is read through Discord's own address of the attachment, is bounded in size, and lives in memory
only, like the message it belongs to. Links in a text are never followed. What cannot be read is said, so that
nobody believes that the bot saw it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import discord

from bot.generation import Picture
from bot.languages import mark

log = logging.getLogger(__name__)

TEXT_BYTES = 64 * 2**10
"""Largest text file, and the most of all text files in one context."""
PICTURE_BYTES = 4 * 2**20
"""Largest picture."""
MOST_PICTURES = 4

NO_PICTURES = mark("I cannot see pictures. Please describe in words what matters, and I will answer.")
NO_FILES = mark(
    "I could not read all of your attachments: I can only read text files up to 64 KB. Please paste"
    " the important part into a message, and I will answer."
)
FILE = "{name}:\n{content}"
"""How a text file stands in the member's words."""

_TEXT_TYPES = frozenset(
    f"application/{kind}"
    for kind in ("json", "xml", "javascript", "x-javascript", "toml", "yaml", "x-yaml", "x-sh", "sql")
)
_SIGNATURES: Mapping[str, tuple[bytes, ...]] = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
}


@dataclass(frozen=True, slots=True)
class Attached:
    """What was read.

    Attributes:
        text: The text files, one after the other.
        pictures: The pictures, as they were attached.
        note: What to tell the member about what was not read, in English; empty when all was.
    """

    text: str = ""
    pictures: tuple[Picture, ...] = ()
    note: str = ""


def is_text(attachment: discord.Attachment) -> bool:
    """Whether an attachment calls itself a text that is small enough to be read."""
    kind = _declared(attachment)
    return attachment.size <= TEXT_BYTES and (kind.startswith("text/") or kind in _TEXT_TYPES)


def is_picture(attachment: discord.Attachment) -> bool:
    """Whether an attachment calls itself a picture, of whatever size."""
    return _declared(attachment).startswith("image/")


def may_read(attachments: Sequence[discord.Attachment], *, vision: bool) -> bool:
    """Whether any attachment will be read, by what they say of themselves; see :func:`note_on`."""
    return any(is_text(one) or (vision and _fits(one)) for one in attachments)


def note_on(attachments: Sequence[discord.Attachment], *, vision: bool) -> str:
    """What to say, in English, of attachments that will not be read, going by what they call themselves.

    Empty when all will be read.

    Args:
        attachments: Those of one message.
        vision: Whether the language model reads pictures.
    """
    unread = [one for one in attachments if not may_read([one], vision=vision)]
    if not unread:
        return ""
    return NO_PICTURES if not vision and all(map(is_picture, unread)) else NO_FILES


async def read_attached(attachments: Sequence[discord.Attachment], *, vision: bool) -> Attached:
    """Read what can be read of one message's attachments.

    Args:
        attachments: Those of the message.
        vision: Whether the language model reads pictures.
    """
    note = note_on(attachments, vision=vision)
    text, all_read = await read_texts(attachments, TEXT_BYTES)
    pictures: list[Picture] = []
    wanted = [one for one in attachments if vision and _fits(one)]
    for one in wanted[:MOST_PICTURES]:
        raw = await _read(one)
        kind = None if raw is None else picture_type(raw)
        if raw is not None and kind is not None:
            pictures.append(Picture(kind, raw))
    all_read = all_read and len(pictures) == len(wanted)
    return Attached(text, tuple(pictures), note or ("" if all_read else NO_FILES))


async def read_texts(attachments: Sequence[discord.Attachment], room: int) -> tuple[str, bool]:
    """Read the text files among attachments.

    Args:
        attachments: Those of one message.
        room: Bytes that may be read.

    Returns:
        The files as words, and whether all of them could be read.
    """
    found: list[str] = []
    all_read = True
    for one in filter(is_text, attachments):
        raw = await _read(one) if one.size <= room else None
        content = None if raw is None else decoded(raw)
        if content is None:
            all_read = False
            continue
        room -= one.size
        found.append(FILE.format(name=" ".join(one.filename.split()), content=content))
    return "\n\n".join(found), all_read


def decoded(raw: bytes) -> str | None:
    """The text in a file, or None where it is no UTF-8 text."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text.replace("\r\n", "\n").strip()


def picture_type(raw: bytes) -> str | None:
    """The media type of a picture by its first bytes, whatever it is called; None for all others."""
    if raw[:4] == b"RIFF" and raw[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for kind, starts in _SIGNATURES.items() if raw.startswith(starts)), None)


def joined(*parts: str) -> str:
    """Words and files of one message as one text."""
    return "\n\n".join(part for part in parts if part)


async def _read(attachment: discord.Attachment) -> bytes | None:
    try:
        raw = await attachment.read()
    except discord.HTTPException as exc:  # deleted meanwhile, or Discord has a bad day
        log.warning("an attachment could not be read: Discord answered %s (code %s)", exc.status, exc.code)
        return None
    return raw if len(raw) <= max(TEXT_BYTES, PICTURE_BYTES) else None


def _declared(attachment: discord.Attachment) -> str:
    """The media type without its parameters, in lower case."""
    return (attachment.content_type or "").partition(";")[0].strip().lower()


def _fits(attachment: discord.Attachment) -> bool:
    return is_picture(attachment) and attachment.size <= PICTURE_BYTES
