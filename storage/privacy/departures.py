"""Departures: servers that the bot left. Their data are deleted a week later unless the bot returns.

The week allows for removals by mistake. An outage of Discord must never delete anything. So only two things
count as a departure: a removal that Discord confirms, and a server missing from the complete list of a new
session. Direct messages are not in that list and are kept. Refusals of consent are kept as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Set
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select, update

from storage.database.backend import Reader
from storage.database.deletion_clock import DeletionClock, redate
from storage.database.notes import note_of, put_note
from storage.database.schema import SERVER_TABLES, MemberStatus, departures, members
from storage.database.writer import Writer
from storage.keys.key_store import KeyStore
from storage.privacy.erasure_jobs import ErasureJobs, Evict
from storage.privacy.erasure_scopes import ErasureScope
from storage.records import ForgetReceipt, Who

GRACE = timedelta(days=7)
SERVERS_NOTE = "servers"
"""Pseudonyms of the servers in the last complete list."""


class Departures:
    """Records which servers the bot left, and erases their data. Reached as ``Store.departures``.

    Args:
        keys: Computes pseudonyms of servers.
        reader: Runs queries of few rows.
        writer: Applies changes.
        erasures: Carries out erasures.
        clock: Dates departures, and judges their age.
    """

    def __init__(
        self,
        keys: KeyStore,
        reader: Reader,
        writer: Writer,
        *,
        erasures: ErasureJobs,
        clock: DeletionClock,
    ) -> None:
        self._keys, self._reader, self._writer = keys, reader, writer
        self._erasures, self._clock = erasures, clock

    async def record(self, guild_id: int) -> None:
        """Record that the bot was removed from a server; its data are deleted after :data:`GRACE`."""
        guild = self._guild(guild_id)
        await self._writer.submit(lambda c: record_departure(c, guild, self._clock.now()))

    async def record_present(self, guild_ids: Iterable[int]) -> None:
        """Record the complete list of the bot's servers, reachable or not; missing servers were left."""
        present = {self._guild(guild_id) for guild_id in guild_ids}
        await self._writer.submit(lambda c: compare_servers(c, present, self._clock.now()))

    async def record_return(self, guild_id: int) -> None:
        """Record that the bot is in this server, again or for the first time."""
        guild = self._guild(guild_id)
        await self._writer.submit(lambda c: cancel_departure(c, guild))

    async def erase_due(self, evict: Evict = lambda _: None) -> ForgetReceipt | None:
        """Delete all data of servers that were left at least :data:`GRACE` ago; None if there are none.

        Args:
            evict: Called with the erased members, so that caches evict them.
        """

        def look(connection: Connection) -> datetime:
            reading = self._clock.look(connection)
            redate(connection, reading, departures, departures.c.left_at)
            return reading.time - GRACE

        before = await self._writer.submit(look)
        if not await self._reader.run(lambda c: departed_before(c, before)):
            return None
        return await self._erasures.run(departure_scope(self._keys, before), evict)

    def _guild(self, guild_id: int) -> bytes:
        return self._keys.pseudonyms.guild(Who(guild_id, 0))


def record_departure(connection: Connection, guild: bytes, at: datetime) -> None:
    """Record that a server was left; the first record counts. Does nothing if no data of it are stored."""
    known = select(departures.c.guild).where(departures.c.guild == guild)
    if connection.execute(known).first() is not None:
        return
    if any(
        connection.execute(select(table.c.guild).where(table.c.guild == guild).limit(1)).first() is not None
        for table in (members, *SERVER_TABLES)
    ):
        connection.execute(insert(departures).values(guild=guild, left_at=at))


def cancel_departure(connection: Connection, guild: bytes) -> None:
    """Delete the record of a departure: the bot is in this server."""
    connection.execute(delete(departures).where(departures.c.guild == guild))


def compare_servers(connection: Connection, present: Set[bytes], at: datetime) -> None:
    """Compare with the last complete list: missing servers were left, present ones are no departures."""
    seen = {bytes.fromhex(guild) for guild in json.loads(note_of(connection, SERVERS_NOTE) or "[]")}
    for guild in sorted(seen - present):
        record_departure(connection, guild, at)
    for guild in connection.execute(select(departures.c.guild)).scalars().all():
        if guild in present:
            cancel_departure(connection, guild)
    if seen != present:
        put_note(connection, SERVERS_NOTE, json.dumps(sorted(guild.hex() for guild in present)))


def departed_before(connection: Connection, before: datetime) -> list[bytes]:
    """Return the servers that were left before this time."""
    left = select(departures.c.guild).where(departures.c.left_at <= before)
    return list(connection.execute(left).scalars())


def departure_scope(keys: KeyStore, before: datetime) -> ErasureScope:
    """Return the scope that erases all members and the server's own data in servers left before this time.

    Refusals are kept.
    """

    def here(connection: Connection) -> ColumnElement[bool]:
        return and_(
            members.c.guild.in_(departed_before(connection, before)),
            members.c.standing != MemberStatus.REFUSED,
        )

    def note(connection: Connection) -> list[bytes]:
        sealed_under = select(members.c.key_id).where(here(connection), members.c.key_id.is_not(None))
        key_ids = sorted(connection.execute(sealed_under).scalars())
        keys.ledger.record(key_ids)
        return key_ids

    def mark(connection: Connection) -> None:
        agreed = and_(here(connection), members.c.standing == MemberStatus.AGREED)
        connection.execute(update(members).where(agreed).values(standing=MemberStatus.FORGETTING))
        left = departed_before(connection, before)
        for table in SERVER_TABLES:
            connection.execute(delete(table).where(table.c.guild.in_(left)))
        connection.execute(delete(departures).where(departures.c.left_at <= before))

    return ErasureScope(note, mark)
