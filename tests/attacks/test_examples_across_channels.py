"""What the bot said in a private place must not come back in a prompt for a place with other readers.

A member's liked replies stand as examples of tone in later prompts. The model may repeat what they hold, so
they cross channels only where everyone can read both.
"""

from __future__ import annotations

import itertools
import random

import discord
import pytest

from bot.cogs.chat import answering
from bot.generation import Context
from bot.replies.decision import Prompt
from bot.servers import readers
from storage.records import DIRECT_MESSAGES, Place, Who
from tests.integration.conftest import World, opened, shapeless
from tests.integration.test_offers import ASKED, DISLIKED, LIKED, prompts
from tests.rig.newest import newest
from tests.rig.size import sized


@pytest.fixture
async def world(settings):
    async with opened(shapeless(settings)) as world:
        yield world


async def taught(world: World, who: Who, channel_id: int) -> None:
    """Let a member like and dislike replies in one channel, and train."""
    house = world.house
    await house.store.consent.record(who)
    for n, text in enumerate(one for pair in zip(LIKED, DISLIKED, strict=True) for one in pair):
        world.generator.enqueue(text)
        decision = await house.parts.responder.decide(Prompt(who, Context("hello")))
        await house.parts.responder.recorder.record(who, Place(channel_id, (1000 + n,)), decision)
        thumb = "👍" if text in LIKED else "👎"
        await house.store.feedback.record_reaction(who, 1000 + n, thumb, added=True)
    await house.trainer.run_round()


def private_to(world: World, name: str):
    """Create a channel that only Alice and the bot can read."""
    here, seen = world.bot.get_guild(world.guild.id), discord.PermissionOverwrite(view_channel=True)
    hidden = discord.PermissionOverwrite(view_channel=False)
    rules = {here.default_role: hidden, world.alice: seen, here.me: seen}
    return world.guild.create_text_channel(name, overwrites=rules)


async def quoted_in(world: World, channel) -> bool:
    """Return whether a prompt for Alice in a channel quotes a liked reply."""
    for _ in range(ASKED):
        await world.alice.send(channel, f"<@{world.bot.me}> hello")
        assert newest(channel).author.id == world.bot.me
    return any(f'"{text}"' in prompts(world) for text in LIKED)


async def test_replies_of_a_private_channel_stay_there_until_everyone_can_read_it(world):
    secret = private_to(world, "secret")
    await taught(world, Who(world.guild.id, world.alice.id), secret.id)

    found = [await quoted_in(world, one) for one in (secret, world.channel, private_to(world, "other"))]
    world.env.backend.delete_overwrite(secret.id, world.guild.id)
    opened_up = await quoted_in(world, world.channel)

    assert found == [True, False, False]
    assert opened_up


async def test_control_without_the_rule_they_reach_everyone(world, monkeypatch):
    monkeypatch.setattr(answering, "may_show_in", lambda channel: lambda channel_id: True)
    secret = private_to(world, "secret")
    await taught(world, Who(world.guild.id, world.alice.id), secret.id)

    assert await quoted_in(world, world.channel)


async def test_a_direct_conversation_and_a_server_show_each_other_nothing(world):
    alone = Who(DIRECT_MESSAGES, world.alice.id)
    await taught(world, alone, 77)
    await world.house.store.consent.record(Who(world.guild.id, world.alice.id))
    responder = world.house.parts.responder

    async def quotes(who: Who) -> bool:
        for _ in range(ASKED):
            await responder.decide(Prompt(who, Context("hello"), may_show=lambda channel_id: True))
        return any(f'"{text}"' in prompts(world) for text in LIKED)

    assert await quotes(alone)
    assert not await quotes(Who(world.guild.id, world.alice.id))


async def places(world: World, rng: random.Random) -> list:
    """Create channels and threads of every kind, with permissions drawn at random, and return them."""
    here = world.bot.get_guild(world.guild.id)
    roles = [world.guild.create_role(name) for name in ("first", "second")]
    for some in ([], roles[:1], roles[1:], roles):
        world.guild.add_member(world.env.create_user(f"member{len(some)}{rng.random()}"), roles=some)
    found = []
    for n in range(sized(ci=16, full=60)):
        targets = [one for one in (here.default_role, *roles, world.alice) if rng.random() < 0.3]
        rules = {one: discord.PermissionOverwrite(view_channel=rng.random() < 0.4) for one in targets}
        handle = world.guild.create_text_channel(f"place-{n}", overwrites=rules)
        channel = world.bot.get_channel(handle.id)
        channel.nsfw = n % 8 == 7
        found.append(channel)
    found += [world.bot.get_channel(world.guild.create_voice_channel("voice").id)]
    for n, kind in enumerate((discord.ChannelType.public_thread, discord.ChannelType.private_thread) * 3):
        found.append(await found[n].create_thread(name=f"thread-{n}", type=kind))
    return found


def leaks(world: World, found: list) -> tuple[int, list]:
    """Return how many pairs of places may show each other's texts, and those with a reader of only one."""
    people = [one for one in world.bot.get_guild(world.guild.id).members if not one.bot]
    shown = [
        (here, there)
        for here, there in itertools.permutations(found, 2)
        if readers.may_show_in(here)(there.id)
    ]
    return len(shown), [
        (here, there)
        for here, there in shown
        if there.type is discord.ChannelType.private_thread
        or there.is_nsfw()
        or any(
            here.permissions_for(one).view_channel and not there.permissions_for(one).view_channel
            for one in people
        )
    ]


async def test_whoever_reads_a_place_can_read_every_place_whose_texts_it_may_show(world):
    found = await places(world, random.Random(3))

    n_shown, leaking = leaks(world, found)

    assert n_shown > 5
    assert leaking == []
    assert all(readers.may_show_in(one)(one.id) for one in found)
    assert not any(readers.may_show_in(one)(1) for one in (*found, None))


async def test_control_the_permission_of_everyone_alone_is_not_enough(world, monkeypatch):
    found = await places(world, random.Random(3))
    everyone = world.bot.get_guild(world.guild.id).default_role
    monkeypatch.setattr(readers, "is_open", lambda one: one.permissions_for(everyone).view_channel)

    assert leaks(world, found)[1] != []
