"""The state of the small Discord: simcord's, on the real clock and without a bot in this process.

:class:`World` is simcord's ``Env`` without its simulated connection. Its builders and actors work as in other
tests (``create_guild``, ``member.send``, ``member.slash``), but an act returns before the bot answers.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from typing import Any

import discord
import simcord
from simcord._clock import Clock
from simcord.backend import Backend, serializers
from simcord.results import to_discord_message

BOT_ID = 123456789012345678
KEPT = 20_000
"""Requests and events that the records of the backend keep; a long run makes millions."""


class RealClock(Clock):
    """The host's clock: snowflakes and time stamps are those of now."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class World(simcord.Env):
    """Servers, channels and members, for bots that connect over sockets.

    Attributes:
        unavailable: Ids of servers in an outage: no events come from them.
    """

    def __init__(self, *, shards: int = 1) -> None:
        """Make an empty world; ``create_guild(shard_id=...)`` draws an id among so many shards."""
        # simcord's results are bound to a client; this one never connects.
        super().__init__(discord.Client(intents=discord.Intents(guilds=True)))
        self.backend = Backend(clock=RealClock())
        me = self.backend.users.pop(self.backend.bot_user.id)
        me.id = self.backend.application_id = self.backend.reserve_id(
            BOT_ID
        )  # one id, as of new applications
        self.backend.users[BOT_ID] = me
        self.backend.transcript = deque(maxlen=KEPT)  # type: ignore[assignment]
        self.backend.http_requests = deque(maxlen=KEPT)  # type: ignore[assignment]
        self._shard_count = shards
        self._message_states.add(self.bot._connection)
        self.unavailable: set[int] = set()

    async def _settle_internal(self, **_: Any) -> None:
        """Return at once: the bot is behind a socket, so nobody can know whether it is done."""

    def lose(self, guild_id: int) -> None:
        """Begin an outage of a server: ``GUILD_DELETE`` with ``unavailable``, then no events of it."""
        self.backend.emit("GUILD_DELETE", {"id": str(guild_id), "unavailable": True})
        self.unavailable.add(guild_id)

    def restore(self, guild_id: int) -> None:
        """End the outage of a server: ``GUILD_CREATE``."""
        self.unavailable.discard(guild_id)
        guild = self.backend.get_guild(guild_id)
        self.backend.emit("GUILD_CREATE", serializers.guild_create_payload(self.backend, guild))

    def posted(self, channel: simcord.ChannelHandle) -> list[discord.Message]:
        """Return what the bot posted in a channel for all to see, oldest first."""
        me = self.backend.bot_user.id
        messages = self.backend.messages[channel.id].values()
        return [to_discord_message(self, m) for m in messages if m.author_id == me and not m.is_ephemeral]
