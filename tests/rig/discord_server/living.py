"""The real bot in this process, logged in on a small Discord, in a server with a channel and a member."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import discord
import simcord

from bot.app.composition import House, open_house
from bot.client import SimpaticoBot
from bot.config import Settings
from tests.fakes import HashEncoder, ScriptedGenerator
from tests.rig.discord_server.server import DiscordServer, pointed_at
from tests.rig.waiting import until

CALM_S = 0.15
"""Seconds without a post after which nothing more is expected."""


@dataclass
class Living:
    """A bot that is logged in.

    Attributes:
        server: The Discord that it is logged in on.
        bot: The bot.
        house: Its parts.
        generator: Where its candidates come from.
        running: Ends with the bot.
        guild: A server.
        channel: A channel there.
        alice: A member there.
    """

    server: DiscordServer
    bot: SimpaticoBot
    house: House
    generator: ScriptedGenerator
    running: asyncio.Task[None]
    guild: simcord.GuildHandle = field(init=False)
    channel: simcord.ChannelHandle = field(init=False)
    alice: simcord.MemberActor = field(init=False)

    def __post_init__(self) -> None:
        self.guild, self.channel, self.alice = at_home(self.server)

    async def ask(self, text: str = "hello") -> None:
        """Mention the bot, without waiting for its reply."""
        await self.alice.send(self.channel, f"<@{self.bot.me}> {text}")

    def shown(self) -> list[str]:
        """Return all texts in the channel, also those that only one member sees."""
        stored = self.server.world.backend.messages[self.channel.id].values()
        return [f"{one.content} {one.embeds} {one.components}" for one in stored]

    async def posted(self, n: int) -> list[discord.Message]:
        """Wait until the bot has posted ``n`` messages in the channel, and a little longer; return all.

        Raises:
            TimeoutError: It has not.
        """
        await until(lambda: len(self.server.world.posted(self.channel)) >= n, at_most_s=20)
        await asyncio.sleep(CALM_S)
        return self.server.world.posted(self.channel)


def at_home(
    server: DiscordServer, *, shard_id: int = 0
) -> tuple[simcord.GuildHandle, simcord.ChannelHandle, simcord.MemberActor]:
    """Return a new server of a shard, a channel and a member there."""
    guild = server.world.create_guild(shard_id=shard_id)
    member = guild.add_member(server.world.create_user("alice"))
    return guild, guild.create_text_channel("general"), member


@asynccontextmanager
async def living(
    server: DiscordServer,
    settings: Settings,
    *,
    client: type[SimpaticoBot] = SimpaticoBot,
    answers: Sequence[str] = ("Certainly.",),
) -> AsyncIterator[Living]:
    """Log the bot in, and stop it in an orderly way at the end.

    Args:
        server: The Discord.
        settings: All sections.
        client: The bot's class, for a bot with several shards.
        answers: The candidates of each reply.
    """
    generator = ScriptedGenerator(answers)
    with ThreadPoolExecutor(1) as executor, pointed_at(server.url):
        async with open_house(
            settings, encoder=HashEncoder(), generator=generator, trainer_executor=executor, seed=0
        ) as house:
            bot = client(settings.bot, house.parts, spawn=None, always_sync=False, proxy=None)
            bot._connection.guild_ready_timeout = 0.05  # 2 s in production, after the last server
            running = asyncio.create_task(bot.start(server.token))
            here = Living(server, bot, house, generator, running)
            try:
                await until(lambda: bot.is_ready() or running.done(), at_most_s=20)
                yield here
            finally:
                await bot.close()
                await asyncio.gather(running, return_exceptions=True)
