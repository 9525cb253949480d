"""Reads attachments: text files become part of the message, pictures go to a model that can read them.

Attachments are read from Discord's own address, are bounded in size, and live in memory only, like their
message. Links in a text are never followed. A note names what was not read, so that members do not believe
that the bot saw it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import discord

from bot.generation import Picture
from bot.languages import mark

log = logging.getLogger(__name__)

TEXT_BYTES = 64 * 2**10
"""Largest text file, and largest sum of all text files in one context, bytes."""
PICTURE_BYTES = 4 * 2**20
"""Largest picture, and largest sum of all pictures in one context, bytes."""
MOST_PICTURES = 4
READ_S = 15.0
"""Longest time to read one attachment, seconds: other members wait for their turn."""

NO_PICTURES = mark("I cannot see pictures. Please describe in words what matters, and I will answer.")
NO_FILES = mark(
    "I could not read all of your attachments: I can only read text files up to 64 KB. Please paste"
    " the important part into a message, and I will answer."
)
NO_VOICE = mark("I cannot listen to recordings. Please write down what matters, and I will answer.")
FILE = "{name}:\n{content}"
"""Template of a text file in the message."""

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
    """The attachments that were read.

    Attributes:
        text: The text files, one after the other.
        pictures: The pictures, unchanged.
        note: Note for the member about attachments that were not read, in English; empty when all were read.
    """

    text: str = ""
    pictures: tuple[Picture, ...] = ()
    note: str = ""


def is_text(attachment: discord.Attachment) -> bool:
    """Return whether an attachment is declared as text and small enough to be read."""
    kind = _declared(attachment)
    return attachment.size <= TEXT_BYTES and (kind.startswith("text/") or kind in _TEXT_TYPES)


def is_picture(attachment: discord.Attachment) -> bool:
    """Return whether an attachment is declared as a picture, of any size."""
    return _declared(attachment).startswith("image/")


def is_recording(attachment: discord.Attachment) -> bool:
    """Return whether an attachment is declared as a recording, such as a voice message."""
    return _declared(attachment).startswith("audio/")


def may_read(attachments: Sequence[discord.Attachment], *, vision: bool) -> bool:
    """Return whether any attachment will be read, going by the declared types."""
    return any(is_text(one) or (vision and _fits(one)) for one in attachments)


def note_on(attachments: Sequence[discord.Attachment], *, vision: bool) -> str:
    """Return the note about attachments that will not be read, going by the declared types.

    In English; empty when all will be read.

    Args:
        attachments: The attachments of one message.
        vision: Whether the language model reads pictures.
    """
    unread = [one for one in attachments if not may_read([one], vision=vision)]
    if not unread:
        return ""
    if all(map(is_recording, unread)):
        return NO_VOICE
    return NO_PICTURES if not vision and all(map(is_picture, unread)) else NO_FILES


async def read_attached(attachments: Sequence[discord.Attachment], *, vision: bool) -> Attached:
    """Read all attachments that can be read.

    Args:
        attachments: The attachments of messages that get one answer.
        vision: Whether the language model reads pictures.
    """
    note = note_on(attachments, vision=vision)
    text, all_read = await read_texts(attachments, TEXT_BYTES)
    pictures: list[Picture] = []
    wanted = [one for one in attachments if vision and _fits(one)]
    for one in wanted[:MOST_PICTURES]:
        fits = one.size + sum(len(picture.raw) for picture in pictures) <= PICTURE_BYTES
        raw = await _read(one) if fits else None
        kind = None if raw is None else picture_type(raw)
        if raw is not None and kind is not None:
            pictures.append(Picture(kind, raw))
    all_read = all_read and len(pictures) == len(wanted)
    return Attached(text, tuple(pictures), note or ("" if all_read else NO_FILES))


async def read_texts(attachments: Sequence[discord.Attachment], room: int) -> tuple[str, bool]:
    """Read the text files among attachments.

    Args:
        attachments: Attachments of any type.
        room: Bytes that may be read.

    Returns:
        The text of the files, and whether all of them could be read.
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
    """Return the text in a file, or None where it is not UTF-8 text."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text.replace("\r\n", "\n").strip()


def picture_type(raw: bytes) -> str | None:
    """Return the media type of a picture by its first bytes, else None. The declared type is not used."""
    if raw[:4] == b"RIFF" and raw[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for kind, starts in _SIGNATURES.items() if raw.startswith(starts)), None)


def joined(*parts: str) -> str:
    """Join the words and files of one message to one text."""
    return "\n\n".join(part for part in parts if part)


async def _read(attachment: discord.Attachment) -> bytes | None:
    try:
        async with asyncio.timeout(READ_S):
            raw = await attachment.read()
    except TimeoutError:
        log.warning("an attachment could not be read: no answer within %.0f s", READ_S)
        return None
    except discord.HTTPException as exc:  # deleted meanwhile, or Discord is unavailable
        log.warning("an attachment could not be read: Discord answered %s (code %s)", exc.status, exc.code)
        return None
    return raw if len(raw) <= max(TEXT_BYTES, PICTURE_BYTES) else None


def _declared(attachment: discord.Attachment) -> str:
    """Return the declared media type without its parameters, in lower case."""
    return (attachment.content_type or "").partition(";")[0].strip().lower()


def _fits(attachment: discord.Attachment) -> bool:
    return is_picture(attachment) and attachment.size <= PICTURE_BYTES
