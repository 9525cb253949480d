"""Which process serves which shard, and which shards are ready, in all processes of a bot.

A process **serves** a shard from before it connects the shard until it ends; no other process takes the shard
meanwhile. A shard is **ready** once its process has received all its servers. On PostgreSQL both are advisory
locks of the listening connection, an exclusive and a shared one. The server releases them when the process or
its connection ends, whatever the clocks say. The connection is back within seconds, ends the old session of
its process, and takes the locks again; a shard that another process took meanwhile is lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from sqlalchemy import Connection, text

from storage.errors import DatabaseFailed
from storage.records.shards import MOST_SHARDS, Shard

log = logging.getLogger(__name__)

READY, SERVED = 0x51A8, 0x51A9
"""First half of the advisory locks of ready and of served shards; the second half is the shard."""
_HELD = (
    "SELECT array_agg(DISTINCT objid::bigint) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    " AND classid = {kind} AND objsubid = 2"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_READY_SHARDS, _SERVED_SHARDS = text(_HELD.format(kind=READY)), _HELD.format(kind=SERVED)

_OWN = (
    "SELECT array_agg(DISTINCT objid::bigint) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    " AND classid = $1::bigint::oid AND objsubid = 2 AND pid = pg_backend_pid()"
)
_TAKEN = (
    "SELECT array_agg(DISTINCT objid::bigint) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    " AND classid = $1::bigint::oid AND objid::bigint = ANY($2::bigint[]) AND objsubid = 2"
    " AND pid <> ALL($3::bigint[])"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
"""Which of these locks sessions have that are not among the given ones."""
_FOR_ALL = "SELECT count({}($1::int, one)) FROM unnest($2::int[]) AS one"
"""Call a function for all these locks in one statement: a process may have a thousand."""
_TRY = "SELECT pg_try_advisory_lock($1, $2)"
_TRY_ALL = (  # one row: the driver fetches no second one
    "SELECT array_agg(one) FROM unnest($2::int[]) AS one WHERE NOT pg_try_advisory_lock($1::int, one)"
)
"""Take these locks; those that were not free."""
# The server gives process ids to new sessions again, so a session is known by its beginning as well.
# A role other than that of the log-in (SET ROLE) may not see the beginning, and then ends no session.
_BEGAN = (
    "SELECT coalesce((extract(epoch FROM backend_start) * 1000000)::bigint, 0) FROM pg_stat_activity"
    " WHERE pid = pg_backend_pid()"
)
_END_SESSION = (
    "SELECT bool_or(backend_start IS NULL OR pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE pid = $1::bigint AND usename = session_user"
    " AND coalesce((extract(epoch FROM backend_start) * 1000000)::bigint, 0) = $2::bigint"
)
GHOST_S = 30.0
"""Seconds after which the server has noticed that a connection is lost (``KEEP_ALIVE``)."""
_TRIES, _TRY_EVERY_S = 20, 0.05

Ask = Callable[..., Awaitable[Any]]
"""Runs a query with numbers, or lists of them, on the listening connection, and returns its one value."""


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
        """Return the shards that other processes or this one serve.

        None: not known at the moment. There is no connection, or an old session of this process has locks.

        Raises:
            DatabaseFailed: The database does not answer.
        """
        ...

    async def ready(self, shard: Shard) -> None:
        """Show that a shard of this process is ready, until :meth:`down` or the end of the process."""
        ...

    async def down(self, shard: Shard) -> None:
        """Show that a shard of this process is not ready."""
        ...

    async def settle(self) -> None:
        """Take locks again that should be held, and release those that should not.

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

    async def settle(self) -> None:
        """Do nothing: no lock is held."""

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
    """The shards of a process that shares its PostgreSQL database.

    What this process wants is in memory, what it holds is asked of the server. Whatever changes either of
    them, :meth:`settle` makes them equal again: after an interruption nothing is known about a statement
    that was under way.
    """

    def __init__(self) -> None:
        self._ready: set[Shard] = set()
        self._served: set[Shard] = set()
        self._ask: Ask | None = None
        self._settling = asyncio.Lock()
        self._sessions: set[tuple[int, int]] = set()
        self._connected_at = 0.0

    async def connect(self, ask: Ask) -> None:
        """Use a new listening connection, and take the locks of before on it.

        The server may not have noticed yet that the old connection is lost, and keeps its locks. So the
        process ends its own old sessions first.

        Raises:
            DatabaseFailed: The database does not answer.
        """
        for pid, began in list(self._sessions):
            try:
                if not await ask(_END_SESSION, pid, began):
                    self._sessions.discard((pid, began))
            except DatabaseFailed as exc:  # not permitted: the locks are free within GHOST_S
                log.info("an old session with the database could not be ended (%s)", exc)
        self._sessions.add((await ask("SELECT pg_backend_pid()"), await ask(_BEGAN)))
        self._connected_at = asyncio.get_running_loop().time()
        self._ask = ask
        await self._settle(ask)

    def disconnect(self) -> None:
        """Note that the connection was lost, with all its locks."""
        self._ask = None

    async def settle(self) -> None:
        """Hold exactly the locks of what this process serves, and of what is ready."""
        if (ask := self._ask) is not None:
            await self._settle(ask)

    async def _settle(self, ask: Ask) -> bool:
        """Make equal what is wanted and what is held; return whether they are, within about a second."""
        async with self._settling:
            for _ in range(_TRIES):  # a lock may be held several times, and the sets may change meanwhile
                served, held = _numbers_of(self._served), set(await ask(_OWN, SERVED) or ())
                ready, shown = _numbers_of(self._ready), set(await ask(_OWN, READY) or ())
                if ask is not self._ask:
                    return False
                if served == held and ready == shown:
                    return True
                await ask(_FOR_ALL.format("pg_advisory_unlock"), SERVED, [*(held - served)])
                await ask(_FOR_ALL.format("pg_advisory_unlock_shared"), READY, [*(shown - ready)])
                await ask(_FOR_ALL.format("pg_advisory_lock_shared"), READY, [*(ready - shown)])
                if served - held and not await self._take_again(ask, sorted(served - held)):
                    await asyncio.sleep(_TRY_EVERY_S)
        return False

    async def _take_again(self, ask: Ask, numbers: list[int]) -> bool:
        """Take the locks of shards that this process serves, unless other processes have them.

        Returns:
            False: old sessions of this process have some, which the server could not end yet.
        """
        missing: list[int] = await ask(_TRY_ALL, SERVED, numbers) or []
        if not missing or ask is not self._ask:
            return True
        waited_s = asyncio.get_running_loop().time() - self._connected_at
        own = [pid for pid, _ in self._sessions] if waited_s < GHOST_S else []
        taken: list[int] = await ask(_TAKEN, SERVED, missing, own) or []
        if ask is self._ask:
            self._served -= {_shard_of(number) for number in taken}
        return set(missing) == set(taken)

    async def serve(self, shard: Shard) -> bool:
        """Take the exclusive lock of a shard, unless another process has it."""
        if shard in self._served:
            return True
        async with self._settling:
            if (ask := self._ask) is None:
                return False
            if (
                await ask(_TRY, SERVED, _number_of(shard)) and ask is self._ask
            ):  # else lost with the connection
                self._served.add(shard)
        return shard in self._served

    def serves(self, shard: Shard) -> bool:
        """Return whether the lock of a shard was taken, and was not found with another process since."""
        return shard in self._served

    async def served(self) -> set[Shard] | None:
        """Return the shards whose exclusive locks are held."""
        if (ask := self._ask) is None:
            return None
        if not await self._settle(ask):
            return None
        return {_shard_of(number) for number in await ask(_SERVED_SHARDS) or ()}

    async def ready(self, shard: Shard) -> None:
        """Hold the shared lock of a shard; a connection that was lost takes it when it is back."""
        if shard not in self._ready:
            self._ready.add(shard)
            await self._try_to_settle()

    async def down(self, shard: Shard) -> None:
        """Release the shared lock of a shard."""
        if shard in self._ready:
            self._ready.discard(shard)
            await self._try_to_settle()

    async def _try_to_settle(self) -> None:
        try:
            await self.settle()
        except DatabaseFailed as exc:  # the next look at the shards, or the next connection, settles it
            log.warning("the locks of shards are not known (%s)", type(exc).__name__)

    def all_ready(self, connection: Connection) -> set[Shard]:
        """Return the shards whose shared locks are held by any process."""
        return {_shard_of(number) for number in connection.execute(_READY_SHARDS).scalar() or ()}


def _numbers_of(shards: set[Shard]) -> set[int]:
    return {_number_of(one) for one in shards}


def _number_of(shard: Shard) -> int:
    return shard.count * MOST_SHARDS + shard.id


def _shard_of(number: int) -> Shard:
    return Shard(number % MOST_SHARDS, number // MOST_SHARDS)
