"""FAQ entries: questions with the best answer to each, entered by the managers of a server.

They belong to the server, not to a person; the author of an entry is not stored. Sealed under the system's
key, bound to server, entry and version, and deleted a week after the bot left the server. Reached as
``Store.faq``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import NewType

from sqlalchemy import Connection, delete, func, insert, select, update

from storage.database.backend import Reader
from storage.database.change_numbers import next_number
from storage.database.schema import faq
from storage.database.writer import Writer
from storage.errors import FaqFull, SealBroken, UnknownEntry
from storage.keys.key_store import KeyStore
from storage.keys.sealing import Slot

log = logging.getLogger(__name__)

EntryId = NewType("EntryId", int)

MOST_ENTRIES = 200
"""Maximum number of entries of one server."""
LONGEST_QUESTION = 300
LONGEST_ANSWER = 1800
"""Characters; an answer fits into one message."""


@dataclass(frozen=True, slots=True)
class FaqEntry:
    """A question and the best answer to it."""

    question: str
    answer: str


class FaqEntries:
    """Reads and changes entries. Methods may raise the errors of :class:`storage.store.Store`."""

    def __init__(self, keys: KeyStore, reader: Reader, writer: Writer) -> None:
        self._keys, self._reader, self._writer = keys, reader, writer

    async def versions(self, guild: bytes) -> dict[EntryId, int]:
        """Return a server's entries with their versions, oldest first, without opening them."""
        return await self._reader.run(lambda c: _versions(c, guild))

    async def entries(
        self, guild: bytes, wanted: Collection[EntryId] | None = None
    ) -> dict[EntryId, FaqEntry]:
        """Return a server's entries, or the wanted ones; entries that cannot be opened are left out."""
        return await self._reader.run(lambda c: _entries(c, self._keys, guild, wanted))

    async def add(self, guild: bytes, entry: FaqEntry) -> EntryId:
        """Add an entry.

        Raises:
            FaqFull: The server already has :data:`MOST_ENTRIES`.
            ValueError: A text is blank or too long.
        """
        _require_sizes(entry)
        return await self._writer.submit(lambda c: _add(c, self._keys, guild, entry))

    async def edit(self, guild: bytes, entry_id: EntryId, entry: FaqEntry) -> None:
        """Replace the texts of an entry.

        Raises:
            UnknownEntry: This server has no such entry (any more).
            ValueError: A text is blank or too long.
        """
        _require_sizes(entry)
        await self._writer.submit(lambda c: _edit(c, self._keys, guild, entry_id, entry))

    async def remove(self, guild: bytes, entry_id: EntryId) -> bool:
        """Delete an entry; return whether this server had it."""
        own = delete(faq).where(faq.c.guild == guild, faq.c.entry_id == entry_id)
        return await self._writer.submit(lambda c: c.execute(own).rowcount > 0)


def _slot(guild: bytes, entry_id: int, version: int) -> Slot:
    return Slot("faq", "body", f"{guild.hex()}:{entry_id}", version=version)


def _require_sizes(entry: FaqEntry) -> None:
    for text, longest in ((entry.question, LONGEST_QUESTION), (entry.answer, LONGEST_ANSWER)):
        if not 0 < len(text.strip()) <= longest:
            raise ValueError(f"Expected a text of 1 to {longest} characters, found {len(text.strip())}.")


def _sealed(keys: KeyStore, guild: bytes, entry_id: int, version: int, entry: FaqEntry) -> bytes:
    content = json.dumps([entry.question.strip(), entry.answer.strip()], ensure_ascii=False).encode()
    return keys.system.seal(content, _slot(guild, entry_id, version))


def _versions(connection: Connection, guild: bytes) -> dict[EntryId, int]:
    rows = select(faq.c.entry_id, faq.c.version).where(faq.c.guild == guild).order_by(faq.c.entry_id)
    return {EntryId(entry_id): version for entry_id, version in connection.execute(rows)}


def _entries(
    connection: Connection, keys: KeyStore, guild: bytes, wanted: Collection[EntryId] | None
) -> dict[EntryId, FaqEntry]:
    rows = select(faq).where(faq.c.guild == guild).order_by(faq.c.entry_id)
    if wanted is not None:
        rows = rows.where(faq.c.entry_id.in_(wanted))
    found: dict[EntryId, FaqEntry] = {}
    n_unreadable = 0
    for row in connection.execute(rows).all():
        try:
            body = keys.system.open(row.body, _slot(guild, row.entry_id, row.version))
        except SealBroken:
            n_unreadable += 1
            continue
        found[EntryId(row.entry_id)] = FaqEntry(*json.loads(body))
    if n_unreadable:
        log.warning("entries of /faq left out, because they cannot be opened: %d", n_unreadable)
    return found


def _add(connection: Connection, keys: KeyStore, guild: bytes, entry: FaqEntry) -> EntryId:
    count = select(func.count()).select_from(faq).where(faq.c.guild == guild)
    if connection.execute(count).scalar_one() >= MOST_ENTRIES:
        raise FaqFull
    entry_id = next_number(connection)
    body = _sealed(keys, guild, entry_id, entry_id, entry)
    connection.execute(insert(faq).values(entry_id=entry_id, guild=guild, version=entry_id, body=body))
    return EntryId(entry_id)


def _edit(connection: Connection, keys: KeyStore, guild: bytes, entry_id: EntryId, entry: FaqEntry) -> None:
    version = next_number(connection)
    body = _sealed(keys, guild, entry_id, version, entry)
    own = update(faq).where(faq.c.guild == guild, faq.c.entry_id == entry_id)
    if not connection.execute(own.values(version=version, body=body)).rowcount:
        raise UnknownEntry
