"""P45: a stop has a word.

A member whose answer is not finished when the bot stops is told so, once, before the bot leaves Discord:
whatever they asked with, in however many conversations, and whether or not the language model can be
interrupted. What is finished in time is posted as ever. The stop keeps its time: the model gets
``_FINISH_S``, here shortened.

Control: a bot that does not end its waiting leaves in silence.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from bot import client
from bot.app.playground import _Detached
from bot.generation import Candidate, Context, Style
from bot.messages.conversation import STOPPING, reads_as_note
from bot.replies.stopping import Stop
from storage.records import Who
from tests.fakes import ScriptedGenerator
from tests.integration.conftest import World, opened
from tests.integration.conftest import settings as settings  # a fixture
from tests.rig.waiting import until

pytestmark = pytest.mark.promise("P45")

KEEPS_S = 2.0
"""Longest stop once the model's time is over; on an idle machine it takes a tenth of it."""


class Stubborn(ScriptedGenerator):
    """Generator that holds its thread for as long as it likes after it was cancelled."""

    async def generate(self, context: Context, styles: Sequence[Style]) -> list[Candidate]:
        work = asyncio.create_task(super().generate(context, styles))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait({work})
            raise


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Shorten the time that running answers get."""
    monkeypatch.setattr(client, "_FINISH_S", 0.2)


@asynccontextmanager
async def busy(settings, generator: ScriptedGenerator) -> AsyncIterator[World]:
    """A world in which Alice agreed and got a reply; further answers wait for a gate."""
    async with _Detached() as home, opened(settings, generator=generator, spawn=home.spawn) as world:
        await world.agree(world.alice)
        await world.alice.send(world.channel, f"<@{world.bot.me}> hello")
        await world.bot.queues.wait_idle()
        generator.contexts.clear()
        generator.gate = asyncio.Event()
        try:
            yield world
        finally:
            generator.gate.set()
            await world.bot.queues.wait_idle()


def said(world: World) -> list[str]:
    """Return every text that the bot sent to Discord, in order."""
    sent = [one.json for one in world.env.http_requests if isinstance(one.json, dict)]
    return [one["content"] for one in sent if one.get("content")]


async def stopped(world: World) -> float:
    """Close the bot and return the seconds it took."""
    began = time.monotonic()
    await world.bot.close()
    return time.monotonic() - began


async def ask_in(world: World, n_channels: int, n_each: int) -> int:
    """Let both members ask in some channels; returns how many answers they wait for."""
    for number in range(n_channels):
        channel = world.guild.create_text_channel(f"more-{number}")
        for each in range(n_each):
            who = (world.alice, world.ben)[each % 2]
            await who.send(channel, f"<@{world.bot.me}> question {number} {each}")
    await until(lambda: world.generator.contexts)
    return n_channels * n_each


@pytest.mark.parametrize("kind", [ScriptedGenerator, Stubborn])
@pytest.mark.parametrize(("n_channels", "n_each"), [(1, 1), (1, 2), (3, 1), (3, 2)])
async def test_every_waiting_member_is_told_once_and_in_time(settings, kind, n_channels, n_each, caplog):
    async with busy(settings, kind()) as world:
        n_waiting = await ask_in(world, n_channels, n_each)

        took_s = await stopped(world)

        assert said(world).count(STOPPING) == n_waiting
        assert took_s < KEEPS_S
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize("kind", [ScriptedGenerator, Stubborn])
@pytest.mark.parametrize("command", ["another", "compare"])
async def test_a_command_that_writes_is_told_too(settings, kind, command, caplog):
    async with busy(settings, kind()) as world:
        if command == "another":
            reply = world.channel.last_message
            world.bot.responder.drafts._by_member.clear()  # no candidate is left, so it writes
            pressed = world.alice.context_menu(world.channel, "Another answer", reply)
        else:
            pressed = world.alice.slash(world.channel, "compare", message="what about tea?")
        pressing = asyncio.create_task(pressed)
        await until(lambda: world.generator.contexts)

        took_s = await stopped(world)
        world.generator.gate.set()  # simcord waits for every task that the command started
        await pressing

        assert said(world).count(STOPPING) == 1
        assert took_s < KEEPS_S
    assert [record for record in caplog.records if record.exc_info] == []


async def test_what_ends_in_time_is_posted_without_a_word(settings, monkeypatch):
    monkeypatch.setattr(client, "_FINISH_S", 30.0)
    async with busy(settings, ScriptedGenerator()) as world:
        await ask_in(world, 2, 1)
        before = len(said(world))
        closing = asyncio.create_task(stopped(world))
        await asyncio.sleep(0.05)
        world.generator.gate.set()
        await closing

        assert len(said(world)) - before == 2
        assert STOPPING not in said(world)


async def test_the_word_costs_nothing_of_the_day_and_is_no_turn_of_the_conversation(settings):
    async with busy(settings, ScriptedGenerator()) as world:
        who = Who(world.guild.id, world.alice.id)
        limits = (await world.bot.servers.of(world.guild.id)).limits
        before = world.bot.limits.of_member(who, limits, []).messages
        await ask_in(world, 1, 1)
        await stopped(world)

        assert world.bot.limits.of_member(who, limits, []).messages == before
        assert reads_as_note(STOPPING)


async def test_control_a_bot_that_waits_for_the_model_leaves_in_silence(settings, monkeypatch):
    async def nothing(_self: Stop, _timeout_s: float) -> None:
        pass

    monkeypatch.setattr(Stop, "end", nothing)
    async with busy(settings, ScriptedGenerator()) as world:
        await ask_in(world, 1, 1)
        await stopped(world)

        assert STOPPING not in said(world)
