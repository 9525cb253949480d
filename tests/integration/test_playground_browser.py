"""A newcomer in a hurry, in a real browser: quick words and clicks, two windows, a reload, a small screen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bot.app.playground import Playground
from tests.rig.playing import CHROMIUM, NO_BROWSER, browsing, opened, seen
from tests.rig.waiting import AT_MOST_S

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason=NO_BROWSER)]

FIELD = "#channel-composer textarea"
TIMELINE = "document.querySelector('#channel-timeline')"
AT_END = f"() => {TIMELINE}.scrollHeight - {TIMELINE}.scrollTop - {TIMELINE}.clientHeight <= 1"
AT_TOP = f"() => {TIMELINE}.scrollTop === 0"
READY = "() => window.simcordPreview?.ready"
CHOSEN = "name => document.querySelector('#viewer-picker')?.selectedOptions[0]?.text === name"
TOO_WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


async def holds(page: Any, condition: str, **more: Any) -> None:
    """Wait for a condition in a window, also while another window is in front."""
    await page.wait_for_function(condition, polling=100, **more)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for an asynchronous condition."""
    async with asyncio.timeout(AT_MOST_S):
        while not await condition():
            await asyncio.sleep(0.05)


async def until_written(playground: Playground, name: str, expected: list[str]) -> None:
    """Wait until a member wrote exactly these messages, in this order."""

    async def written() -> bool:
        return [m.content for m in playground.preview.channel.history() if m.author.name == name] == expected

    await until(written)


async def hurry(playground: Playground, page: Any) -> None:
    """Write three messages without a pause, press 👍 twice by mistake, then three more reactions at once."""
    await page.locator(FIELD).click()
    for words in ("one", "two", "three"):
        await page.keyboard.type(words)
        await page.keyboard.press("Enter")
    await until_written(playground, "ada", ["one", "two", "three"])
    assert await page.locator(FIELD).input_value() == ""

    await page.get_by_role("button", name="🙄").first.wait_for()
    chips = page.locator(".message-reactions").first.locator(".reaction-chip")
    await chips.nth(0).dblclick()
    for number in (2, 3, 4):
        await chips.nth(number).click()

    async def pressed() -> bool:
        states = await chips.evaluate_all("chips => chips.map(chip => chip.ariaPressed)")
        return states == ["true", "false", "true", "true", "true"]

    await until(pressed)


async def share(playground: Playground, page: Any, other: Any) -> None:
    """Write from two windows at the same time, and reload one of them."""
    await other.goto(playground.url)
    await holds(other, READY)
    await other.select_option("#viewer-picker", label="Ben")
    await holds(other, READY)
    for number in range(3):
        for window in (page, other):
            await window.locator(FIELD).fill(f"{number}")
            await window.locator(FIELD).press("Enter")
    await until_written(playground, "ada", ["one", "two", "three", "0", "1", "2"])
    await until_written(playground, "ben", ["0", "1", "2"])
    await holds(other, AT_END)
    await other.reload()
    await holds(other, CHOSEN, arg="Ben")
    await holds(other, AT_END)


async def read_back(playground: Playground, page: Any) -> None:
    """Scroll up; what comes then does not pull the reader down."""
    await holds(page, AT_END)
    await page.bring_to_front()
    await page.locator("#channel-timeline").hover()
    await page.mouse.wheel(0, -50_000)
    await holds(page, AT_TOP)
    chloe = playground.preview.viewers[2]
    await chloe.send(playground.preview.channel, "hello from below")
    await seen(playground, "hello from below")
    await page.locator("#new-messages").wait_for()
    assert await page.evaluate(f"({AT_TOP})()")
    await page.locator("#new-messages").click()
    await holds(page, AT_END)


async def test_quick_words_and_clicks_two_windows_and_a_reader_who_scrolls_up():
    async with opened() as (playground, _), browsing(playground.url, width=400, height=700) as page:
        await holds(page, READY)
        await hurry(playground, page)
        await share(playground, page, other := await page.context.new_page())
        await other.close()
        await read_back(playground, page)
        too_wide = await page.evaluate(TOO_WIDE)

    assert too_wide == 0
