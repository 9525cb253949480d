"""Attachments: declared type, actual content, and the note about those that are not read."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bot.generation import Picture
from bot.messages.attachments import (
    NO_FILES,
    NO_PICTURES,
    PICTURE_BYTES,
    TEXT_BYTES,
    decoded,
    note_on,
    picture_type,
    read_attached,
    read_texts,
)

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)


class Attachment(SimpleNamespace):
    """An attachment with discord.py's attributes; counts how often it is fetched."""

    def __init__(self, filename: str, content_type: str | None, raw: bytes, size: int | None = None) -> None:
        super().__init__(filename=filename, content_type=content_type, size=size or len(raw), n_read=0)
        self._raw = raw

    async def read(self) -> bytes:
        self.n_read += 1
        return self._raw


def text(raw: bytes = b"one\r\ntwo\n", **changes) -> Attachment:
    return Attachment("notes.txt", "text/plain; charset=utf-8", raw, **changes)


def picture(raw: bytes = PNG, **changes) -> Attachment:
    return Attachment("cat.png", "image/png", raw, **changes)


async def test_text_files_become_words_and_pictures_are_handed_over():
    attached = await read_attached([text(), picture()], vision=True)

    assert attached.text == "notes.txt:\none\ntwo"
    assert attached.pictures == (Picture("image/png", PNG),)
    assert attached.note == ""


@pytest.mark.parametrize(
    ("one", "vision", "note"),
    [
        (picture(), False, NO_PICTURES),
        (picture(size=PICTURE_BYTES + 1), True, NO_FILES),
        (picture(b"<svg/>"), True, NO_FILES),
        (text(size=TEXT_BYTES + 1), False, NO_FILES),
        (text("ä".encode("latin-1")), False, NO_FILES),
        (Attachment("tool.exe", "application/octet-stream", b"MZ"), False, NO_FILES),
        (Attachment("what", None, b"?"), True, NO_FILES),
    ],
)
async def test_what_cannot_be_read_is_said(one, vision, note):
    attached = await read_attached([one], vision=vision)

    assert (attached.text, attached.pictures, attached.note) == ("", (), note)


async def test_what_is_too_large_or_of_no_use_is_not_fetched():
    unwanted = [picture(), text(size=TEXT_BYTES + 1), picture(size=PICTURE_BYTES + 1)]

    await read_attached(unwanted, vision=False)

    assert [one.n_read for one in unwanted] == [0, 0, 0]
    assert note_on([picture(), unwanted[1]], vision=False) == NO_FILES


async def test_text_files_share_their_room():
    first, second = text(b"a" * 60), text(b"b" * 60)

    words, all_read = await read_texts([first, second], 100)

    assert (words, all_read, second.n_read) == ("notes.txt:\n" + "a" * 60, False, 0)


def test_only_utf_8_text_is_text():
    assert decoded("\ufeffKäse".encode()) == "Käse"
    assert decoded(b"\xff\xfe") is None
    assert decoded(b"a\0b") is None


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"RIFF\x00\x00\x00\x00WAVE", None),
        (b"", None),
    ],
)
def test_a_picture_is_known_by_its_first_bytes(raw, kind):
    assert picture_type(raw) == kind


async def test_all_pictures_together_have_a_limit():
    large = picture(PNG + b"\0" * (PICTURE_BYTES - 100))

    read = await read_attached([large, large, picture()], vision=True)

    assert ([len(one.raw) for one in read.pictures], read.note) == ([large.size, len(PNG)], NO_FILES)
