"""A bot with several shards answers each prompt once, whichever process owns the server."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace

import simcord
from sqlalchemy import select

from bot.app.composition import open_house
from bot.app.sharded_client import ShardedBot, create_sharded_bot
from bot.client import SimpaticoBot
from storage.database.schema import departures, seen_servers
from storage.records import DIRECT_MESSAGES, Shard
from tests.fakes import HashEncoder, ScriptedGenerator
from tests.rig.newest import newest


@asynccontextmanager
async def sharded(settings, ids: tuple[int, ...] = ()):
    """Open a bot with the given ones of two shards in a simulated Discord."""
    generator = ScriptedGenerator()
    with ThreadPoolExecutor(1) as executor:
        parts = {"encoder": HashEncoder(), "generator": generator, "trainer_executor": executor, "seed": 0}
        async with open_house(settings, **parts) as house:
            chosen = replace(settings.bot, shard_count=2, shard_ids=ids)
            bot = create_sharded_bot(chosen, house.parts, 2, spawn=asyncio.create_task, always_sync=True)
            env = simcord.Env(bot, settle_timeout=60.0)
            await env.start()
            try:
                yield env, bot, house
            finally:
                await env.shutdown()


async def rows(house, table) -> set[bytes]:
    return set(await house.store._reader.run(lambda c: c.execute(select(table.c.guild)).scalars().all()))


async def asked(env, bot, shard_id: int) -> tuple[simcord.GuildHandle, str | None]:
    """Ask in a new server of this shard; return it and the answer, if any."""
    guild = env.create_guild(f"server {shard_id}", shard_id=shard_id)
    channel, alice = guild.create_text_channel("general"), guild.add_member(env.create_user("alice"))
    await alice.send(channel, f"<@{bot.me}> hello")
    message = newest(channel)
    return guild, message.content if message.author.id == bot.me else None


async def test_a_prompt_in_each_shard_is_answered_and_a_new_session_loses_no_server(settings):
    async with sharded(settings) as (env, bot, house):
        assert isinstance(bot, ShardedBot)
        for shard_id in range(2):
            guild, answer = await asked(env, bot, shard_id)
            assert answer
            assert bot.owns(guild.id) and Shard.of(guild.id, 2).id == shard_id
            await house.store.departures.record_return(guild.id, 2)
        seen = await rows(house, seen_servers)
        for _ in range(3):
            for shard_id in range(2):
                await bot.get_shard(shard_id).disconnect()
                await bot.get_shard(shard_id).reconnect()
                await env.settle()

        assert len(seen) == 2
        assert (await rows(house, seen_servers), await rows(house, departures)) == (seen, set())


async def test_a_process_with_one_of_two_shards_owns_its_servers_and_shard_0_owns_direct_messages(settings):
    async with sharded(settings, (1,)) as (_env, bot, _house):
        assert [bot.owns(one << 22) for one in range(4)] == [False, True, False, True]
        assert not bot.owns(DIRECT_MESSAGES)
    async with sharded(settings, (0,)) as (_env, bot, _house):
        assert bot.owns(DIRECT_MESSAGES)


async def test_one_shard_is_the_client_with_one_connection(world):
    assert type(world.bot) is SimpaticoBot
    assert world.bot.owns(DIRECT_MESSAGES) and world.bot.owns(world.guild.id)
