"""The six taps through Discord: offered after the yes, answered, undone, skipped, exported, forgotten."""

from __future__ import annotations

import discord
import pytest

from bot.languages import LANGUAGES, speaking, tr
from bot.replies.six_taps.asking import TAPS
from bot.replies.six_taps.texts import AXES, pairs_in
from bot.ui.components import NOT_AGREED
from bot.ui.feedback_text import PAUSED
from bot.ui.six_taps import panel
from storage.records import Picked, Who
from tests.integration.conftest import opened
from tests.integration.test_languages import client_in
from tests.integration.test_panel import labels_of

BY_TEXT = {text: pair for pair in pairs_in("en") for text in (pair.less, pair.more)}


def shown_pair(message):
    """Return the pair that a message shows, and on which side (A or B) the text with more is."""
    texts = {embed.title: embed.description for embed in message.embeds}
    pair = BY_TEXT[texts["A"]]
    assert set(texts.values()) == {pair.less, pair.more}
    return pair, "A" if texts["A"] == pair.more else "B"


async def kept(world, member) -> dict[str, Picked]:
    store = world.house.store
    member_id = store.member_id(Who(world.guild.id, member.id))
    rows = (await store.preferences.of([member_id], 100))[member_id]
    return {row.tap: row.picked for row in rows}


async def begun(world, member):
    """Agree, press the offer under the confirmation, and return the page of the taps."""
    shown = await member.slash(world.channel, "privacy")
    await member.click(shown.response, label="Learn what I like")
    page = await member.click(shown.response, label=panel.OFFER)
    return page.response


async def test_the_whole_way_from_the_yes_to_a_head_that_follows(world):
    page = await begun(world, world.alice)
    first_page = page.content
    asked = []
    for n in range(1, TAPS + 1):
        pair, more = shown_pair(page)
        asked.append(pair)
        assert page.content.startswith(panel.ASK.format(n=n, total=TAPS))
        assert pair.message in page.content
        await world.alice.click(page, label=more if pair.axis == "lively" else "No matter")
    report = await world.house.trainer.run_round()
    feedback = await world.alice.slash(world.channel, "privacy")
    head = await world.bot.ranker.head_of(world.house.store.member_id(Who(world.guild.id, world.alice.id)))
    dull, lively = (
        await world.bot.ranker.describe("It works."),
        await world.bot.ranker.describe("It works!! 🎉🎉"),
    )

    assert first_page.startswith("**1 of 6.**")
    assert page.flags.ephemeral
    assert {pair.axis for pair in asked} == set(AXES)
    assert await kept(world, world.alice) == {
        pair.name: Picked.SECOND if pair.axis == "lively" else Picked.EQUAL for pair in asked
    }
    assert page.embeds == []
    assert page.content.startswith("**Thank you!** I recorded 6 choices.")
    assert report.n_labels == TAPS
    assert "choices between two answers (6)" in feedback.response.content
    assert head.score(lively[None])[0] > head.score(dull[None])[0] + 0.5


async def test_a_tap_is_undone_skipped_and_stopped(world):
    page = await begun(world, world.alice)
    first, _ = shown_pair(page)
    await world.alice.click(page, label="A")
    second, _ = shown_pair(page)
    await world.alice.click(page, label="Undo last choice")
    again, more = shown_pair(page)
    after_undo = await kept(world, world.alice)
    await world.alice.click(page, label=more)
    await world.alice.click(page, label="Skip")
    third, _ = shown_pair(page)
    await world.alice.click(page, label="Stop")
    stopped = page.content
    before = await kept(world, world.alice)
    await world.alice.click(page, label="Undo last choice")
    back, _ = shown_pair(page)

    assert (again, after_undo) == (first, {})
    assert len({first, second, third}) == 3
    assert before == {first.name: Picked.SECOND}
    assert "I recorded 1 choice." in stopped
    assert back == first  # the latest that was answered
    assert await kept(world, world.alice) == {}
    assert "Undo last choice" not in labels_of(page)


async def test_they_are_repeated_from_style_with_other_pairs_and_a_reply_counts_once_a_pair(world):
    page = await begun(world, world.alice)
    seen = []
    for _ in range(4):
        for _ in range(TAPS):
            pair, _ = shown_pair(page)
            if pair in seen:  # only where every pair of its axis was answered
                assert {one for one in BY_TEXT.values() if one.axis == pair.axis} <= set(seen)
            seen.append(pair)
            await world.alice.click(page, label="No matter")
        style = await world.alice.slash(world.channel, "style")
        page = (await world.alice.click(style.response, label=panel.OFFER)).response

    assert len(set(seen[: 2 * TAPS])) == 2 * TAPS
    assert all(len(set(seen[i : i + TAPS])) == TAPS for i in range(0, 4 * TAPS, TAPS))
    assert set(await kept(world, world.alice)) == {pair.name for pair in seen}


async def test_nothing_is_asked_or_recorded_without_consent_or_during_a_pause(world):
    refused = await world.alice.slash(world.channel, "style")
    page = await begun(world, world.alice)
    who = Who(world.guild.id, world.alice.id)
    await world.house.store.pauses.pause(who)
    await world.alice.click(page, label="A")
    paused = page.content
    style = await world.alice.slash(world.channel, "style")
    offered = await world.alice.click(style.response, label=panel.OFFER)
    await world.house.store.pauses.resume(who)
    running = (await world.alice.click(style.response, label=panel.OFFER)).response
    await world.bot.privacy.refuse(who)
    late = await world.alice.click(running, label="A")

    assert "simpatico:taps" not in str(refused.response.components)
    assert (paused, offered.response.content) == (PAUSED, PAUSED)
    assert late.followups[-1].content == NOT_AGREED
    assert await kept(world, world.alice) == {}


async def test_after_a_restart_the_buttons_go_on_where_they_stood(settings):
    async with opened(settings) as world:
        page = await begun(world, world.alice)
        pair, more = shown_pair(page)
        await world.alice.click(page, label=more)
        other, _ = shown_pair(page)
        world.bot._connection._view_store._dynamic_items.clear()
        await world.bot.reload_extension("bot.cogs.members.style")
        del world.bot.six_taps
        await world.alice.click(page, label="No matter")

        assert await kept(world, world.alice) == {pair.name: Picked.SECOND, other.name: Picked.EQUAL}
        assert page.content.startswith("**3 of 6.**")


async def test_what_was_tapped_is_exported_counted_by_server_and_gone_after_a_forget(world):
    page = await begun(world, world.alice)
    pair, more = shown_pair(page)
    await world.alice.click(page, label=more)
    who = Who(world.guild.id, world.alice.id)
    (_, exported), *_ = await world.house.store.privacy.export(who)
    elsewhere = await world.house.store.taps.of(Who(world.guild.id + 1, world.alice.id))
    await world.bot.privacy.forget(world.alice.id)

    (row,) = exported["preferences"]
    assert row["choice"].pop("row") < row["preference_id"]
    assert row["choice"] == {"picked": "second", "candidates": [0, 1], "tap": pair.name}
    assert elsewhere == {}
    assert await kept(world, world.alice) == {}
    assert await world.house.store.taps.of(who) == {}


@pytest.mark.parametrize("locale", [discord.Locale.german, discord.Locale.japanese])
async def test_the_texts_are_in_the_language_of_the_member(world, locale):
    with speaking(locale):
        agree, offer = tr("Learn what I like"), tr(panel.OFFER)
    with client_in(world.env, locale):
        shown = await world.alice.slash(world.channel, "privacy")
        await world.alice.click(shown.response, label=agree)
        page = (await world.alice.click(shown.response, label=offer)).response

    texts = {text for pair in pairs_in(LANGUAGES[locale]) for text in (pair.less, pair.more)}
    assert {embed.description for embed in page.embeds} <= texts
