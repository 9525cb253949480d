"""``/admin``: the emergency stop, only for the owner, for all servers at once, kept over a restart."""

from __future__ import annotations

import asyncio

import pytest

from bot.cogs import admin
from bot.ui import errors
from storage.errors import DatabaseFailed
from tests.integration.conftest import opened
from tests.rig.waiting import until


@pytest.fixture
def owned(world):
    """The world, with Alice as the owner of the bot."""
    world.bot.owner_id = world.alice.id
    return world


async def n_said(world, text: str) -> int:
    before = len(world.env.backend.messages[world.channel.id])
    await world.ben.send(world.channel, f"<@{world.bot.me}> {text}")
    return len(world.env.backend.messages[world.channel.id]) - before - 1


async def test_a_paused_bot_says_nothing_until_it_is_resumed(owned):
    paused = await owned.alice.slash(owned.channel, "admin pause")
    silent = await n_said(owned, "hello?")
    resumed = await owned.alice.slash(owned.channel, "admin resume")

    assert paused.response.content == admin.PAUSED
    assert silent == 0
    assert resumed.response.content == admin.RESUMED
    assert await n_said(owned, "hello again") == 1


async def test_a_reply_that_is_being_written_is_not_posted(owned):
    owned.generator.gate = asyncio.Event()
    asking = asyncio.create_task(n_said(owned, "take your time"))
    await until(lambda: owned.generator.contexts)  # the answer is being generated
    await owned.bot.pausing.pause(True)
    owned.generator.gate.set()

    assert await asking == 0


async def test_nobody_else_may_pause(owned):
    refused = await owned.ben.slash(owned.channel, "admin pause")

    assert refused.response.content == errors.OWNER_ONLY
    assert await n_said(owned, "hello") == 1


async def test_members_own_commands_work_while_paused(owned):
    await owned.bot.pausing.pause(True)

    shown = await owned.ben.slash(owned.channel, "privacy")

    assert "What I never keep" in shown.response.content


async def test_a_pause_outlives_a_restart(settings):
    async with opened(settings) as world:
        await world.bot.pausing.pause(True)
    async with opened(settings) as world:
        assert await n_said(world, "hello?") == 0


async def test_a_store_that_does_not_answer_does_not_silence_the_bot(world, monkeypatch):
    async def fails(_key):
        raise DatabaseFailed

    monkeypatch.setattr(world.house.store.notes, "of", fails)

    assert await world.bot.pausing.is_paused() is False
