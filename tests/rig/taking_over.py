"""A Discord with two shards, and bots on one database, for tests of shards that change their process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

from sqlalchemy import select

from bot.app.composition import House, open_house
from bot.app.sharded_client import ShardedBot, create_sharded_bot
from bot.config import Settings
from storage.database.schema import departures
from tests.fakes import HashEncoder, ScriptedGenerator
from tests.rig.discord_server import BOT_ID, TOKEN, DiscordServer, IdentifyBudget, discord_server, pointed_at
from tests.rig.discord_server.living import at_home
from tests.rig.size import sized
from tests.rig.waiting import until

AT_MOST_S = float(sized(ci=240, full=60))
"""The shards of a process that died are served again within a minute. In CI the machine may be busy."""


class Running(NamedTuple):
    """A bot that runs in this process, its house, and what stops both in order."""

    bot: ShardedBot
    house: House
    stop: Callable[[], Awaitable[None]]


@dataclass
class Here:
    """A Discord with two shards, a channel in each, and bots on one database.

    Attributes:
        settings: All sections, without shards.
        server: The Discord.
        homes: A server, its channel and a member, of each shard.
        stack: Closes the bots.
    """

    settings: Settings
    server: DiscordServer
    homes: list
    stack: AsyncExitStack

    async def bot(self, ids: tuple[int, ...] | str, count: int = 2) -> Running:
        """Start a bot with these shards in this process."""
        stack = await self.stack.enter_async_context(AsyncExitStack())
        fakes = {"encoder": HashEncoder(), "generator": ScriptedGenerator(), "seed": 0}
        house = await stack.enter_async_context(open_house(self.settings, **fakes))
        bot = create_sharded_bot(replace(self.settings.bot, shard_ids=ids), house.parts, count)
        assert isinstance(bot, ShardedBot)
        running = asyncio.create_task(bot.start(TOKEN))
        stack.push_async_callback(asyncio.wait, [running])
        stack.push_async_callback(bot.close)
        return Running(bot, house, stack.aclose)

    async def ask(self, shard_id: int) -> None:
        """Mention the bot in the server of a shard, without waiting for its reply."""
        _, channel, member = self.homes[shard_id]
        await member.send(channel, f"<@{BOT_ID}> hello")

    def n_answers(self) -> list[int]:
        """Return the number of replies in each shard."""
        return [len(self.server.world.posted(channel)) for _, channel, _ in self.homes]

    async def answered(self, n_answers: list[int], at_most_s: float = AT_MOST_S) -> None:
        """Wait until there are so many replies in each shard, and no more come."""
        await until(lambda: self.n_answers() >= n_answers, at_most_s=at_most_s)
        await asyncio.sleep(0.5)
        assert self.n_answers() == n_answers

    async def n_left(self, house: House) -> int:
        """Return the number of servers that count as left."""
        rows = await house.store._reader.run(lambda c: c.execute(select(departures.c.guild)).all())
        return len(rows)


@asynccontextmanager
async def two_shards(settings: Settings, postgres):
    """Serve a Discord with two shards, and a database, for the duration of the block."""
    name = await postgres.fresh()
    settings = replace(settings, storage=replace(settings.storage, url=postgres.url(name)))
    budget = IdentifyBudget(max_concurrency=2)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(discord_server(shards=2, budget=budget))
        stack.enter_context(pointed_at(server.url))
        homes = [at_home(server, shard_id=shard_id) for shard_id in range(2)]
        yield Here(settings, server, homes, stack)
        assert budget.n_too_soon == 0


async def cut_off(postgres, house: House) -> None:
    """Let the server end the listening connection of a house, and with it its locks."""
    administrator = await postgres.connect()
    pid = house.store.coordination._peers._driver.get_server_pid()
    await administrator.execute("SELECT pg_terminate_backend($1)", pid)
    await administrator.close()
