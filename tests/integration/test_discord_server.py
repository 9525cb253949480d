"""The real bot on a small Discord over real sockets: it logs in, replies, learns, and survives its faults."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager

import discord
import pytest

from bot.client import SimpaticoBot
from storage.records import Who
from tests.rig.discord_server import BOT_ID, TOKEN, IdentifyBudget, Limits, Rate, discord_server, pointed_at
from tests.rig.discord_server.bot_process import bot_process
from tests.rig.discord_server.living import Living, at_home, living
from tests.rig.waiting import until


class ShardedBot(SimpaticoBot, discord.AutoShardedClient):
    """The bot with all shards that Discord recommends."""


@asynccontextmanager
async def open_discord(**options):
    """Serve a Discord that binds no single route, starts sessions at once, and refuses without a pause."""
    options = {"limits": Limits(routes={}), "budget": IdentifyBudget(interval_s=0.0)} | options
    async with discord_server(**options) as server:
        server.gateway.patience_s = 0.01
        yield server


@pytest.fixture
async def here(settings):
    async with open_discord() as server, living(server, settings) as living_:
        yield living_


async def reactions_of(here: Living) -> list[tuple[str, ...]]:
    """Return Alice's stored reactions, for each reply."""
    member_id = here.house.store.member_id(Who(here.guild.id, here.alice.id))
    rows = (await here.house.store.learning.feedback_of([member_id])).get(member_id, [])
    return [row.reactions for row in rows]


async def stored(here: Living, reactions: list[tuple[str, ...]]) -> None:
    """Wait until Alice's stored reactions are these."""
    async with asyncio.timeout(20):
        while await reactions_of(here) != reactions:
            await asyncio.sleep(0.01)


async def agree(here: Living) -> None:
    """Consent through ``/privacy``: a slash command, then a button."""
    shown = await here.alice.slash(here.channel, "privacy")
    await until(lambda: shown.response and shown.response.components, at_most_s=20)
    await here.alice.click(shown.response, label="Learn what I like")
    async with asyncio.timeout(20):
        while not await here.house.store.consent.count():
            await asyncio.sleep(0.01)


async def test_it_logs_in_replies_once_and_a_reaction_becomes_a_label(here):
    await agree(here)
    await here.ask()
    replies = await here.posted(1)

    await here.alice.react(replies[0], "👍")
    await stored(here, [("👍",)])
    await here.alice.unreact(replies[0], "👍")
    await stored(here, [])

    assert [one.content for one in replies] == ["Certainly."]
    assert len(here.generator.contexts) == 1
    assert here.server.gateway.counted[2] == 1
    assert here.server.rest.n_invalid == 0


async def test_a_slash_command_a_button_and_a_form_are_answered(here):
    shown = await here.alice.slash(here.channel, "style")
    await until(lambda: shown.response and shown.response.components, at_most_s=20)
    pressed = await here.alice.click(shown.response, custom_id="simpatico:style:words")
    await until(lambda: pressed.modal, at_most_s=20)
    await here.alice.submit_modal(pressed, {"words": "as a pirate"})

    await until(lambda: any("as a pirate" in text for text in here.shown()), at_most_s=20)
    assert shown.ephemeral


async def test_a_file_arrives_whole(here):
    await agree(here)
    world = here.server.world
    messages = world.backend.messages[here.channel.id]

    await here.alice.slash(here.channel, "my-data")
    await until(lambda: any(one.attachments for one in messages.values()), at_most_s=20)

    (file,) = next(one.attachments for one in messages.values() if one.attachments)
    assert json.loads(world.backend.cdn.get(file["url"]))["servers"]


async def test_a_direct_message_is_answered(here):
    user = here.alice.user

    await user.send_dm("hello")

    backend = here.server.world.backend
    messages = backend.messages[backend.dm_channels[user.id]]
    await until(lambda: any(m.author_id == here.bot.me for m in messages.values()), at_most_s=20)
    assert len(here.generator.contexts) == 1


@pytest.mark.parametrize("lost", ["drop", "reconnect", "invalid but resumable"])
async def test_a_resume_loses_nothing_and_doubles_nothing(here, lost):
    """Events of the outage come late, and those before it a second time."""
    gateway = here.server.gateway
    await agree(here)
    (session,) = gateway.sessions.values()
    before = session.sequence
    await here.ask("first")
    replies = await here.posted(1)
    gateway.n_again = session.sequence - before

    match lost:
        case "drop":
            gateway.down = True
            gateway.drop()
        case "reconnect":
            gateway.reconnect()
        case _:
            gateway.invalidate(resumable=True)
    await here.ask("second")
    await here.alice.react(replies[0], "👍")
    gateway.down = False
    await until(lambda: gateway.counted["resumed"] == 1, at_most_s=20)

    assert len(await here.posted(2)) == 2
    await stored(here, [("👍",)])
    assert len(here.generator.contexts) == 2
    assert gateway.counted[2] == 1


async def test_a_session_that_is_not_valid_starts_anew_and_what_was_missed_is_read_back(here):
    gateway = here.server.gateway
    await agree(here)
    await here.ask()
    replies = await here.posted(1)

    gateway.down = True
    gateway.invalidate()
    await until(lambda: not gateway.connections, at_most_s=20)
    await here.alice.react(replies[0], "👍")
    gateway.down = False

    await stored(here, [("👍",)])
    await here.ask("again")
    assert len(await here.posted(2)) == 2
    assert (gateway.counted[2], gateway.counted["resumed"]) == (2, 0)


@pytest.mark.parametrize("everywhere", [False, True])
async def test_a_request_that_came_too_early_waits_as_long_as_discord_asks(here, everywhere):
    here.server.faults.add(
        "POST", "/channels/*/messages", status=429, retry_after_s=0.4, everywhere=everywhere
    )
    before = time.monotonic()
    await here.ask()

    assert len(await here.posted(1)) == 1
    assert time.monotonic() - before >= 0.4
    assert here.server.rest.n_invalid == 1


async def test_a_reply_whose_answer_was_lost_is_posted_once(here):
    here.server.faults.add("POST", "/channels/*/messages", lost=True)
    await here.ask()
    assert len(await here.posted(1)) == 1

    await here.ask("again")
    assert len(await here.posted(2)) == 2


async def test_an_outage_of_a_server_is_no_departure_and_a_removal_is(here):
    world, left = here.server.world, []
    record = here.house.store.departures.record
    other, _, _ = at_home(here.server)
    await until(lambda: here.bot.get_guild(other.id), at_most_s=20)
    here.house.store.departures.record = lambda guild_id: left.append(guild_id) or record(guild_id)

    world.lose(here.guild.id)
    world.backend.remove_guild(other.id)
    await until(lambda: here.bot.get_guild(other.id) is None, at_most_s=20)
    world.restore(here.guild.id)
    await here.ask()

    assert len(await here.posted(1)) == 1
    assert left == [other.id]


async def test_a_closed_bot_ignores_that_it_is_ready(here, monkeypatch):
    """discord.py says so two seconds after READY, when the store may be closed."""
    came: list[int] = []

    async def ready(shard_id: int) -> None:
        came.append(shard_id)

    monkeypatch.setattr(here.bot.server_lists, "ready", ready)
    here.bot.dispatch("ready")
    await until(lambda: came, at_most_s=20)
    await here.bot.close()
    here.bot.dispatch("ready")
    await asyncio.sleep(0.05)

    assert came == [0]


async def test_two_shards_of_one_process_share_the_servers(settings):
    async with open_discord(shards=2) as server:
        async with living(server, settings, client=ShardedBot) as here:
            homes = [at_home(server, shard_id=number) for number in (0, 1)]
            for _, channel, member in homes:
                await member.send(channel, f"<@{here.bot.me}> hello")
            for _, channel, _ in homes:
                await until(lambda at=channel: server.world.posted(at), at_most_s=20)
            await asyncio.sleep(0.1)

            assert [len(server.world.posted(channel)) for _, channel, _ in homes] == [1, 1]
            assert {guild.shard_id for guild in here.bot.guilds if guild.id == homes[1][0].id} == {1}
            assert sorted(shard for _, shard in server.budget.started) == [0, 1]
            assert len(here.generator.contexts) == 2


async def test_the_token_is_reset_when_the_sessions_of_a_day_are_used_up(settings, monkeypatch):
    """The bot would wait instead; here it does not."""

    async def at_once(*_: object, **__: object) -> None:
        return

    monkeypatch.setattr(SimpaticoBot, "before_identify_hook", at_once)
    async with open_discord(budget=IdentifyBudget(interval_s=0.0, total=1)) as server:
        async with living(server, settings) as here:
            server.gateway.invalidate()
            await until(here.running.done, at_most_s=20)
            why = here.running.exception()

    assert isinstance(why, discord.ConnectionClosed)
    assert (why.code, server.n_resets) == (4004, 1)


async def started_together(max_concurrency: int, n_shards: int = 2) -> IdentifyBudget:
    """Start a client for each shard at the same time; return the budget once all are ready."""
    budget = IdentifyBudget(max_concurrency=max_concurrency, interval_s=0.3)
    async with open_discord(budget=budget) as server:
        with pointed_at(server.url):
            clients = [
                discord.Client(
                    intents=discord.Intents(guilds=True),
                    shard_id=number,
                    shard_count=n_shards,
                    guild_ready_timeout=0.01,
                )
                for number in range(n_shards)
            ]
            running = [asyncio.create_task(one.start(server.token)) for one in clients]
            await until(lambda: all(one.is_ready() for one in clients), at_most_s=20)
            for one in clients:
                await one.close()
            await asyncio.gather(*running)
    return budget


async def test_sessions_that_start_faster_than_allowed_are_refused_and_counted():
    budget = await started_together(max_concurrency=1)

    (first, _), (second, _) = budget.started
    assert budget.n_too_soon >= 1
    assert budget.n_used == 2 + budget.n_too_soon
    assert second - first >= 0.3


async def test_control_a_bucket_for_each_shard_refuses_none():
    budget = await started_together(max_concurrency=2)

    assert (budget.n_used, budget.n_too_soon) == (2, 0)


async def test_a_process_of_its_own_replies_and_stops_in_an_orderly_way(tmp_path):
    config = tmp_path / "config.toml"
    config.write_text('[storage]\ndata_dir = "data"\nkey_dir = "keys"\n')
    async with open_discord() as server:
        _, channel, alice = at_home(server)
        async with bot_process(server, config) as process:
            await until(lambda: server.gateway.sessions, at_most_s=120)
            await alice.send(channel, f"<@{BOT_ID}> hello")
            await until(lambda: server.world.posted(channel), at_most_s=120)
            process.terminate()
            code = await asyncio.wait_for(process.wait(), 60)

    assert (code, len(server.world.posted(channel)), server.budget.n_used) == (0, 1, 1)


@asynccontextmanager
async def logged_in(server):
    """Yield discord.py's HTTP client, logged in, and a channel."""
    _, channel, _ = at_home(server)
    client = discord.Client(intents=discord.Intents(guilds=True))
    with pointed_at(server.url):
        await client.login(TOKEN)
        try:
            yield client.http, channel
        finally:
            await client.close()


async def test_requests_above_the_global_limit_are_refused_and_answered_in_the_end():
    limits = Limits(routes={}, all_requests=Rate(5, 1.0))
    async with open_discord(limits=limits) as server, logged_in(server) as (http, channel):
        found = await asyncio.gather(*(http.get_channel(channel.id) for _ in range(8)))

    assert [one["id"] for one in found] == [str(channel.id)] * 8
    assert limits.refused["global"] == server.rest.n_invalid >= 1


async def test_the_headers_of_a_bucket_keep_discord_py_from_being_refused():
    limits = Limits(routes={"GET /channels/{}": Rate(2, 0.3)})
    async with open_discord(limits=limits) as server, logged_in(server) as (http, channel):
        before = time.monotonic()
        for _ in range(5):
            await http.get_channel(channel.id)

    assert time.monotonic() - before >= 0.6
    assert (server.limits.refused, server.limits.counted["GET /channels/{}"]) == ({}, 5)


async def test_a_request_without_a_route_fails_the_test():
    with pytest.raises(AssertionError, match="does not implement 'GET /nowhere'"):
        async with open_discord() as server, logged_in(server) as (http, _):
            with pytest.raises(discord.DiscordServerError):
                await http.request(discord.http.Route("GET", "/nowhere"))
