"""Reactions and ratings through Discord, and what is stored of them."""

from __future__ import annotations

import pytest

from bot.ui import feedback_panel as panel
from bot.ui.components import NOT_AGREED
from bot.ui.feedback_text import NO_REPLY
from storage.records import DIRECT_MESSAGES, Who


def who(world, member) -> Who:
    return Who(world.guild.id, member.id)


async def stored(world, member) -> list[tuple[tuple[str, ...], int | None]]:
    """Read a member's stored feedback: (reactions, rating) per reply, in order."""
    member_id = world.house.store.member_id(who(world, member))
    rows = (await world.house.store.learning.feedback_of([member_id])).get(member_id, [])
    return [(row.reactions, row.rating) for row in rows]


async def test_a_reaction_is_stored_and_taken_back(world):
    await world.agree(world.alice)
    reply = await world.ask(world.alice)

    await world.alice.react(reply, "👍")
    added = await stored(world, world.alice)
    await world.alice.unreact(reply, "👍")
    removed = await stored(world, world.alice)
    await world.alice.react(reply, "👍")
    again = await stored(world, world.alice)

    assert added == [(("👍",), None)]
    assert [row for row in removed if row[0]] == []
    assert again == [(("👍",), None)]


async def test_nothing_is_stored_before_consent(world):
    reply = await world.ask(world.alice)

    await world.alice.react(reply, "👍")

    assert await world.house.store.replies.of_message(reply.id) is None
    assert await stored(world, world.alice) == []


async def test_a_reaction_moves_only_who_gave_it(world):
    await world.agree(world.alice)
    await world.agree(world.ben)
    reply = await world.ask(world.alice)

    await world.ben.react(reply, "👎")

    assert await stored(world, world.alice) == []
    assert await stored(world, world.ben) == [(("👎",), None)]


async def test_a_stranger_without_consent_leaves_no_trace(world):
    await world.agree(world.alice)
    reply = await world.ask(world.alice)

    await world.ben.react(reply, "👎")

    assert await stored(world, world.ben) == []


@pytest.mark.parametrize(("given", "kept"), [("👍🏽", "👍🏽"), ("❤️", "❤"), ("❤", "❤")])
async def test_variation_selectors_are_left_out(world, given, kept):
    await world.agree(world.alice)
    reply = await world.ask(world.alice)

    await world.alice.react(reply, given)

    assert await stored(world, world.alice) == [((kept,), None)]


async def test_each_skin_tone_is_taken_back_by_itself(world):
    await world.agree(world.alice)
    reply = await world.ask(world.alice)
    await world.alice.react(reply, "👍")
    await world.alice.react(reply, "👍🏽")

    await world.alice.unreact(reply, "👍🏽")

    assert await stored(world, world.alice) == [(("👍",), None)]


async def test_a_custom_emoji_that_was_renamed_is_taken_back(world):
    await world.agree(world.alice)
    reply = await world.ask(world.alice)
    payload = {
        "user_id": str(world.alice.id),
        "channel_id": str(world.channel.id),
        "message_id": str(reply.id),
        "guild_id": str(world.guild.id),
        "burst": False,
        "type": 0,
    }
    world.env.backend.emit("MESSAGE_REACTION_ADD", payload | {"emoji": {"id": "77", "name": "yay"}})
    await world.env.settle()
    added = await stored(world, world.alice)

    world.env.backend.emit("MESSAGE_REACTION_REMOVE", payload | {"emoji": {"id": "77", "name": None}})
    await world.env.settle()

    assert added == [((":77",), None)]
    assert [row for row in await stored(world, world.alice) if row[0]] == []


async def test_custom_emoji_are_kept_by_id_and_unknown_ones_do_no_harm(world):
    await world.agree(world.alice)
    reply = await world.ask(world.alice)
    emoji = world.guild.create_emoji("blobcheer")

    await world.alice.react(reply, f"blobcheer:{emoji.id}")
    await world.alice.react(reply, "🫥")

    assert await stored(world, world.alice) == [((f":{emoji.id}", "🫥"), None)]


async def test_a_reaction_on_any_chunk_counts_for_the_reply(world):
    await world.agree(world.alice)
    world.generator.enqueue(" ".join(f"This is sentence {n}." for n in range(150)))
    await world.ask(world.alice)
    chunks = [m for m in world.channel.history() if m.author.id == world.bot.me]

    await world.alice.react(min(chunks, key=lambda m: m.id), "👍")

    assert len(chunks) == 2
    assert await stored(world, world.alice) == [(("👍",), None)]


async def test_cleared_reactions_are_gone_for_everybody(world):
    await world.agree(world.alice)
    await world.agree(world.ben)
    reply = await world.ask(world.alice)
    for member in (world.alice, world.ben):
        await member.react(reply, "👍")
        await member.react(reply, "👎")

    world.env.backend.clear_reaction(world.channel.id, reply.id, "👎")
    await world.env.settle()
    after_one = [await stored(world, member) for member in (world.alice, world.ben)]
    world.env.backend.clear_reactions(world.channel.id, reply.id)
    await world.env.settle()
    after_all = [await stored(world, member) for member in (world.alice, world.ben)]

    assert after_one == [[(("👍",), None)]] * 2
    assert all(row[0] == () for rows in after_all for row in rows)


@pytest.mark.parametrize("in_bulk", [False, True])
async def test_a_deleted_reply_takes_its_feedback_along(world, in_bulk):
    await world.agree(world.alice)
    reply = await world.ask(world.alice)
    other = await world.alice.send(world.channel, "unrelated")
    await world.alice.react(reply, "👍")

    if in_bulk:
        world.env.backend.bulk_delete_messages(world.channel.id, [reply.id, other.id])
    else:
        world.env.backend.delete_message(world.channel.id, reply.id)
    await world.env.settle()

    assert await stored(world, world.alice) == []
    assert await world.house.store.replies.of_message(reply.id) is None


async def test_feedback_rates_the_last_reply_shows_it_and_undoes_it(world):
    await world.agree(world.alice)
    world.generator.enqueue("the last reply")
    await world.ask(world.alice)

    shown = await world.alice.slash(world.channel, "feedback", rating=4)
    rated, told = await stored(world, world.alice), shown.response.content
    undone = await world.alice.click(shown.response, label="Undo")

    assert shown.ephemeral
    assert "> the last reply" in told
    assert "Your rating: 4 of 5" in told
    assert rated == [((), 4)]
    assert "Your rating: none yet" in shown.response.content
    assert [row for row in await stored(world, world.alice) if row[1]] == []
    assert undone.acknowledged


async def test_feedback_without_a_rating_offers_the_stars(world):
    await world.agree(world.alice)
    reply = await world.ask(world.alice)
    await world.alice.react(reply, "👍")

    shown = await world.alice.slash(world.channel, "feedback")
    await world.alice.click(shown.response, label="★★")

    assert "Your reactions: 👍" in shown.response.content
    assert await stored(world, world.alice) == [(("👍",), 2)]


async def test_the_message_menu_rates_any_reply(world):
    await world.agree(world.alice)
    await world.agree(world.ben)
    reply = await world.ask(world.alice)
    await world.ask(world.alice)

    shown = await world.ben.context_menu(world.channel, "Rate this reply", reply)
    await world.ben.click(shown.response, label="★★★★★")

    assert await stored(world, world.ben) == [((), 5)]
    assert await stored(world, world.alice) == []


async def test_a_star_on_a_reply_to_somebody_else_is_taken_back(world):
    await world.agree(world.alice)
    await world.agree(world.ben)
    reply = await world.ask(world.alice)

    shown = await world.ben.context_menu(world.channel, "Rate this reply", reply)
    await world.ben.click(shown.response, label="★★★★★")
    thanked = shown.response.content
    await world.ben.click(shown.response, label="Undo")

    assert (thanked, shown.response.content) == (panel.THANKS, panel.UNRATED)
    assert await stored(world, world.ben) == []


async def test_feedback_before_consent_stores_nothing_and_says_why(world):
    await world.ask(world.alice)

    shown = await world.alice.slash(world.channel, "feedback", rating=5)

    assert shown.response.content == NOT_AGREED
    assert await stored(world, world.alice) == []


async def test_feedback_without_a_reply_says_so(world):
    await world.agree(world.alice)

    shown = await world.alice.slash(world.channel, "feedback")

    assert shown.response.content.startswith(NO_REPLY)


async def test_rating_a_message_that_is_no_reply_says_so(world):
    await world.agree(world.alice)
    message = await world.alice.send(world.channel, "just talk")

    shown = await world.alice.context_menu(world.channel, "Rate this reply", message)

    assert shown.response.content == NO_REPLY


async def test_direct_messages_are_a_server_of_their_own(world):
    await world.alice.send_dm("hello")
    shown = await world.alice.user.slash("privacy")
    await world.alice.user.click(shown.response, label="Learn what I like")
    await world.alice.send_dm("hello again")
    reply = world.alice.user.dm_channel.last_message

    await world.alice.user.set_reaction(reply, "👍", reacted=True)

    in_private = world.house.store.member_id(Who(DIRECT_MESSAGES, world.alice.id))
    assert [
        row.reactions for row in (await world.house.store.learning.feedback_of([in_private]))[in_private]
    ] == [("👍",)]
    assert await stored(world, world.alice) == []
