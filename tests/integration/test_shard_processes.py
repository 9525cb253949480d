"""Bots with shards over real sockets, on one PostgreSQL database: each prompt is generated once.

Three houses in this process stand for three processes. Two divide the shards; the third has a shard of the
first, as when a process lost its lock and has not noticed yet.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from sqlalchemy import select

from bot.app.composition import open_house
from bot.app.sharded_client import create_sharded_bot
from bot.servers.identify_budget import recommended_shards
from storage.coordination import Coordination
from storage.database.schema import departures, seen_servers
from storage.database.shard_locks import SharedShards
from tests.fakes import HashEncoder, ScriptedGenerator
from tests.rig.discord_server import BOT_ID, TOKEN, IdentifyBudget, discord_server, pointed_at
from tests.rig.waiting import until

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("claimed", [True, False], ids=["claimed", "control"])
async def test_each_prompt_is_generated_once_also_during_a_hand_over_and_no_server_counts_as_left(
    settings, postgres, monkeypatch, claimed
):

    async def always(*_: object) -> bool:
        return True

    monkeypatch.setattr(SharedShards, "serve", always)
    monkeypatch.setattr(SharedShards, "serves", lambda *_: True)
    if not claimed:
        monkeypatch.setattr(Coordination, "claim_prompt", always)
    name = await postgres.fresh()
    settings = replace(settings, storage=replace(settings.storage, url=postgres.url(name)))
    budget = IdentifyBudget(max_concurrency=2)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(discord_server(shards=2, budget=budget))
        stack.enter_context(pointed_at(server.url))
        assert await recommended_shards(TOKEN, None) == 2
        guilds = [server.world.create_guild(f"server {shard_id}", shard_id=shard_id) for shard_id in range(2)]
        channels = [guild.create_text_channel("general") for guild in guilds]
        members = [guild.add_member(server.world.create_user("alice")) for guild in guilds]
        executor = stack.enter_context(ThreadPoolExecutor(1))
        generators, houses = [], []
        for ids in ((0,), (1,), (0,)):
            generators.append(ScriptedGenerator())
            parts = {"encoder": HashEncoder(), "generator": generators[-1], "trainer_executor": executor}
            houses.append(await stack.enter_async_context(open_house(settings, seed=0, **parts)))
            chosen = replace(settings.bot, shard_count=2, shard_ids=ids)
            bot = create_sharded_bot(chosen, houses[-1].parts, 2)
            running = asyncio.create_task(bot.start(TOKEN))
            stack.push_async_callback(asyncio.wait, [running])
            stack.push_async_callback(bot.close)
            await until(bot.is_ready, at_most_s=60)

        for member, channel in zip(members, channels, strict=True):
            await member.send(channel, f"<@{BOT_ID}> hello")
            await until(lambda channel=channel: server.world.posted(channel), at_most_s=60)
        await asyncio.sleep(1.0)

        n_generated = [len(one.contexts) for one in generators]
        assert (n_generated[0] + n_generated[2], n_generated[1]) == (1 if claimed else 2, 1)
        assert [len(server.world.posted(channel)) for channel in channels] == [1, 1]
        assert budget.n_too_soon == 0
        reader = houses[0].store._reader
        seen, left = [
            set(await reader.run(lambda c, table=table: c.execute(select(table.c.guild)).scalars().all()))
            for table in (seen_servers, departures)
        ]
        assert (len(seen), left) == (2, set())
