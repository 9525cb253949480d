"""The playground: the same bot in a simulated Discord, shown on a browser page."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bot.app.playground import WELCOME, Playground, open_playground
from bot.cogs.chat.another import POSTED
from bot.config import Settings
from tests.fakes import HashEncoder, ScriptedGenerator
from tests.rig.waiting import AT_MOST_S

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
).split()


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[Playground, ScriptedGenerator]]:
    """Open a playground with scripted answers."""
    generator = ScriptedGenerator(["Certainly."])
    async with open_playground(Settings(), encoder=HashEncoder(), generator=generator, seed=0) as playground:
        yield playground, generator


async def seen(playground, text: str) -> dict:
    """Wait until the published page shows ``text`` and return the page."""
    async with asyncio.timeout(AT_MOST_S):
        while True:
            for page in playground.preview._pages.values():
                if text in str(page.snapshot["messages"]):
                    return page.snapshot
            await asyncio.sleep(0.05)


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


async def _say(page, text: str) -> None:
    """Write a message; try again if the page was redrawn meanwhile and lost the text."""
    for _ in range(5):
        await page.fill("#channel-composer-input", text, timeout=60_000)
        await page.press("#channel-composer-input", "Enter")
        with contextlib.suppress(Exception):
            await page.get_by_text(text).first.wait_for(timeout=10_000)
            return
    raise AssertionError("expected the message on the page, found none after five tries")


async def _click_until(page, button: str, shown) -> None:
    """Click a button; try again if the page was redrawn meanwhile and lost the click."""
    for _ in range(5):
        await page.get_by_role("button", name=button).first.click(timeout=30_000)
        with contextlib.suppress(Exception):
            await shown.wait_for(timeout=5_000)
            return
    raise AssertionError(f"expected {button!r} to react, found no change after five clicks")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
async def test_a_newcomer_chats_agrees_and_reacts_in_a_real_browser():
    async with opened() as (playground, _):
        from playwright.async_api import async_playwright

        async with async_playwright() as browsers:
            browser = await browsers.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = await browser.new_page()
            await page.goto(playground.url)

            await page.get_by_text(WELCOME[:20]).first.wait_for(timeout=60_000)
            await _say(page, "what should I cook?")
            await page.get_by_role("button", name="🙄").first.wait_for(timeout=60_000)
            await _click_until(page, "Learn what I like", page.get_by_text("Only you can see this").first)
            await page.wait_for_timeout(1500)  # the page is redrawn after the answer
            await page.get_by_role("button", name="👍").first.click(timeout=30_000)

            async with asyncio.timeout(AT_MOST_S):
                while (last := await playground.house.store.learning.latest_round()) is None:
                    await asyncio.sleep(0.1)
            await browser.close()

        assert (last.n_members, last.n_labels) == (1, 1)
