"""A scanner for what must not be there: canaries in all the forms in which a file, dump or log may hold them.

Plant values that stand nowhere else, name them here, and scan: folders byte by byte, single blobs, streams,
lines of a log. A canary is a text, a Discord id, a vector or a secret; each is looked for in every form
that promise P3 names. One pass over the bytes finds all forms of all canaries: a table of the first three
bytes of every form leaves a handful of places to look at closely, so many forms cost little more than one.

    canaries = Canaries().text("note", "Zaubertext").id("alice", 822_333_444_555_666_777)
    assert canaries.in_folder(folder) == []
"""

from __future__ import annotations

import base64
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

import numpy as np
import numpy.typing as npt

PIECE = 4 * 2**20
"""Bytes looked at in one go."""
WINDOW = 16
SHORTEST = 7
"""Bytes of the shortest form; less would be found by chance."""
_START = 3


class Hit(NamedTuple):
    """One canary found: in which file, which canary, in which form, at which byte, and those bytes."""

    where: str
    canary: str
    form: str
    offset: int
    value: bytes


class Form(NamedTuple):
    """One canary in one form."""

    canary: str
    form: str
    value: bytes


def forms_of_bytes(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """How bytes may stand in a file: as they are, in hex, in base64 at each of its three alignments."""
    yield "raw", raw
    yield "hex", raw.hex().encode()
    yield "HEX", raw.hex().upper().encode()
    for shift in range(3):
        # Only the letters that do not depend on the bytes before and after.
        first, last = -(-shift * 8 // 6), (shift + len(raw)) * 8 // 6
        for name, alphabet in (("base64", b"+/"), ("base64url", b"-_")):
            letters = base64.b64encode(b"\0" * shift + raw, alphabet)
            yield f"{name}+{shift}", letters[first:last]


def forms_of_text(text: str) -> Iterator[tuple[str, bytes]]:
    """How a text may stand in a file; bytes' forms of its UTF-8, and other ways to write letters."""
    yield from forms_of_bytes(text.encode())
    yield "utf-16-le", text.encode("utf-16-le")
    yield "utf-16-be", text.encode("utf-16-be")
    yield "utf-8 in hex of utf-16", text.encode("utf-16-le").hex().encode()
    yield "json", json.dumps(text)[1:-1].encode()
    yield "json with letters", json.dumps(text, ensure_ascii=False)[1:-1].encode()
    yield "json, every letter", "".join(_escapes(text)).encode()
    yield "python", text.encode("unicode_escape")


def _escapes(text: str) -> Iterator[str]:
    units = text.encode("utf-16-be")
    return (f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def forms_of_id(number: int) -> Iterator[tuple[str, bytes]]:
    """How an id may stand in a file: in decimal in every form of a text, in hex, in 8 bytes both ways."""
    for form, value in forms_of_text(str(number)):
        yield f"decimal {form}", value
    yield "id hex", f"{number:x}".encode()
    yield "8 bytes le", number.to_bytes(8, "little")
    yield "8 bytes be", number.to_bytes(8, "big")


def windows(value: bytes) -> Iterator[tuple[int, bytes]]:
    """The 16-byte pieces of a value and where they start; pieces of few different bytes say nothing."""
    for start in range(0, len(value) - WINDOW + 1, WINDOW):
        piece = value[start : start + WINDOW]
        if len(set(piece)) > 4:
            yield start, piece


class Canaries:
    """A set of canaries to scan for; every ``text``, ``id`` ... adds one and returns the set."""

    def __init__(self) -> None:
        self.forms: list[Form] = []
        self._table: npt.NDArray[np.bool_] | None = None
        self._by_start: defaultdict[bytes, list[Form]] = defaultdict(list)

    def text(self, name: str, text: str) -> Self:
        """Words, a name, a token."""
        return self._add(name, forms_of_text(text))

    def id(self, name: str, number: int) -> Self:
        """A Discord id."""
        return self._add(name, forms_of_id(number))

    def secret(self, name: str, raw: bytes) -> Self:
        """A key."""
        return self._add(name, forms_of_bytes(raw))

    def vector(self, name: str, values: npt.NDArray[np.floating]) -> Self:
        """Numbers, as float32 and float16; each piece of 16 bytes is found by itself."""
        for dtype in ("<f4", "<f2"):
            self.value(f"{name} as {dtype}", values.astype(dtype).tobytes())
        return self

    def value(self, name: str, raw: bytes) -> Self:
        """Any bytes, such as a ciphertext; each piece of 16 bytes is found by itself."""
        return self._add(name, ((f"bytes {start}-{start + WINDOW}", piece) for start, piece in windows(raw)))

    def in_bytes(self, content: bytes, where: str = "bytes") -> list[Hit]:
        """Every hit in a blob."""
        return self.in_stream(io.BytesIO(content), where)

    def in_text(self, lines: Iterable[str], where: str = "log") -> list[Hit]:
        """Every hit in the lines of a log."""
        return self.in_bytes("\n".join(lines).encode("utf-8", "surrogatepass"), where)

    def in_stream(self, stream: BinaryIO, where: str) -> list[Hit]:
        """Every hit in a stream, read piece by piece."""
        overlap = max((len(form.value) for form in self.forms), default=1) - 1
        found: set[Hit] = set()
        kept, offset = b"", 0
        while read := stream.read(PIECE):
            content = kept + read
            found.update(self._in_piece(content, where, offset))
            kept = content[max(0, len(content) - overlap) :] if overlap else b""
            offset += len(content) - len(kept)
        return sorted(found)

    def in_folder(self, folder: Path, *, but: Iterable[str] = ()) -> list[Hit]:
        """Every hit in the names and the bytes of all files below a folder.

        Args:
            folder: Where to look; files that go while it is looked at are passed over.
            but: Names of files to leave out.
        """
        found: list[Hit] = []
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            found += self.in_bytes(name.encode(), f"name of {name}")
            if path.is_file() and path.name not in set(but):
                try:
                    with path.open("rb") as stream:
                        found += self.in_stream(stream, name)
                except FileNotFoundError:
                    continue
        return found

    def _add(self, name: str, forms: Iterable[tuple[str, bytes]]) -> Self:
        taken: set[bytes] = set()
        for form, value in forms:
            if value in taken:
                continue
            taken.add(value)
            if len(value) < SHORTEST:
                raise ValueError(f"{name} is {len(value)} bytes as {form}; expected {SHORTEST} or more")
            self.forms.append(Form(name, form, value))
            self._by_start[value[:_START]].append(self.forms[-1])
        self._table = None
        return self

    def _in_piece(self, content: bytes, where: str, offset: int) -> Iterator[Hit]:
        if len(content) < SHORTEST:
            return
        if self._table is None:
            self._table = np.zeros(2 ** (8 * _START), dtype=np.bool_)
            self._table[[int.from_bytes(start, "big") for start in self._by_start]] = True
        octets = np.frombuffer(content, dtype=np.uint8).astype(np.uint32)
        starts = (octets[:-2] << 16) | (octets[1:-1] << 8) | octets[2:]
        for at in np.flatnonzero(self._table[starts]).tolist():
            for form in self._by_start[content[at : at + _START]]:
                if content.startswith(form.value, at):
                    yield Hit(where, form.canary, form.form, offset + at, form.value)
