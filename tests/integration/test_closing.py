"""Closing the bot: tasks that outlive the drains are cancelled, and cannot delay the exit."""

from __future__ import annotations

import asyncio

from tests.integration.conftest import opened, settings

__all__ = ["settings"]


async def test_what_runs_longer_than_the_drains_is_cancelled_after_the_connection_is_closed(settings):
    async with opened(settings, spawn=None) as world:
        ended = []

        async def answer() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(world.bot.is_closed())

        world.bot.tasks.spawn(answer())
        await asyncio.sleep(0)
        await world.bot.close()

    assert (ended, len(world.bot.tasks)) == ([True], 0)
