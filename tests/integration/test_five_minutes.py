"""The five-minute script of the README, done in a real browser as it is written there.

The test reads the table. ``code`` in the column "do this" is written into the field, and *italics* are
pressed or chosen. *Italics* in the column "see that" must appear.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from bot.app.playground import SEEDED
from tests.fakes import ScriptedGenerator
from tests.rig.playing import CHROMIUM, NO_BROWSER, browsing, opened
from tests.rig.waiting import AT_MOST_S

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason=NO_BROWSER)]

README = Path(__file__).parents[2] / "README.md"
ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+?) \|$", re.MULTILINE)
DONE = re.compile(rf"`([^`]+)`|\*([^*]+)\*|({'|'.join(SEEDED)})")
SEEN = re.compile(r"\*([^*]+)\*")
LABEL = "Viewing as"
ANSWERS = ("Soup.", "A warm soup, with bread!", "You could cook a soup: it is simple.", "Why not a soup?")


def rows() -> list[tuple[str, str]]:
    """Return the rows of the script: what to do, what to see."""
    script = (
        README.read_text(encoding="utf-8").split("## Five minutes in the playground")[1].split("\n## ")[0]
    )
    return [(do, see) for _, do, see in ROW.findall(script)]


async def write(page: Any, text: str) -> None:
    """Write into the field and press Enter: once for a message, twice for a command."""
    field = page.locator("#channel-composer textarea")
    await field.click()
    await field.press_sequentially(text)
    if text.startswith("/"):
        await page.get_by_role("option", name=text).first.wait_for()
        await page.keyboard.press("Enter")
        await page.locator("#channel-composer .command-chip").wait_for()
    await page.keyboard.press("Enter")


async def press(page: Any, name: str) -> None:
    """Press the newest button or option with this name, or choose a viewer."""
    viewers = await page.locator("#viewer-picker option").all_text_contents()
    if name in viewers:
        await page.select_option("#viewer-picker", label=name)
        await page.wait_for_function(
            "name => window.simcordPreview.ready && document.querySelector('#viewer-picker')"
            ".selectedOptions[0].textContent === name",
            arg=name,
        )
        return
    roles = [page.get_by_role(role, name=name, exact=True) for role in ("button", "option", "combobox")]
    await roles[0].or_(roles[1]).or_(roles[2]).last.click()


async def do(page: Any, generator: ScriptedGenerator, text: str) -> None:
    """Do what a cell of the column "do this" says."""
    for written, pressed, emoji in DONE.findall(text):
        if written:
            await write(page, written)
        elif emoji:
            chip = page.locator(".reaction-chip", has_text=emoji).last
            await chip.click()
            await page.locator(".reaction-chip[aria-pressed=true]", has_text=emoji).wait_for()
        elif pressed != LABEL:
            await press(page, pressed)


async def see(page: Any, generator: ScriptedGenerator, text: str) -> None:
    """Wait for what a cell of the column "see that" says."""
    for shown in SEEN.findall(text):
        await page.get_by_text(shown.rstrip("…").strip()).last.wait_for()
        if generator.gate is not None:
            generator.gate.set()  # "is writing" was seen


async def test_the_script_of_the_readme_works_in_a_real_browser():
    script = rows()
    last = None
    async with opened(ANSWERS) as (playground, generator), browsing(playground.url) as page:
        generator.gate = asyncio.Event()
        for number, (what, then) in enumerate(script, start=1):
            assert DONE.search(what), f"row {number} of the script does nothing"
            await do(page, generator, what)
            await see(page, generator, then)
            if number == 3:
                async with asyncio.timeout(AT_MOST_S):
                    while (last := await playground.house.store.learning.latest_round()) is None:
                        await asyncio.sleep(0.1)

    assert len(script) >= 8
    assert last is not None
    assert last.n_members == 1
