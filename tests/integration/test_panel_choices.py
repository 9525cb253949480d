"""`/feedback` after choices: they count in what was recorded and learnt, and each press undoes the next."""

from __future__ import annotations

import pytest

from bot.replies.six_taps.asking import TAPS
from bot.replies.six_taps.texts import pairs_in
from bot.ui import feedback_panel as panel
from bot.ui.components import NOT_AGREED
from bot.ui.feedback_text import EARLIER_AGAIN, NO_REPLY, PAUSED, UNDONE, choice_called
from storage.records import DIRECT_MESSAGES, Picked, Who
from tests.integration.conftest import opened
from tests.integration.test_panel import labels_of, panel_of
from tests.integration.test_six_taps import begun, kept, shown_pair

UNDO = "Undo last choice"
NOTHING_YET = "nothing yet that shows me what you like"


async def tapped(world, member, label: str = "") -> None:
    """Agree and answer all six pairs: with one label, or with the text that has more."""
    page = await begun(world, member)
    for _ in range(TAPS):
        _, more = shown_pair(page)
        await member.click(page, label=label or more)


async def choices(world, member) -> list[str]:
    """Return the texts of the member's choices, oldest first."""
    member_id = world.house.store.member_id(Who(world.guild.id, member.id))
    return [
        choice_called(one) for one in (await world.house.store.preferences.of([member_id], 50))[member_id]
    ]


async def test_choices_count_and_each_press_undoes_the_next_and_names_it(world):
    await tapped(world, world.alice)
    await world.house.trainer.run_round()
    expected = (await choices(world, world.alice))[::-1]

    shown = await panel_of(world, world.alice)  # no reply of the bot is stored here
    first, lines = shown.content, shown.content.splitlines()
    for n, (undone, following) in enumerate(zip(expected, [*expected[1:], None], strict=True), start=1):
        await world.alice.click(shown, label=UNDO)
        assert shown.content.startswith(UNDONE.format(choice=undone))
        assert len(await kept(world, world.alice)) == TAPS - n
        if following is not None:
            assert f"{TAPS - n}. The latest: {following}" in shown.content

    assert first.startswith(NO_REPLY)
    assert f"**Choices you made between two answers:** 6. The latest: {expected[0]}" in lines
    ranking = next(line for line in lines if line.startswith("**Your own ranking:**"))
    assert "in use, from" in ranking
    assert NOTHING_YET not in first and "Nothing certain yet" not in first
    assert "(you chose it in 1 of 1 choice)" in first
    assert NOTHING_YET in shown.content
    assert UNDO not in labels_of(shown)


async def test_undecided_choices_count_as_well_and_nothing_is_claimed_from_them(world):
    await tapped(world, world.alice, "No matter")
    await world.house.trainer.run_round()

    shown = (await panel_of(world, world.alice)).content

    assert NOTHING_YET not in shown
    assert "The latest: no matter: " in shown
    assert "Your choices count, but nothing is certain yet" in shown


async def test_of_two_panels_and_an_old_button_none_undoes_more_than_it_names(world):
    await tapped(world, world.alice)
    one, other = [await panel_of(world, world.alice) for _ in range(2)]

    await world.alice.click(one, label=UNDO)
    await world.alice.click(other, label=UNDO)

    assert other.content.startswith(panel.NOT_THERE)
    assert len(await kept(world, world.alice)) == TAPS - 1
    await world.alice.click(other, label=UNDO)
    assert len(await kept(world, world.alice)) == TAPS - 2


async def test_without_a_reply_learning_is_paused_resumed_started_over_and_taps_are_undone(world):
    await tapped(world, world.alice)
    shown = await panel_of(world, world.alice)

    await world.alice.click(shown, label="Pause learning")
    paused = shown.content
    await world.alice.click(shown, label=UNDO)
    left = await kept(world, world.alice)
    await world.alice.click(shown, label="Resume learning")
    asked = await world.alice.click(shown, label="Start over")
    await world.alice.click(asked.followups[-1], label="Yes, start over")

    assert paused.startswith(PAUSED) and NO_REPLY in paused
    assert len(left) == TAPS - 1
    assert await kept(world, world.alice) == {}
    assert not {"★", "Undo", "Tell me what was wrong"} & set(labels_of(shown))


async def test_a_panel_stays_when_its_reply_is_deleted_and_a_rating_without_one_says_so(world):
    await world.agree(world.alice)
    reply = await world.ask(world.alice)
    shown = await panel_of(world, world.alice)
    world.env.backend.delete_message(world.channel.id, reply.id)
    await world.env.settle()

    await world.alice.click(shown, label="★★")
    rated = await world.alice.slash(world.channel, "feedback", rating=4)

    for page in (shown, rated.response):
        assert page.content.startswith(NO_REPLY)
        assert "Pause learning" in labels_of(page)


async def test_in_direct_messages_and_other_channels_the_panel_opens_with_the_choices_of_its_server(world):
    await world.ask(world.alice)
    await tapped(world, world.alice)
    other = world.guild.create_text_channel("elsewhere")
    elsewhere = (await world.alice.slash(other, "feedback")).response
    private = await world.alice.user.slash("privacy")
    await world.alice.user.click(private.response, label="Learn what I like")
    in_private = (await world.alice.user.slash("feedback")).response

    assert "two answers:** 6." in elsewhere.content
    assert "two answers:**" not in in_private.content and NOTHING_YET in in_private.content
    assert DIRECT_MESSAGES != world.guild.id


async def test_somebody_who_withdrew_undoes_nothing_and_after_a_new_yes_old_buttons_are_harmless(world):
    await tapped(world, world.alice)
    shown = await panel_of(world, world.alice)
    who = Who(world.guild.id, world.alice.id)
    await world.bot.privacy.refuse(who)
    refused = await world.alice.click(shown, label=UNDO)
    await world.agree(world.alice)
    await world.alice.click(shown, label=UNDO)

    assert refused.followups[-1].content == NOT_AGREED
    assert shown.content.startswith(panel.NOT_THERE)
    assert UNDO not in labels_of(shown)


async def test_after_a_restart_the_buttons_of_the_panel_go_on(settings):
    async with opened(settings) as world:
        await tapped(world, world.alice)
        shown = await panel_of(world, world.alice)
        world.bot._connection._view_store._dynamic_items.clear()
        await world.bot.reload_extension("bot.cogs.members.feedback")
        for _ in range(2):
            await world.alice.click(shown, label=UNDO)

        assert len(await kept(world, world.alice)) == TAPS - 2


async def test_an_undo_in_the_panel_brings_back_the_earlier_answer_to_the_same_pair(world):
    await world.agree(world.alice)
    taps, who = world.bot.six_taps, Who(world.guild.id, world.alice.id)
    bound = await world.house.store.consent.bound(who)
    pair = pairs_in("en")[0]
    for picked in (Picked.FIRST, Picked.SECOND):
        await taps.record(bound, "en", pair, picked, since=await taps.begin())

    shown = await panel_of(world, world.alice)
    await world.alice.click(shown, label=UNDO)

    assert shown.content.splitlines()[0].endswith(EARLIER_AGAIN)
    assert await kept(world, world.alice) == {pair.name: Picked.FIRST}


async def test_control_a_button_that_keeps_its_number_undoes_a_single_choice(world, monkeypatch):
    """Without the panel drawn anew, the second press names a choice that is gone."""

    async def unchanged(*_, **__) -> None:
        return None

    await tapped(world, world.alice)
    shown = await panel_of(world, world.alice)
    monkeypatch.setattr(panel, "show_panel", unchanged)
    for _ in range(2):
        await world.alice.click(shown, label=UNDO)

    with pytest.raises(AssertionError):
        assert len(await kept(world, world.alice)) == TAPS - 2
