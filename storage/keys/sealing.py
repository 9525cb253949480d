"""Sealing: AES-256-GCM bound to the place where a value belongs.

A sealed value is ``format (1 byte) | nonce (12) | ciphertext and tag``. The associated data names table,
column, row, member and version. So a value that was copied to another place, or an older value put back, does
not open. Only this module uses AES; :mod:`storage.keys.key_store` provides the keys.
"""

from __future__ import annotations

import secrets
from functools import cache
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from storage.errors import SealBroken

KEY_BYTES = 32
NONCE_BYTES = 12
FORMAT = b"\x01"


UNOPENED_HINT = (
    "a key is missing, or the rows are damaged; if keys.db was replaced by an older backup, restore the one "
    "that belongs to this data"
)
"""Explanation for log lines about rows that cannot be opened."""


class Slot(NamedTuple):
    """The place a sealed value is bound to. A tuple, because a round creates two for every label.

    Attributes:
        row: Primary key of the row in its table.
        member: Pseudonym of the member who owns the value; empty for values of the system.
        version: Changes whenever the value is replaced, if the row stores it.
    """

    table: str
    column: str
    row: int | str = ""
    member: bytes = b""
    version: int = 0

    def associated_data(self) -> bytes:
        """Return all parts, each prefixed with its length, so that no two places give the same bytes."""
        row, version = str(self.row).encode(), str(self.version).encode()
        member = self.member.hex().encode()
        return b"".join(
            (
                _start(self.table, self.column),
                len(row).to_bytes(2),
                row,
                len(member).to_bytes(2),
                member,
                len(version).to_bytes(2),
                version,
            )
        )


@cache
def _start(table: str, column: str) -> bytes:
    return FORMAT + b"".join(len(part).to_bytes(2) + part.encode() for part in (table, column))


class SealingKey:
    """A 256-bit key that seals and opens values.

    Random nonces are safe up to 2**32 values under one key (NIST SP 800-38D, section 8.3). A key here belongs
    to one member.
    """

    __slots__ = ("_cipher",)

    def __init__(self, raw: bytes) -> None:
        self._cipher = AESGCM(raw)

    def seal(self, value: bytes, slot: Slot) -> bytes:
        """Encrypt ``value`` for this place."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return FORMAT + nonce + self._cipher.encrypt(nonce, value, slot.associated_data())

    def open(self, sealed: bytes, slot: Slot) -> bytes:
        """Decrypt a value that was sealed for this place.

        Raises:
            SealBroken: The value was changed, moved, truncated, or sealed under another key.
        """
        body = sealed[1 + NONCE_BYTES :]
        try:
            if sealed[:1] != FORMAT:
                raise SealBroken(
                    f"Expected sealing format {FORMAT.hex()}, found {sealed[:1].hex() or 'nothing'}."
                )
            return self._cipher.decrypt(sealed[1 : 1 + NONCE_BYTES], body, slot.associated_data())
        except (InvalidTag, ValueError) as exc:
            raise SealBroken(
                f"A value in {slot.table}.{slot.column} cannot be opened: it was changed or moved, or sealed "
                "under another key."
            ) from exc


def new_key() -> bytes:
    """Return 32 random bytes."""
    return secrets.token_bytes(KEY_BYTES)
