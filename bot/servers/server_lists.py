"""Server lists: tells the store which servers each session of a shard lists, and what changes.

discord.py keeps servers of earlier sessions in its cache. So the list is taken from READY itself, which
names all servers of the shard, also those that are unavailable. A list counts once its shard is ready,
which is seconds to minutes later. Until it is stored, it follows every departure and every invitation. A
list that lacks servers is compared with Discord's other list, the one over REST: a server counts as missing
only if both lack it. So an empty READY of a bad day says nothing.

Whether a shard is ready does not depend on its list. A list or a change that cannot be recorded is tried
again as long as the session lives.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import aiohttp
import discord

from storage.coordination import Coordination
from storage.errors import StorageError, StoreClosed
from storage.privacy.departures import Departures
from storage.records import ServerList, Shard
from storage.store import Store

log = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 2.0, 300.0
"""Seconds before the second try to record something, doubled after each failure, and the longest wait."""

Spawn = Callable[[Coroutine[Any, Any, None]], object]


class ShardState(StrEnum):
    """State of a shard that this process may serve."""

    READY = "ready"
    CONNECTING = "connecting"
    """It waits for its turn, connects, or lost its connection."""
    ELSEWHERE = "elsewhere"
    """It is left to another process."""


@dataclass(eq=False)
class _Session:
    """A session of a shard.

    Attributes:
        shard: The shard.
        name: Name of the session.
        here: Servers that the bot is in: those of READY, and the changes since.
        left: Servers that it left since READY and did not join again.
        connected: Whether events arrive. Those that were missed are repeated when the session is resumed.
        complete: Whether discord.py has received all servers.
    """

    shard: Shard
    name: str
    here: set[int]
    left: set[int] = field(default_factory=set)
    connected: bool = True
    complete: bool = False

    @property
    def ready(self) -> bool:
        return self.connected and self.complete


class ServerLists:
    """The lists of this process's shards, and the changes of their servers.

    Args:
        departures: Records lists and changes.
        coordination: Shows other processes which shards are ready.
        ask: Returns the ids of all servers of the bot, over REST.
        spawn: Starts a task.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        departures: Departures,
        coordination: Coordination,
        ask: Callable[[], Awaitable[frozenset[int]]],
        *,
        spawn: Spawn,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._departures, self._coordination, self._ask = departures, coordination, ask
        self._spawn, self._sleep = spawn, sleep
        self._sessions: dict[int, _Session] = {}
        self._in_order = asyncio.Lock()
        self._count = 1

    def state_of(self, shard_id: int) -> ShardState:
        """Return the state of a shard that this process serves. No I/O."""
        session = self._sessions.get(shard_id)
        return ShardState.READY if session is not None and session.ready else ShardState.CONNECTING

    # --- what Discord says ---------------------------------------------------------------------------------

    def hear(self, payload: Mapping[str, Any]) -> None:
        """Note a READY: a session begins. No I/O."""
        shard = Shard(*payload.get("shard", (0, 1)))
        here = {int(guild["id"]) for guild in payload["guilds"]}
        self._count = shard.count
        self._sessions[shard.id] = _Session(shard, str(payload["session_id"]), here)

    def hear_here(self, payload: Mapping[str, Any]) -> None:
        """Note a GUILD_CREATE: the bot is in a server, again or for the first time. No I/O."""
        guild_id = int(payload["id"])
        session = self._session_of(guild_id)
        if session is not None and guild_id not in session.here:
            session.here.add(guild_id)
            session.left.discard(guild_id)
            self._record_change(session, guild_id)

    def hear_left(self, payload: Mapping[str, Any]) -> None:
        """Note a GUILD_DELETE: the bot was removed from a server; an outage is no removal. No I/O."""
        guild_id = int(payload["id"])
        session = self._session_of(guild_id)
        if session is not None and not payload.get("unavailable"):
            session.here.discard(guild_id)
            session.left.add(guild_id)
            self._record_change(session, guild_id)

    async def ready(self, shard_id: int) -> None:
        """Note that all servers of a shard came, perhaps in a session that was interrupted meanwhile."""
        session = self._sessions.get(shard_id)
        if session is not None and not session.complete:
            session.complete = True
            await self._show(session)
            self._spawn(self._recorded(session, lambda: self._record_list(session)))

    async def resumed(self, shard_id: int) -> None:
        """Note that the session of a shard goes on."""
        await self._set_connected(shard_id, True)

    async def down(self, shard_id: int) -> None:
        """Note that a shard lost its connection."""
        await self._set_connected(shard_id, False)

    async def lost(self, shard_id: int) -> None:
        """Note that another process serves a shard: its session counts no more."""
        session = self._sessions.pop(shard_id, None)
        if session is not None:
            session.connected = False
            await self._show(session)

    # --- what is stored ------------------------------------------------------------------------------------

    def _session_of(self, guild_id: int) -> _Session | None:
        return self._sessions.get(Shard.of(guild_id, self._count).id)

    async def _set_connected(self, shard_id: int, connected: bool) -> None:
        session = self._sessions.get(shard_id)
        if session is not None:
            session.connected = connected
            await self._show(session)

    async def _show(self, session: _Session) -> None:
        """Show the other processes whether a shard is ready now."""
        async with self._in_order:
            shards, now = self._coordination.shards, self._sessions.get(session.shard.id, session)
            await (shards.ready if now.ready else shards.down)(session.shard)

    def _record_change(self, session: _Session, guild_id: int) -> None:
        async def record() -> bool:
            if guild_id in session.here:  # as it is now: a later change may be recorded already
                await self._departures.record_return(guild_id, session.shard.count)
            else:
                await self._departures.record(guild_id)
            return True

        self._spawn(self._recorded(session, record))

    async def _record_list(self, session: _Session) -> bool:
        """Record the list of a session that is ready; return whether it was."""

        def listed(others: frozenset[int] = frozenset()) -> ServerList | None:
            """Return the list as it is now; None: the session was interrupted, or is over."""
            if not session.ready or not self._is_current(session):
                return None
            own = {one for one in others if Shard.of(one, session.shard.count) == session.shard}
            return ServerList(session.shard, session.name, frozenset(session.here | own - session.left))

        found = listed()
        if found is None:
            return False
        others = await self._ask() if await self._departures.misses(found) else frozenset[int]()
        return await self._departures.record_list(lambda: listed(others))

    async def _recorded(self, session: _Session, record: Callable[[], Awaitable[bool]]) -> None:
        """Record something about a session, again and again until it succeeds or the session is over."""
        wait_s = FIRST_WAIT_S
        while self._is_current(session):
            try:
                if (session.connected or wait_s == FIRST_WAIT_S) and await record():  # known only up to now
                    return
            except StoreClosed:
                return
            except (discord.DiscordException, aiohttp.ClientError, OSError, StorageError) as exc:
                log.warning(
                    "servers of shard %d are not recorded, retrying in %.0f s (%s)",
                    session.shard.id,
                    wait_s,
                    type(exc).__name__,
                )
            await self._sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def _is_current(self, session: _Session) -> bool:
        return self._sessions.get(session.shard.id) is session


def open_server_lists(client: discord.Client, store: Store, spawn: Spawn) -> ServerLists:
    """Return the lists of a client. They hear before discord.py, which drops a part of what it hears.

    Args:
        client: Its parsers of events are wrapped.
        store: Where lists are recorded.
        spawn: Starts a task.
    """

    async def ask() -> frozenset[int]:
        return frozenset([guild.id async for guild in client.fetch_guilds(limit=None, with_counts=False)])

    lists = ServerLists(store.departures, store.coordination, ask, spawn=spawn)
    parsers = client._connection.parsers
    heard = {"READY": lists.hear, "GUILD_CREATE": lists.hear_here, "GUILD_DELETE": lists.hear_left}
    for event, hear in heard.items():
        parsers[event] = _both(hear, parsers[event])
    return lists


def _both(first: Callable[[Any], None], then: Callable[[Any], None]) -> Callable[[Any], None]:
    def parse(payload: Any) -> None:
        first(payload)
        then(payload)

    return parse
