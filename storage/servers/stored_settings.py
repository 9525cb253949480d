"""Settings of a server, set by its managers: one record per server, sealed under a key of the program.

A record has two parts, because two packages read them. ``emoji`` holds the meanings of the server's own
emoji; labels depend on it. ``body`` holds all other settings, a JSON object that only the bot interprets. No
member's id is in it: access lists hold keyed hashes (:meth:`GuildRecords.name_of`). A record is deleted with
the server's data, a week after the bot left (:mod:`storage.privacy.departures`). Reached as
``Store.guild_settings``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from storage.coordination import Coordination
from storage.database.backend import Reader
from storage.database.change_numbers import mark_guild_due, next_number
from storage.database.schema import guild_settings
from storage.database.writer import Writer
from storage.errors import SealBroken
from storage.keys.key_store import KeyStore
from storage.keys.sealing import Slot
from storage.records import Who

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GuildRecord:
    """Settings of one server; empty if nothing was set.

    Attributes:
        body: The bot's settings, as JSON values.
        emoji: Custom emoji, spelt ``:id`` -> its meaning here, -1 (dislike) to 1 (like); 0: no meaning.
    """

    body: Mapping[str, Any] = field(default_factory=dict[str, Any])
    emoji: Mapping[str, float] = field(default_factory=dict[str, float])


Change = Callable[[GuildRecord], GuildRecord]


class GuildRecords:
    """Reads and changes server settings.

    Any call may raise :class:`~storage.errors.DatabaseFailed` or :class:`~storage.errors.SealBroken`, a
    change also :class:`~storage.errors.WriterFull` or :class:`~storage.errors.StoreClosed`.
    """

    def __init__(self, keys: KeyStore, reader: Reader, writer: Writer, coordination: Coordination) -> None:
        self._keys = keys
        self._reader = reader
        self._writer = writer
        self._coordination = coordination

    def name_of(self, who: Who) -> str:
        """Return the keyed hash that identifies a member in their server's settings."""
        return self._keys.pseudonyms.listed(who).hex()

    async def of(self, guild_id: int) -> GuildRecord:
        """Return the settings of a server."""
        guild = self._guild(guild_id)
        return await self._reader.run(lambda c: _read(c, self._keys, guild))

    async def change(self, guild_id: int, change: Change) -> int:
        """Read and change the settings of a server in one transaction, and notify other processes.

        If the meaning of an emoji changes, every member of the server who gave feedback becomes due, because
        their labels may have changed.

        Args:
            guild_id: Discord id of the server.
            change: Maps the old record to the new one; called in the writer, and may raise to change nothing.

        Returns:
            The number of members who became due.
        """
        guild = self._guild(guild_id)

        def unit(connection: Connection) -> int:
            before = _read(connection, self._keys, guild)
            after = change(before)
            if after == before:
                return 0
            connection.execute(delete(guild_settings).where(guild_settings.c.guild == guild))
            if after != GuildRecord():
                _write(connection, self._keys, guild, after)
            self._coordination.notify_settings(connection)
            return mark_guild_due(connection, guild) if after.emoji != before.emoji else 0

        return await self._writer.submit(unit)

    def _guild(self, guild_id: int) -> bytes:
        return self._keys.pseudonyms.guild(Who(guild_id, 0))


def emoji_of_guilds(connection: Connection, keys: KeyStore) -> dict[bytes, dict[str, float]]:
    """Return the meaning of emoji in each server that sets any, by the server's pseudonym.

    Records that cannot be opened are skipped: one server must not block the learning of all.
    """
    found: dict[bytes, dict[str, float]] = {}
    columns = guild_settings.c
    for guild, version, sealed in connection.execute(select(columns.guild, columns.version, columns.emoji)):
        try:
            emoji = json.loads(keys.system.open(sealed, _slot("emoji", guild, version)))
        except SealBroken:
            log.warning("the emoji settings of one server were left out: they cannot be opened")
            continue
        if emoji:
            found[guild] = emoji
    return found


def _read(connection: Connection, keys: KeyStore, guild: bytes) -> GuildRecord:
    row = connection.execute(select(guild_settings).where(guild_settings.c.guild == guild)).first()
    if row is None:
        return GuildRecord()
    body, emoji = (
        json.loads(keys.system.open(sealed, _slot(column, guild, row.version)))
        for column, sealed in (("body", row.body), ("emoji", row.emoji))
    )
    return GuildRecord(body, emoji)


def _write(connection: Connection, keys: KeyStore, guild: bytes, record: GuildRecord) -> None:
    version = next_number(connection)  # never reused, so an older record put back does not open
    sealed = {
        column: keys.system.seal(json.dumps(dict(value)).encode(), _slot(column, guild, version))
        for column, value in (("body", record.body), ("emoji", record.emoji))
    }
    connection.execute(insert(guild_settings).values(guild=guild, version=version, **sealed))


def _slot(column: str, guild: bytes, version: int) -> Slot:
    return Slot("guild_settings", column, row=guild.hex(), version=version)
