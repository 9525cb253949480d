"""A newcomer in a hurry, in a real browser: quick words and clicks, a reload, two windows, a small screen."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.rig.playing import CHROMIUM, NO_BROWSER, browsing, opened, seen
from tests.rig.waiting import AT_MOST_S

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason=NO_BROWSER)]

FIELD = "#channel-composer textarea"
AT_END = """() => {
  const t = document.querySelector("#channel-timeline");
  return t.scrollHeight - t.scrollTop - t.clientHeight <= 1;
}"""
CHOSEN = "name => document.querySelector('#viewer-picker')?.selectedOptions[0]?.text === name"
READY = "() => window.simcordPreview?.ready"


async def messages_of(playground: Any, name: str) -> list[str]:
    """Return what a member wrote, in order."""
    return [m.content for m in playground.preview.channel.history() if m.author.name == name]


async def until_true(holds: Any) -> None:
    """Wait for an asynchronous condition."""
    async with asyncio.timeout(AT_MOST_S):
        while not await holds():
            await asyncio.sleep(0.05)


async def test_quick_words_and_clicks_are_all_taken_and_none_twice():
    async with opened() as (playground, _), browsing(playground.url) as page:
        await page.wait_for_function(READY)
        await page.locator(FIELD).click()
        for words in ("one", "two", "three"):
            await page.keyboard.type(words)
            await page.keyboard.press("Enter")

        async def all_written() -> bool:
            return await messages_of(playground, "ada") == ["one", "two", "three"]

        await until_true(all_written)
        assert await page.locator(FIELD).input_value() == ""

        await page.get_by_role("button", name="🙄").first.wait_for()
        chips = page.locator(".message-reactions").first.locator(".reaction-chip")
        await chips.nth(0).dblclick()
        for number in (2, 3, 4):
            await chips.nth(number).click()

        async def all_pressed() -> bool:
            pressed = await chips.evaluate_all("chips => chips.map(chip => chip.ariaPressed)")
            return pressed == ["true", "false", "true", "true", "true"]

        await until_true(all_pressed)


async def test_two_windows_at_once_a_reload_and_a_reader_who_scrolls_up():
    async with opened() as (playground, _), browsing(playground.url, width=400, height=700) as page:
        other = await page.context.new_page()
        await other.goto(playground.url)
        await other.wait_for_function(READY)
        await other.select_option("#viewer-picker", label="Ben")
        await page.wait_for_function(READY)
        for number in range(4):  # both send while the other's message is being taken
            for window in (page, other):
                await window.locator(FIELD).fill(f"{number}")
                await window.locator(FIELD).press("Enter")

        async def both_written() -> bool:
            said = [await messages_of(playground, name) for name in ("ada", "ben")]
            return said == [["0", "1", "2", "3"]] * 2

        await until_true(both_written)
        await other.wait_for_function(AT_END)
        await other.reload()
        await other.wait_for_function(CHOSEN, arg="Ben")
        await other.wait_for_function(AT_END)
        wide = await other.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )

        await page.wait_for_function(AT_END)
        await page.locator("#channel-timeline").hover()
        await page.mouse.wheel(0, -5000)
        await page.wait_for_function("() => document.querySelector('#channel-timeline').scrollTop === 0")
        await playground.preview.viewers[2].send(playground.preview.channel, "hello from below")
        await seen(playground, "hello from below")
        await page.locator("#new-messages").wait_for()
        stayed = await page.evaluate("document.querySelector('#channel-timeline').scrollTop")
        await page.locator("#new-messages").click()
        await page.wait_for_function(AT_END)

    assert (wide, stayed) == (0, 0)
