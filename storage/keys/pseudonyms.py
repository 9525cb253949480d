"""Pseudonyms: keyed hashes that replace Discord ids in the database.

Each is the first 16 bytes of an HMAC-SHA256 under a random key that never leaves the key store. Without that
key, trying all ids does not reveal the member of a row. Pure, no I/O.
"""

from __future__ import annotations

import hashlib
import hmac

from storage.records import DIRECT_MESSAGES, MemberId, Who
from storage.records.identifiers import PSEUDONYM_BYTES


class Pseudonyms:
    """Computes pseudonyms of people, servers, channels and messages under one secret key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def member(self, who: Who) -> MemberId:
        """Return the pseudonym of one person in one server."""
        return MemberId(self._name("member", who.guild_id, who.user_id))

    def person(self, user_id: int) -> bytes:
        """Return the pseudonym of one person across all servers, used to forget them everywhere."""
        return self._name("person", user_id)

    def guild(self, who: Who) -> bytes:
        """Return the pseudonym of a server; each person's direct messages count as a server."""
        if who.guild_id == DIRECT_MESSAGES:
            return self._name("direct", who.user_id)
        return self._name("guild", who.guild_id)

    def listed(self, who: Who) -> bytes:
        """Return the pseudonym of a person in one server's access lists; it matches none of their rows."""
        return self._name("listed", who.guild_id, who.user_id)

    def channel(self, channel_id: int) -> bytes:
        """Return the pseudonym of a channel or thread."""
        return self._name("channel", channel_id)

    def message(self, message_id: int) -> bytes:
        """Return the pseudonym of a message, which is one chunk of a reply."""
        return self._name("message", message_id)

    def tally(self, kind: str, subject: bytes) -> bytes:
        """Return the name of a tally (:mod:`storage.tallies`); it matches no row of any table."""
        counted = b"tally " + kind.encode() + b" " + subject
        return hmac.digest(self._key, counted, hashlib.sha256)[:PSEUDONYM_BYTES]

    def erased(self, key_id: bytes) -> bytes:
        """Return the hash of a destroyed key, as the erasure ledger lists it."""
        return hmac.digest(self._key, b"erased" + key_id, hashlib.sha256)[:PSEUDONYM_BYTES]

    def check(self) -> bytes:
        """Return a value that shows whether a database was written under this key."""
        return self._name("check")

    def _name(self, kind: str, *ids: int) -> bytes:
        subject = kind.encode() + b"".join(i.to_bytes(8) for i in ids)
        return hmac.digest(self._key, subject, hashlib.sha256)[:PSEUDONYM_BYTES]
