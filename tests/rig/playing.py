"""The playground with scripted answers, and a real browser to use it with."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from bot.app.playground import Playground, open_playground
from bot.config import Settings
from tests.fakes import HashEncoder, ScriptedGenerator
from tests.rig.waiting import AT_MOST_S

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NO_BROWSER = "no Chromium on this machine (looked for chromium, chromium-browser and google-chrome)"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
).split()


@asynccontextmanager
async def opened(
    answers: Sequence[str] = ("Certainly.",),
) -> AsyncIterator[tuple[Playground, ScriptedGenerator]]:
    """Open a playground with scripted answers."""
    generator = ScriptedGenerator(answers)
    async with open_playground(Settings(), encoder=HashEncoder(), generator=generator, seed=0) as playground:
        yield playground, generator


async def seen(playground: Playground, text: str) -> dict[str, Any]:
    """Wait until the published page shows ``text`` and return the page."""
    async with asyncio.timeout(AT_MOST_S):
        while True:
            for page in playground.preview._pages.values():
                if text in str(page.snapshot["messages"]):
                    return page.snapshot
            await asyncio.sleep(0.05)


@asynccontextmanager
async def browsing(address: str, *, width: int = 1280, height: int = 900) -> AsyncIterator[Any]:
    """Open an address in a fresh profile of a real browser; errors of its scripts fail the test."""
    from playwright.async_api import async_playwright

    errors: list[str] = []
    async with async_playwright() as browsers:
        browser = await browsers.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            context = await browser.new_context(viewport={"width": width, "height": height})
            page = await context.new_page()
            page.set_default_timeout(AT_MOST_S * 1000)
            page.on("pageerror", lambda error: errors.append(str(error)))
            await page.goto(address)
            yield page
        finally:
            await browser.close()
    assert errors == []
