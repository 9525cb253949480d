"""The glass box in a real browser: a thumb moves a bar and the chances, and hostile texts stay texts."""

from __future__ import annotations

from contextlib import asynccontextmanager

import emoji
import pytest

from tests.rig.playing import CHROMIUM, FLAGS, NO_BROWSER, opened
from tests.rig.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason=NO_BROWSER)]

MOST_MS = 60_000
SHORT, LONG = (
    "Soup.",
    "A stew of lentils, carrots and onions, which simmers slowly until the whole house smells of it.",
)
HOSTILE = "Put <img src=x onerror=\"document.title='run'\"> or <script>document.title='run'</script> there."

UNBROKEN = "".join(chr(97 + 7 * i * i % 26) for i in range(120))


@asynccontextmanager
async def browsing(playground, **how):
    """Open the glass box in a browser; yields the page and the list of its errors and of foreign requests."""
    from playwright.async_api import async_playwright

    async with async_playwright() as browsers:
        browser = await browsers.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page(**how)
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on(
            "request",
            lambda asked: (
                None if asked.url.startswith((playground.glass_box, "data:")) else wrong.append(asked.url)
            ),
        )
        await page.goto(playground.glass_box)
        yield page, wrong
        await browser.close()


async def asks(playground, member, text: str):
    """Send a message and return the reply, once reactions can be clicked."""
    channel = playground.preview.channel
    await member.send(channel, text)
    await until(lambda: channel.last_message.content != text and len(channel.last_message.reactions) == 5)
    await playground.preview.refresh()
    return channel.last_message


async def shown(page, text: str) -> None:
    await page.get_by_text(text).first.wait_for(timeout=MOST_MS)


def needing_a_font(text: str) -> list[str]:
    """Return the signs of a text that need an emoji font: without one, a browser shows boxes."""
    return [found.chars for found in emoji.analyze(text)]


async def bars_of(page) -> list[float]:
    """Return where the bars of the taste end."""
    return await page.eval_on_selector_all("#bars .bar", "bars => bars.map(bar => Number(bar.dataset.at))")


async def test_a_newcomer_sees_that_a_thumb_changed_the_taste_and_the_chances():
    async with opened() as (playground, generator):
        ada = playground.preview.viewers[0]
        (field,) = playground.preview.channel.last_message.embeds[0].fields
        assert playground.glass_box in field.value
        async with browsing(playground, viewport={"width": 1280, "height": 900}) as (page, wrong):
            await shown(page, "No reply yet.")
            generator.enqueue(SHORT, LONG, "Tacos?", "Rice!")
            reply = await asks(playground, ada, "what should I cook?")
            await shown(page, "Ada: “what should I cook?”")
            await ada.click(reply, label="Learn what I like")
            await shown(page, "Ada agreed to learning.")
            before = await bars_of(page)
            chances = await page.locator('[data-part="chance"]').all_inner_texts()

            await ada.react(reply, "👍")

            await shown(page, "Ada's taste moved")
            await page.locator('[data-trend="up"]').first.wait_for(timeout=MOST_MS)
            after = await bars_of(page)
            assert set(before) == {0}
            assert max(map(abs, after)) > 0.05  # of half the track: a few pixels at least
            assert len(chances) == 4
            assert await page.locator('[data-part="chance"]').all_inner_texts() != chances
            assert await page.locator(".is-posted").count() == 1
            for width in (1280, 400):
                await page.set_viewport_size({"width": width, "height": 900})
                assert "Ada gave thumbs up" in await page.locator('[data-part="given"]').inner_text()
                assert needing_a_font(await page.content()) == []
                assert await page.evaluate("document.documentElement.scrollWidth") == width
            assert not await page.locator("#steps").is_visible()

            await page.get_by_role("radio", name="Ada").focus()
            await page.keyboard.press("ArrowRight")
            await shown(page, "Ben has not agreed to learning")
            assert set(await bars_of(page)) == {0}
            assert await page.locator('[data-part="chance"]').all_inner_texts() == chances
        assert wrong == []


async def test_on_a_narrow_screen_hostile_texts_stay_texts_and_a_forget_empties_the_page():
    async with opened() as (playground, generator):
        ada, channel = playground.preview.viewers[0], playground.preview.channel
        async with browsing(playground, viewport={"width": 400, "height": 800}) as (page, wrong):
            generator.enqueue("Fine.", HOSTILE, UNBROKEN, "Good.")
            await asks(playground, ada, f"<script>document.title='asked'</script> {UNBROKEN}")
            await page.locator("article").wait_for(timeout=MOST_MS)

            texts = await page.locator('[data-part="text"]').all_inner_texts()
            assert any("<img src=x onerror=" in text for text in texts), texts
            assert await page.locator("article img, article script").count() == 0
            assert await page.title() == "Glass box: watch Simpatico learn"
            width = await page.evaluate("document.documentElement.scrollWidth")
            assert width == 400  # nothing sticks out

            asked = await ada.slash(channel, "forget-me")
            await ada.click(asked.response, label="Forget everything about me")
            await shown(page, "No reply yet.")
            assert await page.locator("article").count() == 0
            assert "Ada asked" not in await page.locator("#notes").inner_text()
        assert wrong == []


def test_control_a_sign_that_needs_an_emoji_font_is_seen():
    assert needing_a_font("Ada gave 👍, ❤️ and a check ✓ ▲ → ●") == ["👍", "❤️"]
