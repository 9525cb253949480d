"""The ``/feedback`` panel: shows what was recorded and learnt, and undoes both."""

from __future__ import annotations

from bot.ui import feedback_panel as panel
from bot.ui import remark_form as remarks
from bot.ui import start_over
from bot.ui.components import NOT_AGREED
from storage.records import Remark, Who
from tests.integration.test_feedback import stored


async def panel_of(world, member):
    return (await member.slash(world.channel, "feedback")).response


async def test_the_panel_shows_what_was_recorded_and_whether_it_is_in_use(world):
    await world.agree(world.alice)
    await world.alice.react(await world.ask(world.alice), "👍")
    before = (await panel_of(world, world.alice)).content
    await world.house.trainer.run_round()

    after = (await panel_of(world, world.alice)).content

    assert "feedback on 1 reply (liked: 1). Lately: 👍" in before
    assert "**Your own ranking:** not yet" in before
    assert "**Your own ranking:** in use, from 1 label, last trained <t:" in after


async def test_the_panel_has_a_picture_once_there_is_something_to_predict(world):
    await world.agree(world.alice)
    first = await panel_of_after_labels(world, 3)
    later = await panel_of_after_labels(world, 3)

    assert first.attachments == []
    assert [attachment.content_type for attachment in later.attachments] == ["image/png"]


async def test_the_picture_is_drawn_anew_only_when_it_would_show_something_else(world):
    await world.agree(world.alice)
    await panel_of_after_labels(world, 6)
    shown = await world.alice.slash(world.channel, "feedback")
    pictures = [shown.response.attachments]
    for stars in ("★★★★★", "★★★★★", "★"):
        await world.alice.click(shown.response, label=stars)
        pictures.append(shown.response.attachments)

    assert [len(one) for one in pictures] == [1, 1, 1, 1]
    _, liked, again, disliked = [one[0].id for one in pictures]
    assert liked == again != disliked


async def panel_of_after_labels(world, n: int):
    for i in range(n):
        await world.alice.react(await world.ask(world.alice), "👍" if i % 2 else "👎")
    return await panel_of(world, world.alice)


async def test_what_is_undone_says_nothing_until_it_is_given_again(world):
    await world.agree(world.alice)
    reply = await world.ask(world.alice)
    await world.alice.react(reply, "👍")
    shown = await panel_of(world, world.alice)
    reply_id = await world.house.store.replies.of_message(reply.id)

    await world.alice.select(shown, [str(reply_id)])
    undone = await stored(world, world.alice)
    await world.alice.unreact(reply, "👍")
    await world.alice.react(reply, "👍")

    assert undone == [((), None)]
    assert await stored(world, world.alice) == [(("👍",), None)]


async def test_starting_over_asks_once_and_puts_everything_aside(world):
    await world.agree(world.alice)
    await world.agree(world.ben)
    reply = await world.ask(world.alice)
    await world.alice.react(reply, "👍")
    await world.ben.react(reply, "👎")
    await world.house.trainer.run_round()
    shown = await panel_of(world, world.alice)

    asked = await world.alice.click(shown, label="Start over")
    question = asked.followups[-1].content
    still = await stored(world, world.alice)
    await world.alice.click(asked.followups[-1], label="Yes, start over")
    await world.house.trainer.run_round()

    assert question == start_over.SURE
    assert still == [(("👍",), None)]
    assert asked.followups[-1].content == start_over.STARTED_OVER
    assert await stored(world, world.alice) == [((), None)]
    store = world.house.store
    members = [store.member_id(panel.Who(world.guild.id, who.id)) for who in (world.alice, world.ben)]
    assert [await store.learning.head_of(member) is None for member in members] == [True, False]


async def test_somebody_who_withdrew_meanwhile_changes_nothing(world):
    await world.agree(world.alice)
    await world.alice.react(await world.ask(world.alice), "👍")
    shown = await panel_of(world, world.alice)
    await world.house.store.privacy.refuse(panel.Who(world.guild.id, world.alice.id))

    asked = await world.alice.click(shown, label="Start over")

    assert asked.followups[-1].content == NOT_AGREED


async def test_a_private_word_is_asked_for_after_a_dislike_kept_and_taken_back(world):
    await world.agree(world.alice)
    reply = await world.ask(world.alice)
    offered_before = labels_of(await panel_of(world, world.alice))
    await world.alice.react(reply, "👎")
    shown = await panel_of(world, world.alice)
    form = await world.alice.click(shown, label="Tell me what was wrong")
    fields = {select_id(form.modal): ["too long", "tone"], input_id(form.modal): "less of that please"}

    told = await world.alice.submit_modal(form, fields)
    after = (await panel_of(world, world.alice)).content
    await world.alice.click(told.response, label="Undo")

    assert "Tell me what was wrong" not in offered_before
    assert told.ephemeral and told.response.content == remarks.TAKEN_BACK
    assert "You told me what was wrong: too long, not my tone (“less of that please”)" in after
    assert "You told me" not in (await panel_of(world, world.alice)).content


async def test_a_private_word_about_a_reply_to_somebody_else_is_kept_and_taken_back(world):
    await world.agree(world.alice)
    await world.agree(world.ben)
    reply = await world.ask(world.alice)
    ben = Who(world.guild.id, world.ben.id)
    reply_id = await world.house.store.replies.of_message(reply.id)

    shown = await world.ben.context_menu(world.channel, "Rate this reply", reply)
    form = await world.ben.click(shown.response, label="Tell me what was wrong")
    told = await world.ben.submit_modal(
        form, {select_id(form.modal): ["tone"], input_id(form.modal): "less of that"}
    )
    kept = await world.house.store.remarks.of(ben, reply_id)
    await world.ben.click(told.response, label="Undo")

    assert kept == Remark(("tone",), "less of that")
    assert await world.house.store.remarks.of(ben, reply_id) is None


def labels_of(message) -> list[str]:
    return [part.get("label", "") for row in message.components for part in row["components"]]


def parts_of(modal) -> list[dict]:
    return [row["component"] for row in modal["components"]]


def select_id(modal) -> str:
    return next(part["custom_id"] for part in parts_of(modal) if part["type"] == 3)


def input_id(modal) -> str:
    return next(part["custom_id"] for part in parts_of(modal) if part["type"] == 4)


async def test_while_learning_is_paused_reactions_say_nothing_and_the_panel_says_so(world):
    await world.agree(world.alice)
    first = await world.ask(world.alice)
    await world.alice.react(first, "👍")
    shown = await panel_of(world, world.alice)
    await world.alice.click(shown, label="Pause learning")
    paused = (await panel_of(world, world.alice)).content
    second = await world.ask(world.alice)
    await world.alice.react(second, "👎")
    rated = await world.alice.slash(world.channel, "feedback", rating=1)
    meanwhile = await stored(world, world.alice)

    await world.alice.click(await panel_of(world, world.alice), label="Resume learning")
    await world.alice.react(second, "🎉")

    assert panel.PAUSED in paused
    assert rated.response.content == panel.PAUSED
    assert meanwhile == [(("👍",), None)]
    assert await stored(world, world.alice) == [(("👍",), None), (("🎉",), None)]
    assert panel.PAUSED not in (await panel_of(world, world.alice)).content
