"""The Discord client with several connections (shards), some or all of them in this process.

The number of shards is the same in all processes of a bot; each process opens its own ones. Direct messages
belong to shard 0.
"""

from __future__ import annotations

from typing import Any

from discord.ext import commands

from bot.client import SimpaticoBot, create_bot
from bot.messages.queues import Spawn
from bot.parts import Parts
from bot.proxies import Proxy
from bot.settings import BotSettings
from storage.records import Shard


class ShardedBot(SimpaticoBot, commands.AutoShardedBot):
    """The client with several connections. Each shard begins sessions of its own."""

    async def _before_connecting(self) -> None:
        """Do nothing: each shard waits in :meth:`before_identify_hook`."""

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Wait until this shard may begin a session."""
        await self.identifies.wait(shard_id or 0)

    def owns(self, guild_id: int) -> bool:
        """Return whether a shard of this process gets the events of a server; of direct messages: 0."""
        if self.shard_count is None:
            return True
        shard = Shard.of(guild_id, self.shard_count)
        return self.shard_ids is None or shard.id in self.shard_ids

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
    """Build the bot: with one connection if there is one shard, else with the shards of this process.

    Args:
        settings: Section ``[bot]``.
        parts: The parts of the bot.
        shard_count: Number of shards in all processes together.
        spawn: As for :func:`bot.client.create_bot`.
        always_sync: The same.
        proxy: The same.
    """
    if shard_count == 1:
        return create_bot(settings, parts, spawn=spawn, always_sync=always_sync, proxy=proxy)
    shards = {
        "shard_count": shard_count,
        "shard_ids": list(settings.shard_ids or range(shard_count)),
        "shard_connect_timeout": None,  # a shard may wait for its turn
    }
    return ShardedBot(settings, parts, spawn=spawn, always_sync=always_sync, proxy=proxy, shards=shards)
