"""The playground: the same bot in a simulated Discord, shown on a browser page."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import discord

from bot.app.playground import MANAGER, MANAGER_ROLE, MEMBERS, WELCOME, Playground
from bot.app.playing.folders import LOCK, MARK, PREFIX
from bot.cogs.chat.another import POSTED
from tests.rig.playing import opened, seen
from tests.rig.waiting import AT_MOST_S

Asking = Callable[..., Awaitable[dict[str, Any]]]


async def test_it_welcomes_and_answers_without_a_mention():
    async with opened() as (playground, _):
        channel = playground.preview.channel
        ada = playground.preview.viewers[0]
        assert channel.last_message.embeds[0].description == WELCOME
        assert "make run MODEL=small" in channel.last_message.embeds[0].footer.text

        await ada.send(channel, "what do you think?")
        await seen(playground, "Certainly.")

        assert channel.last_message.content == "Certainly."
        assert playground.bot.user.name == "Simpatico"
        async with asyncio.timeout(20):
            while not (timed := playground.bot.metrics.mean_seconds())[0]:
                await asyncio.sleep(0.05)
        assert min(timed[1].values()) >= 0  # durations do not come from the simulated clock


async def test_another_answer_is_told_though_it_is_written_outside_of_the_click():
    async with opened() as (playground, generator):
        channel, ada = playground.preview.channel, playground.preview.viewers[0]
        await ada.send(channel, "hello")
        await seen(playground, "Certainly.")
        generator.enqueue("Of course.")

        asked = await ada.context_menu(channel, "Another answer", channel.last_message)
        await seen(playground, "Of course.")
        async with asyncio.timeout(20):
            while asked.response is None or asked.response.content != POSTED:
                await asyncio.sleep(0.05)


async def test_a_click_does_not_wait_for_the_answer():
    async with opened() as (playground, generator):
        generator.gate = asyncio.Event()
        channel, ada = playground.preview.channel, playground.preview.viewers[0]

        async with asyncio.timeout(AT_MOST_S):
            await ada.send(channel, "take your time")
        before = channel.last_message.content
        generator.gate.set()
        await seen(playground, "Certainly.")

        assert before == "take your time"


async def test_reactions_train_a_head_within_seconds():
    async with opened() as (playground, _):
        channel, ada = playground.preview.channel, playground.preview.viewers[0]
        await ada.send(channel, "hello")
        await seen(playground, "Certainly.")
        await ada.click(channel.last_message, label="Learn what I like")
        async with asyncio.timeout(AT_MOST_S):
            while not any(str(reaction.emoji) == "🙄" for reaction in channel.last_message.reactions):
                await asyncio.sleep(0.05)
                await playground.preview.refresh()

        await ada.react(channel.last_message, "👍")

        async with asyncio.timeout(AT_MOST_S):
            while (last := await playground.house.store.learning.latest_round()) is None:
                await asyncio.sleep(0.1)
        assert (last.n_members, last.n_labels) == (1, 1)


@asynccontextmanager
async def page_of(playground: Playground) -> AsyncIterator[Asking]:
    """Ask the playground's server as its page does."""
    address, key = playground.url.split("/#")
    async with aiohttp.ClientSession(address, headers={"X-Simcord-Capability": key}) as session:

        async def ask(path: str, body: object = None) -> dict[str, Any]:
            method = "GET" if body is None else "POST"
            async with session.request(method, path, json=body) as answer:
                assert answer.status == 200, await answer.text()
                return await answer.json()

        yield ask


async def test_chloe_is_the_manager_and_the_host_and_help_shows_no_ids():
    async with opened() as (playground, _), page_of(playground) as ask:
        channel, viewers = playground.preview.channel, playground.preview.viewers
        pages = {}
        for viewer in viewers:
            await viewer.slash(channel, "help")
            pages[viewer.name] = str((await ask("/api/pages", {"viewer_id": str(viewer.id)}))["messages"])
        status = await viewers[2].slash(channel, "status")
        told = await ask("/playground/live")

    for commands, able in (("/feedback", MEMBERS), ("/config show", [MANAGER]), ("/admin pause", [MANAGER])):
        assert [name for name, page in pages.items() if commands in page] == list(able)
    assert not any("</" in page for page in pages.values())
    assert "Last training round" in status.response.content
    assert told["roles"] == {str(viewers[2].id): MANAGER_ROLE}


async def test_every_message_menu_has_a_stand_in_and_writing_is_shown():
    async with opened() as (playground, generator), page_of(playground) as ask:
        channel, ada = playground.preview.channel, playground.preview.viewers[0]
        generator.gate = asyncio.Event()
        before = await ask("/playground/live")
        await ada.send(channel, "hello")
        async with asyncio.timeout(AT_MOST_S):
            while not (await ask("/playground/live"))["writing"]:
                await asyncio.sleep(0.05)
        generator.gate.set()
        await seen(playground, "Certainly.")
        async with asyncio.timeout(AT_MOST_S):
            while (after := await ask("/playground/live"))["writing"]:
                await asyncio.sleep(0.05)
        reply = channel.last_message
        for menu in after["menus"]:
            asked = {"menu": menu, "message_id": str(reply.id), "viewer_id": str(ada.id)}
            assert await ask("/playground/menu", asked) == {}
        shown = str((await ask("/api/pages", {"viewer_id": str(ada.id)}))["messages"])

    assert before["writing"] is False
    assert after["menus"] == sorted(
        menu.name for menu in playground.bot.tree.walk_commands(type=discord.AppCommandType.message)
    )
    assert len(after["menus"]) == 4
    assert all(f"'{menu}'" in shown or menu in shown for menu in after["menus"])


async def test_the_folder_of_a_killed_playground_goes_at_the_next_start(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / f"{PREFIX}abcd_123"
    left.mkdir(mode=0o700)
    (left / LOCK).write_bytes(MARK)
    async with opened():
        during = [path for path in tmp_path.iterdir() if path.name.startswith(PREFIX)]
        missing = not left.exists()
    after = [path for path in tmp_path.iterdir() if path.name.startswith(PREFIX)]

    assert (missing, len(during), after) == (True, 1, [])
