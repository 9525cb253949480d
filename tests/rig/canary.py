"""Scanner for canaries: finds planted values in files, blobs, streams and logs, in any encoding.

A canary is a text, a Discord id, a vector or a secret that occurs nowhere else. Plant it, name it here, and
scan. The scanner searches for each canary in every form that promise P3 names. One pass over the bytes finds
all forms of all canaries: a lookup table of the first three bytes of every form leaves few positions to
compare in full, so many forms cost little more than one.

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
"""Bytes read at a time."""
WINDOW = 16
"""Bytes of one piece of a value whose pieces are searched one by one."""
SHORTEST = 7
"""Bytes of the shortest form allowed; shorter ones would match by chance."""
_START = 3


class Hit(NamedTuple):
    """One match: the file, the canary, its form, the byte offset, and the matched bytes."""

    where: str
    canary: str
    form: str
    offset: int
    value: bytes


class Form(NamedTuple):
    """One encoding of one canary."""

    canary: str
    form: str
    value: bytes


def forms_of_bytes(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Forms of a byte string: raw, hex, and base64 at each of its three alignments."""
    yield "raw", raw
    yield "hex", raw.hex().encode()
    yield "HEX", raw.hex().upper().encode()
    for shift in range(3):
        # Keep only the letters that do not depend on the neighbouring bytes.
        first, last = -(-shift * 8 // 6), (shift + len(raw)) * 8 // 6
        for name, alphabet in (("base64", b"+/"), ("base64url", b"-_")):
            letters = base64.b64encode(b"\0" * shift + raw, alphabet)
            yield f"{name}+{shift}", letters[first:last]


def forms_of_text(text: str) -> Iterator[tuple[str, bytes]]:
    """Forms of a text: those of its UTF-8 bytes, UTF-16, and escapes of JSON and Python."""
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
    """Forms of an id: its decimal text in every text form, hex, and 8 bytes in both byte orders."""
    for form, value in forms_of_text(str(number)):
        yield f"decimal {form}", value
    yield "id hex", f"{number:x}".encode()
    yield "8 bytes le", number.to_bytes(8, "little")
    yield "8 bytes be", number.to_bytes(8, "big")


def windows(value: bytes) -> Iterator[tuple[int, bytes]]:
    """Split a value into 16-byte pieces with their offsets; skip pieces of at most 4 different bytes.

    Such pieces (zeros, for example) would match by chance.
    """
    for start in range(0, len(value) - WINDOW + 1, WINDOW):
        piece = value[start : start + WINDOW]
        if len(set(piece)) > 4:
            yield start, piece


class Canaries:
    """Set of canaries to scan for; ``text``, ``id`` and the others add one and return the set."""

    def __init__(self) -> None:
        self.forms: list[Form] = []
        self._table: npt.NDArray[np.bool_] | None = None
        self._by_start: defaultdict[bytes, list[Form]] = defaultdict(list)

    def text(self, name: str, text: str) -> Self:
        """Add a text: words, a name, a token."""
        return self._add(name, forms_of_text(text))

    def id(self, name: str, number: int) -> Self:
        """Add a Discord id."""
        return self._add(name, forms_of_id(number))

    def secret(self, name: str, raw: bytes) -> Self:
        """Add a key."""
        return self._add(name, forms_of_bytes(raw))

    def vector(self, name: str, values: npt.NDArray[np.floating]) -> Self:
        """Add a vector as float32 and float16; each piece of 16 bytes is a form of its own."""
        for dtype in ("<f4", "<f2"):
            self.value(f"{name} as {dtype}", values.astype(dtype).tobytes())
        return self

    def value(self, name: str, raw: bytes) -> Self:
        """Add any bytes, such as a ciphertext; each piece of 16 bytes is a form of its own."""
        return self._add(name, ((f"bytes {start}-{start + WINDOW}", piece) for start, piece in windows(raw)))

    def in_bytes(self, content: bytes, where: str = "bytes") -> list[Hit]:
        """Find every hit in a blob."""
        return self.in_stream(io.BytesIO(content), where)

    def in_text(self, lines: Iterable[str], where: str = "log") -> list[Hit]:
        """Find every hit in the lines of a log."""
        return self.in_bytes("\n".join(lines).encode("utf-8", "surrogatepass"), where)

    def in_stream(self, stream: BinaryIO, where: str) -> list[Hit]:
        """Find every hit in a stream, read in pieces that overlap by the longest form."""
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
        """Find every hit in the names and the contents of all files below a folder.

        Args:
            folder: Where to look; files deleted during the scan are skipped.
            but: Names of files to skip.
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
