"""The Discord client with several connections (shards), some or all of them in this process.

The number of shards is the same in all processes of a bot; each process connects the shards that it serves
(:mod:`bot.servers.shard_claims`). Direct messages belong to shard 0. With one shard and a database of its own
the bot has one connection, without claims.

discord.py connects shards one after another and tries each for ever. Here they wait for their turns side by
side, and a first connection that fails ends the program, as with one connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine
from typing import Any, NamedTuple

import aiohttp
import discord
import yarl
from discord.backoff import ExponentialBackoff
from discord.ext import commands
from discord.gateway import DiscordWebSocket, ReconnectWebSocket
from discord.shard import EventItem, EventType
from discord.shard import Shard as Connection

from bot.client import SimpaticoBot, create_bot
from bot.messages.queues import Spawn
from bot.parts import Parts
from bot.proxies import Proxy
from bot.servers.server_lists import ShardState
from bot.servers.shard_claims import ShardClaims
from bot.settings import SPARE, BotSettings
from storage.records import Shard

log = logging.getLogger(__name__)

_FAILURES = (OSError, aiohttp.ClientError, discord.DiscordException, TimeoutError, ReconnectWebSocket)
_CONNECT_S = 60.0


class Link(NamedTuple):
    """State of a shard's connection.

    Attributes:
        ws: The connection of discord.py, perhaps closed; None before the first one.
        is_made: Whether a live task makes a connection, or waits for its turn.
        is_read: Whether a live task reads from ``ws``, or pauses before it asks for another one.
    """

    ws: Any
    is_made: bool
    is_read: bool


class _Socket(DiscordWebSocket):
    """A WebSocket that closes when the task that waits on it is cancelled.

    discord.py leaves it open, with the thread of its heartbeat.
    """

    async def poll_event(self) -> None:
        """Handle the next event."""
        await self._or_close(super().poll_event())

    async def identify(self) -> None:
        """Begin a session."""
        await self._or_close(super().identify())

    async def resume(self) -> None:
        """Continue the session of before."""
        await self._or_close(super().resume())

    async def _or_close(self, step: Coroutine[Any, Any, None]) -> None:
        try:
            await step
        except asyncio.CancelledError:
            await self.close(1000)
            raise


class _Connection(Connection):
    """A connection that resumes its session also after a loss of the network.

    discord.py begins a new one there. The connection waits for its turn in a task of its own, so that it
    holds up no other shard. The task ends when the connection is closed, and a connection whose shard this
    process lost starts none: another process serves the shard.
    """

    _client: ShardedBot  # type: ignore[reportIncompatibleVariableOverride]
    _connecting: asyncio.Task[None] | None = None

    async def reidentify(self, exc: ReconnectWebSocket) -> None:
        """Connect again, and resume or begin a session."""
        if not self._client.is_connection(self):
            return
        self._stop_connecting()
        self._cancel_task()
        self._dispatch("disconnect")
        self._dispatch("shard_disconnect", self.id)
        self._connecting = self._client.tasks.spawn(self._connect_again(exc), name="shard")
        self._connecting.add_done_callback(self._end_after_a_bug)

    async def reconnect(self) -> None:
        """Connect again after a failure."""
        await self.reidentify(ReconnectWebSocket(self.id, resume=self.ws.session_id is not None))

    @property
    def link(self) -> Link:
        """State of this connection."""
        return Link(self.ws, is_made=_runs(self._connecting), is_read=_runs(self._task))

    async def close(self) -> None:
        """Disconnect, and do not connect again."""
        self._stop_connecting()
        await super().close()

    def _stop_connecting(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()

    async def _connect_again(self, exc: ReconnectWebSocket) -> None:
        claims = self._client.claims
        if not await (claims.keeps(self.id) if exc.resume else self._client.has_turn(self.id)):
            return  # the shard is lost in a moment
        how: dict[str, Any] = {}
        if exc.resume:
            how = {"resume": True, "gateway": self.ws.gateway}
            how |= {"session": self.ws.session_id, "sequence": self.ws.sequence}
        try:
            self.ws = await _opened(self._client, self.id, **how)
        except ReconnectWebSocket as again:
            self._queue_put(EventItem(EventType.resume if again.resume else EventType.identify, self, again))
        except self._handled_exceptions as failure:
            await self._handle_disconnect(failure)  # waits, and asks for another try
        else:
            self.launch()

    def _end_after_a_bug(self, connecting: asyncio.Task[None]) -> None:
        """End the program, as discord.py does: no try will follow."""
        if not connecting.cancelled() and isinstance(exc := connecting.exception(), Exception):
            self._queue_put(EventItem(EventType.terminate, self, exc))


async def _opened(client: ShardedBot, shard_id: int, **how: Any) -> DiscordWebSocket:
    """Connect a shard within :data:`_CONNECT_S`, and send IDENTIFY or RESUME.

    Raises:
        Exception: One of ``_FAILURES``.
    """
    async with asyncio.timeout(_CONNECT_S):
        return await _Socket.from_client(client, shard_id=shard_id, **how)


def _runs(task: asyncio.Task[None] | None) -> bool:
    return task is not None and not task.done()


class ShardedBot(SimpaticoBot, commands.AutoShardedBot):
    """The client with several connections. Each shard begins sessions of its own."""

    _AutoShardedClient__shards: dict[int, _Connection]
    _AutoShardedClient__queue: asyncio.PriorityQueue[EventItem]

    def __init__(self, settings: BotSettings, parts: Parts, **options: Any) -> None:
        super().__init__(settings, parts, **options)
        assert self.shard_count is not None and self.shard_ids is not None, "given by create_sharded_bot"
        wanted = [Shard(one, self.shard_count) for one in self.shard_ids]
        spare = settings.shard_ids == SPARE
        self.claims = ShardClaims(self.store.coordination, wanted, spare=spare)
        self._launches: dict[int, asyncio.Task[None]] = {}
        self._served: list[int] = []
        self._claiming: asyncio.Task[None] | None = None

    # --- connecting ----------------------------------------------------------------------------------------

    async def _before_connecting(self) -> None:
        """Do nothing: each shard waits for itself."""

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Do nothing: a shard waits before it connects."""

    async def launch_shards(self) -> None:
        """Connect each shard once this process serves it. Returns at once."""
        self._connection.shard_count = self.shard_count
        self._connection.shard_ids = self._served
        self._claiming = self.tasks.spawn(self.claims.run(self._win, self._lose), name="shards")

    async def launch_shard(self, gateway: yarl.URL, shard_id: int, *, initial: bool = False) -> None:
        """Connect a shard for the first time.

        Raises:
            Exception: One of ``_FAILURES``: no shard was connected since the start.
        """
        backoff = ExponentialBackoff()
        while not self.is_closed() and await self.has_turn(shard_id):
            try:
                ws = await _opened(self, shard_id, gateway=gateway)
            except _FAILURES as exc:
                if not (self.shards or self.claims.waited):
                    raise
                wait_s = backoff.delay()
                log.warning("shard %d is not connected, retrying in %.0f s (%s)", shard_id, wait_s, exc)
                await asyncio.sleep(wait_s)
            else:
                one = _Connection(ws, self, self._AutoShardedClient__queue.put_nowait)
                self._AutoShardedClient__shards[shard_id] = one
                one.launch()
                return

    async def has_turn(self, shard_id: int) -> bool:
        """Wait until a shard may begin a session; False: another process serves the shard."""
        return await self.claims.keeps_until(lambda: self.identifies.wait(shard_id), shard_id)

    def _win(self, shard: Shard) -> None:
        self._served.append(shard.id)
        self._launches[shard.id] = self.tasks.spawn(self._launch(shard.id), name="shard")

    async def _launch(self, shard_id: int) -> None:
        try:
            await self.launch_shard(DiscordWebSocket.DEFAULT_GATEWAY, shard_id)
        except _FAILURES as exc:
            self._AutoShardedClient__queue.put_nowait(EventItem(EventType.terminate, None, exc))

    def _lose(self, shard: Shard) -> None:
        """Disconnect a shard that another process serves."""
        self._served.remove(shard.id)
        self._launches.pop(shard.id).cancel()
        one = self._AutoShardedClient__shards.pop(shard.id, None)
        if one is not None:
            self.tasks.spawn(one.close(), name="shard")
        self.tasks.spawn(self.server_lists.lost(shard.id), name="shard")

    def is_connection(self, one: Connection) -> bool:
        """Return whether this is the connection of a shard that this process serves."""
        return self._AutoShardedClient__shards.get(one.id) is one

    # --- what belongs to this process ----------------------------------------------------------------------

    @property
    def is_spare(self) -> bool:
        """Whether this process connects no shard at the moment, because others serve all it may serve."""
        return self.claims.waited and not self._served

    @property
    def is_claiming(self) -> bool:
        """Whether this process looks for shards that it may serve. It begins after the login."""
        return self._claiming is None or _runs(self._claiming)

    def is_ready(self) -> bool:
        """Return whether all servers of each shard came, and its connection was not lost since. No I/O.

        discord.py compares the number of shards only when a READY comes, and forgets no shard.
        """
        ready = (self.server_lists.state_of(one) is ShardState.READY for one in self._served)
        return bool(self._served) and all(ready)

    def links(self) -> list[Link]:
        """Return the connection of each shard that this process serves. No I/O."""
        made = {id_: one.link for id_, one in self._AutoShardedClient__shards.items()}
        return [made.get(id_) or Link(None, _runs(self._launches[id_]), False) for id_ in self._served]

    def shard_states(self) -> Counter[ShardState]:
        """Count the shards that this process may serve, by state."""
        states = Counter(self.server_lists.state_of(one) for one in self._served)
        states[ShardState.ELSEWHERE] = len(self.claims.waiting)
        return states

    def owns(self, guild_id: int) -> bool:
        """Return whether a shard of this process gets the events of a server; of direct messages: 0."""
        return self.shard_count is not None and Shard.of(guild_id, self.shard_count).id in self.shards

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        """Pass events on; what the listeners do in a new session, they do in that of each shard.

        discord.py tells that all shards are ready at the start only.
        """
        if event != "ready":
            super().dispatch(event, *args, **kwargs)
        if event == "shard_ready":
            super().dispatch("ready")

    async def on_ready(self) -> None:
        """Read back what was missed: a shard began a new session."""
        self._read_back()

    async def on_shard_ready(self, shard_id: int) -> None:
        """Record the servers of a shard."""
        await self.server_lists.ready(shard_id)

    async def on_resumed(self) -> None:
        """Do nothing: discord.py tells the shard as well."""

    async def on_disconnect(self) -> None:
        """Do nothing: discord.py tells the shard as well."""

    async def on_shard_resumed(self, shard_id: int) -> None:
        """Note that a shard missed no event."""
        await self.server_lists.resumed(shard_id)

    async def on_shard_disconnect(self, shard_id: int) -> None:
        """Note that the connection of a shard was lost."""
        await self.server_lists.down(shard_id)


def create_sharded_bot(
    settings: BotSettings,
    parts: Parts,
    shard_count: int,
    *,
    spawn: Spawn | None = None,
    always_sync: bool = False,
    proxy: Proxy | None = None,
) -> SimpaticoBot:
    """Build the bot, with the shards that this process may serve.

    Args:
        settings: Section ``[bot]``.
        parts: The parts of the bot.
        shard_count: Number of shards in all processes together.
        spawn: As for :func:`bot.client.create_bot`.
        always_sync: The same.
        proxy: The same.
    """
    if shard_count == 1 and not parts.store.coordination.shared:
        return create_bot(settings, parts, spawn=spawn, always_sync=always_sync, proxy=proxy)
    ids = () if settings.shard_ids == SPARE else settings.shard_ids
    shards = {"shard_count": shard_count, "shard_ids": list(ids or range(shard_count))}
    return ShardedBot(settings, parts, spawn=spawn, always_sync=always_sync, proxy=proxy, shards=shards)
