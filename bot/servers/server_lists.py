"""Server lists: tells the store which servers a shard lists at the beginning of each session.

discord.py keeps servers of earlier sessions in its cache. So the list is taken from READY itself, which names
all servers of the shard, also those that are unavailable. It counts once the shard is ready, and not if the
session was interrupted before. A list that lacks servers is compared with Discord's other list, the one over
REST: a server counts as missing only if both lack it. So an empty READY of a bad day says nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

import aiohttp
import discord

from storage.coordination import Coordination
from storage.privacy.departures import Departures
from storage.records import ServerList, Shard
from storage.store import Store

log = logging.getLogger(__name__)


class ShardState(StrEnum):
    """State of a shard that this process may serve."""

    READY = "ready"
    CONNECTING = "connecting"
    """It waits for its turn, connects, or lost its connection."""
    ELSEWHERE = "elsewhere"
    """It is left to another process."""


class ServerLists:
    """The lists of this process's shards.

    Args:
        departures: Records lists.
        coordination: Shows other processes which shards are ready.
        ask: Returns the ids of all servers of the bot, over REST.
    """

    def __init__(
        self,
        departures: Departures,
        coordination: Coordination,
        ask: Callable[[], Awaitable[frozenset[int]]],
    ) -> None:
        self._departures, self._coordination, self._ask = departures, coordination, ask
        self._waiting: dict[int, ServerList] = {}
        self._recorded: set[int] = set()
        self._ready: set[int] = set()
        self._in_order = asyncio.Lock()
        self.count = 1
        """Number of shards of the bot, by the latest READY."""

    def state_of(self, shard_id: int) -> ShardState:
        """Return the state of a shard that this process serves. No I/O."""
        return ShardState.READY if shard_id in self._ready else ShardState.CONNECTING

    def hear(self, payload: Mapping[str, Any]) -> None:
        """Keep the list of a READY until its shard is ready. No I/O."""
        shard = Shard(*payload.get("shard", (0, 1)))
        guild_ids = frozenset(int(guild["id"]) for guild in payload["guilds"])
        self.count = shard.count
        self._recorded.discard(shard.id)
        self._waiting[shard.id] = ServerList(shard, str(payload["session_id"]), guild_ids)

    async def ready(self, shard_id: int) -> None:
        """Record the list of a shard that is ready, unless its session was interrupted.

        Raises:
            StorageError: The list cannot be recorded.
        """
        async with self._in_order:
            listed = self._waiting.get(shard_id)
            if listed is None:
                return
            try:
                complete = await self._compared(listed)
            except (discord.HTTPException, aiohttp.ClientError, OSError) as exc:
                log.warning("the list of shard %d is left out (%s)", shard_id, type(exc).__name__)
                return
            if self._waiting.get(shard_id) is not listed:
                return  # interrupted meanwhile
            del self._waiting[shard_id]
            self._recorded.add(shard_id)
            self._ready.add(shard_id)
            await self._coordination.shards.ready(listed.shard)
            await self._departures.record_list(complete)

    async def resumed(self, shard_id: int) -> None:
        """Note that a shard is ready again, in the session whose list was recorded.

        Raises:
            StorageError: The database cannot be reached.
        """
        async with self._in_order:
            if shard_id in self._recorded:
                self._ready.add(shard_id)
                await self._coordination.shards.ready(Shard(shard_id, self.count))

    async def down(self, shard_id: int) -> None:
        """Note that a shard lost its connection; a list that was not recorded yet does not count.

        Raises:
            StorageError: The database cannot be reached.
        """
        self._waiting.pop(shard_id, None)
        self._ready.discard(shard_id)
        async with self._in_order:
            await self._coordination.shards.down(Shard(shard_id, self.count))

    async def _compared(self, listed: ServerList) -> ServerList:
        """Return the list, with the servers that only Discord's other list names."""
        if not await self._departures.misses(listed):
            return listed
        return replace(listed, guild_ids=listed.guild_ids | await self._ask())


def open_server_lists(client: discord.Client, store: Store) -> ServerLists:
    """Return the lists of a client. They hear each READY first: no event of discord.py has its list."""

    async def ask() -> frozenset[int]:
        return frozenset([guild.id async for guild in client.fetch_guilds(limit=None, with_counts=False)])

    lists = ServerLists(store.departures, store.coordination, ask)
    parsers = client._connection.parsers
    parse_ready = parsers["READY"]

    def heard(payload: Any) -> None:
        lists.hear(payload)
        parse_ready(payload)

    parsers["READY"] = heard
    return lists
