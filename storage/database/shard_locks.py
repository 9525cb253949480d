"""Which process serves which shard, and which shards are ready, in all processes of a bot.

A process **serves** a shard from before it connects the shard until it ends; no other process takes the shard
meanwhile. A shard is **ready** once its process has received all its servers. On PostgreSQL both are advisory
locks of the listening connection, an exclusive and a shared one. The server releases them when the process or
its connection ends, whatever the clocks say. The connection is back within seconds and takes them again; a
shard that another process took meanwhile is lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from sqlalchemy import Connection, text

from storage.records.shards import MOST_SHARDS, Shard

READY, SERVED = 0x51A8, 0x51A9
"""First half of the advisory locks of ready and of served shards; the second half is the shard."""
_HELD = (
    "SELECT array_agg(DISTINCT objid::bigint) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    " AND classid = {kind} AND objsubid = 2"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_READY_SHARDS, _SERVED_SHARDS = text(_HELD.format(kind=READY)), _HELD.format(kind=SERVED)

Ask = Callable[..., Awaitable[Any]]
"""Runs a query with numbers on the listening connection, and returns its one value."""


class ShardLocks(Protocol):
    """The shards of this process and of the others."""

    async def serve(self, shard: Shard) -> bool:
        """Serve a shard; False if another process does, or the database cannot be reached.

        Raises:
            DatabaseFailed: The database does not answer.
        """
        ...

    def serves(self, shard: Shard) -> bool:
        """Return whether this process serves a shard and has not lost it. No I/O."""
        ...

    async def served(self) -> set[Shard] | None:
        """Return the shards that other processes or this one serve; None: no connection at the moment.

        Raises:
            DatabaseFailed: The database does not answer.
        """
        ...

    async def ready(self, shard: Shard) -> None:
        """Show that a shard of this process is ready, until :meth:`down` or the end of the process.

        Raises:
            DatabaseFailed: The database does not answer.
        """
        ...

    async def down(self, shard: Shard) -> None:
        """Show that a shard of this process is not ready.

        Raises:
            DatabaseFailed: The database does not answer.
        """
        ...

    def all_ready(self, connection: Connection) -> set[Shard]:
        """Return the shards that are ready in any process. In the writer."""
        ...


class OwnShards:
    """The shards of a process that has its database alone."""

    def __init__(self) -> None:
        self._ready: set[Shard] = set()

    async def serve(self, shard: Shard) -> bool:
        """Return True: there is no other process."""
        return True

    def serves(self, shard: Shard) -> bool:
        """Return True: no other process can take a shard."""
        return True

    async def served(self) -> set[Shard] | None:
        """Return no shard: no other process serves one."""
        return set()

    async def ready(self, shard: Shard) -> None:
        """Note that a shard is ready."""
        self._ready.add(shard)

    async def down(self, shard: Shard) -> None:
        """Note that a shard is not ready."""
        self._ready.discard(shard)

    def all_ready(self, connection: Connection) -> set[Shard]:
        """Return the shards of this process that are ready."""
        return set(self._ready)


class SharedShards:
    """The shards of a process that shares its PostgreSQL database."""

    def __init__(self) -> None:
        self._ready: set[Shard] = set()
        self._served: set[Shard] = set()
        self._ask: Ask | None = None

    async def connect(self, ask: Ask) -> None:
        """Use a new listening connection, and take the locks of before on it.

        Raises:
            DatabaseFailed: The database does not answer.
        """
        for shard in sorted(self._served, key=_number_of):
            if not await ask("SELECT pg_try_advisory_lock($1, $2)", SERVED, _number_of(shard)):
                self._served.discard(shard)
        for shard in sorted(self._ready, key=_number_of):
            await ask("SELECT pg_advisory_lock_shared($1, $2)", READY, _number_of(shard))
        self._ask = ask

    def disconnect(self) -> None:
        """Note that the connection was lost, with all its locks."""
        self._ask = None

    async def serve(self, shard: Shard) -> bool:
        """Take the exclusive lock of a shard, unless another process has it."""
        if shard in self._served:
            return True
        if (ask := self._ask) is None:
            return False
        taken = await ask("SELECT pg_try_advisory_lock($1, $2)", SERVED, _number_of(shard))
        if taken and ask is self._ask:  # else the lock was lost with the connection
            self._served.add(shard)
        return shard in self._served

    def serves(self, shard: Shard) -> bool:
        """Return whether the lock of a shard was taken, and taken again after each loss."""
        return shard in self._served

    async def served(self) -> set[Shard] | None:
        """Return the shards whose exclusive locks are held."""
        return None if self._ask is None else {_shard_of(n) for n in await self._ask(_SERVED_SHARDS) or ()}

    async def ready(self, shard: Shard) -> None:
        """Hold the shared lock of a shard; a connection that was lost takes it when it is back."""
        if shard not in self._ready:
            self._ready.add(shard)
            if self._ask is not None:
                await self._ask("SELECT pg_advisory_lock_shared($1, $2)", READY, _number_of(shard))

    async def down(self, shard: Shard) -> None:
        """Release the shared lock of a shard."""
        if shard in self._ready:
            self._ready.discard(shard)
            if self._ask is not None:
                await self._ask("SELECT pg_advisory_unlock_shared($1, $2)", READY, _number_of(shard))

    def all_ready(self, connection: Connection) -> set[Shard]:
        """Return the shards whose shared locks are held by any process."""
        return {_shard_of(number) for number in connection.execute(_READY_SHARDS).scalar() or ()}


def _number_of(shard: Shard) -> int:
    return shard.count * MOST_SHARDS + shard.id


def _shard_of(number: int) -> Shard:
    return Shard(number % MOST_SHARDS, number // MOST_SHARDS)
