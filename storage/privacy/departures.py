"""Departures: servers that the bot left. Their data are deleted a week later unless the bot returns.

The week allows for removals by mistake. An outage of Discord must never delete anything, and neither must a
process that sees a part of the servers. So only two things count as a departure: a removal that Discord
confirms, and absence from the complete lists of the shards that own the server
(:mod:`storage.privacy.server_lists`). Direct messages are not in a list and are kept. Refusals of consent are
kept as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select, update

from storage.coordination import Coordination
from storage.database.backend import Reader
from storage.database.deletion_clock import DeletionClock, redate
from storage.database.schema import SERVER_TABLES, MemberStatus, departures, members
from storage.database.writer import Writer
from storage.keys.key_store import KeyStore
from storage.privacy.erasure_jobs import ErasureJobs, Evict
from storage.privacy.erasure_scopes import ErasureScope
from storage.privacy.server_lists import (
    Present,
    forget_seen,
    may_be_missing,
    missing_servers,
    record_list,
    record_seen,
)
from storage.records import ForgetReceipt, ServerList, Shard, Who

GRACE = timedelta(days=7)


class Departures:
    """Records which servers the bot left, and erases their data. Reached as ``Store.departures``.

    Args:
        keys: Computes pseudonyms of servers.
        reader: Runs queries of few rows.
        writer: Applies changes.
        erasures: Carries out erasures.
        clock: Dates departures, and judges their age.
        coordination: Knows which shards are ready, in all processes.
    """

    def __init__(
        self,
        keys: KeyStore,
        reader: Reader,
        writer: Writer,
        *,
        erasures: ErasureJobs,
        clock: DeletionClock,
        coordination: Coordination,
    ) -> None:
        self._keys, self._reader, self._writer = keys, reader, writer
        self._erasures, self._clock, self._coordination = erasures, clock, coordination

    async def record(self, guild_id: int) -> None:
        """Record that the bot was removed from a server; its data are deleted after :data:`GRACE`."""
        guild = self._guild(guild_id)
        await self._writer.submit(lambda c: record_departure(c, guild, self._clock.now()))

    async def misses(self, listed: ServerList) -> bool:
        """Return whether a list lacks a server that its shard may own."""
        present = self._present(listed.guild_ids, listed.shard.count)
        return await self._reader.run(lambda c: may_be_missing(c, listed.shard, present))

    async def record_list(self, read: Callable[[], ServerList | None]) -> bool:
        """Record the complete list of a shard; servers that are missing twice were left, if all are ready.

        Args:
            read: Returns the list, without I/O; None: it counts no more. It is read when it is written,
                behind all changes that were recorded before: an older list would undo them.

        Returns:
            Whether there was a list.
        """

        def compare(connection: Connection) -> bool:
            listed = read()
            if listed is None:
                return False
            present = self._present(listed.guild_ids, listed.shard.count)
            record_list(connection, listed.shard, listed.session, present)
            for guild in connection.execute(select(departures.c.guild)).scalars().all():
                if guild in present:
                    cancel_departure(connection, guild)
            if self._coordination.all_ready(connection, listed.shard.count):
                for guild in missing_servers(connection, listed.shard.count):
                    record_departure(connection, guild, self._clock.now())
            return True

        return await self._writer.submit(compare)

    async def record_return(self, guild_id: int, count: int = 1) -> None:
        """Record that the bot is in this server, again or for the first time.

        Args:
            guild_id: Discord id of the server.
            count: Number of shards of the bot.
        """
        present = self._present([guild_id], count)

        def returned(connection: Connection) -> None:
            record_seen(connection, present)
            cancel_departure(connection, self._guild(guild_id))

        await self._writer.submit(returned)

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

    def _present(self, guild_ids: Iterable[int], count: int) -> Present:
        return {self._guild(one): Shard.of(one, count) for one in guild_ids}

    def _guild(self, guild_id: int) -> bytes:
        return self._keys.pseudonyms.guild(Who(guild_id, 0))


def record_departure(connection: Connection, guild: bytes, at: datetime) -> None:
    """Record that a server was left; the first record counts. No record if no data of it are stored."""
    forget_seen(connection, [guild])
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

    def mark(connection: Connection) -> ColumnElement[bool]:
        agreed = and_(here(connection), members.c.standing == MemberStatus.AGREED)
        connection.execute(update(members).where(agreed).values(standing=MemberStatus.FORGETTING))
        left = departed_before(connection, before)
        for table in SERVER_TABLES:
            connection.execute(delete(table).where(table.c.guild.in_(left)))
        connection.execute(delete(departures).where(departures.c.left_at <= before))
        return members.c.guild.in_(left)

    return ErasureScope(note, mark)
