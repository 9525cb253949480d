"""Limits, bursts and fair turns, through Discord."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest

from bot.generation import GeneratorUnavailable
from bot.messages.bursts import Burst
from bot.settings import LimitSettings
from storage.records import Who
from tests.fakes import FixedClock
from tests.integration.conftest import World, opened
from tests.rig.waiting import until


@pytest.fixture
def with_limits(settings):
    """Return a function that changes keys of the section ``[limits]``."""
    return lambda **changes: replace(settings, limits=LimitSettings(**changes))


def say(world: World, who, text: str, channel=None) -> None:
    """Send a message without waiting for its answer."""
    channel = channel or world.channel
    world.env.backend.create_message(channel.id, who.id, f"<@{world.bot.me}> {text}")


def texts_waiting(world: World) -> str:
    """Return the last message of Alice's newest burst in the queue."""
    burst = world.bot.queues.latest_of(world.channel.id, world.alice.id)
    return burst.last.content if isinstance(burst, Burst) else ""


async def test_a_day_that_is_used_up_is_told_once_and_comes_back(with_limits):
    clock = FixedClock()
    async with opened(with_limits(member_messages=2), now=clock) as world:
        await world.ask(world.alice, "one")
        world.generator.enqueue_error(GeneratorUnavailable("nobody home"))
        await world.ask(world.alice, "this does not count")
        left = (await world.alice.slash(world.channel, "limits")).response.content
        await world.ask(world.alice, "two")
        told = await world.ask(world.alice, "three")
        silent = await world.ask(world.alice, "four")
        ben = await world.ask(world.ben, "and I?")
        n_asked = len(world.generator.contexts)
        clock.advance(days=1)
        back = await world.ask(world.alice, "a new day")

        assert re.fullmatch(
            r"\*\*Your messages today:\*\* 1 of 2 left\.\nYour limit resets <t:\d+:R>\.", left
        )
        assert re.match(r"You have reached your limit for today \(messages: 2\)\. .*<t:", told.content)
        assert silent.author.id == world.alice.id
        assert ben.content in world.generator.default
        assert n_asked == 4
        assert back.content in world.generator.default
        assert all("reached" not in turn.text for turn in world.generator.contexts[-1].turns)


async def test_tokens_of_a_server_are_used_up_by_all_together(with_limits):
    async with opened(with_limits(server_tokens=30)) as world:
        await world.ask(world.alice, "a question of some length, which many tokens are read for")
        told = await world.ask(world.ben, "and mine?")
        await world.ben.send_dm("here there is no server")

        assert told.content.startswith("This server has reached its limit for today (tokens: 30).")
        assert world.ben.user.dm_channel.last_message.content in world.generator.default


async def test_quick_messages_while_an_answer_waits_are_answered_once(world):
    world.generator.gate = asyncio.Event()
    say(world, world.ben, "before")
    await until(lambda: world.generator.contexts)
    for text in ("one", "two", "three"):
        say(world, world.alice, text)
        await until(lambda text=text: text in texts_waiting(world))
    world.generator.gate.set()
    await world.env.settle()

    replies = [m for m in world.channel.history() if m.author.id == world.bot.me]
    sent = {m.content.rpartition(" ")[2]: m.id for m in world.channel.history()}
    assert [context.message for context in world.generator.contexts] == ["before", "one\ntwo\nthree"]
    assert [m.reference.message_id for m in replies][1:] == [sent["three"]]
    alice = Who(world.guild.id, world.alice.id)
    assert world.bot.limits.of_member(alice, [LimitSettings(member_messages=5)], ()).messages == 4


async def test_quick_messages_are_answered_in_the_order_they_were_written_in(world, monkeypatch):
    """Each message is handled by a task of its own, and the first one takes longest here."""
    world.generator.gate = asyncio.Event()
    say(world, world.ben, "before")
    await until(lambda: world.generator.contexts)
    helping, late = world.bot.cogs["Chat"]._helping, asyncio.Event()
    has_answered = helping.has_answered

    async def slow(message) -> bool:
        if message.content.endswith("one"):
            await late.wait()
        return await has_answered(message)

    monkeypatch.setattr(helping, "has_answered", slow)
    for text in ("one", "two", "three"):
        say(world, world.alice, text)
        await until(lambda text=text: text == "one" or text in texts_waiting(world))
    late.set()
    await until(lambda: len(world.bot.queues.latest_of(world.channel.id, world.alice.id).messages) == 3)
    world.generator.gate.set()
    await world.env.settle()

    sent = {m.content.rpartition(" ")[2]: m.id for m in world.channel.history()}
    answer = world.channel.last_message
    assert [context.message for context in world.generator.contexts] == ["before", "one\ntwo\nthree"]
    assert answer.reference is not None and answer.reference.message_id == sent["three"]


async def test_an_answer_that_has_been_begun_is_joined_by_nothing(world):
    world.generator.gate = asyncio.Event()
    say(world, world.alice, "one")
    await until(lambda: world.generator.contexts)
    say(world, world.alice, "two")
    await until(lambda: "two" in texts_waiting(world))
    world.generator.gate.set()
    await world.env.settle()

    assert [context.message for context in world.generator.contexts] == ["one", "two"]
