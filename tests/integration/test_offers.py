"""What taste offers to the writer, through Discord: shown in ``/feedback`` and switched off there."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from bot.config import Settings
from bot.replies.offers import EXAMPLES, offered_in
from bot.ui.style_panel import STAYS_OFF
from bot.ui.taste_text import LIKE_THOSE, SWITCHED_OFF, offer_called
from storage.members.wishes import Wish
from storage.records import Who
from tests.integration.conftest import World, opened, shapeless

LIKED = tuple(
    f"{text} 😀" for text in ("No.", "Sure thing.", "Tea, please.", "Maybe later.", "Blue.", "At noon.")
)
DISLIKED = ("Not today.", "By train.", "In May.", "Some cake, then.", "Green.", "After lunch.")


@pytest.fixture
async def world(settings: Settings):
    async with opened(shapeless(settings)) as world:
        yield world


async def teach(world: World, member, *, likes=LIKED, dislikes=DISLIKED) -> dict[str, int]:
    """Let a member like and dislike replies, and train; return the message of each reply."""
    await world.agree(member)
    posted = {}
    for text in (text for pair in zip(likes, dislikes, strict=True) for text in pair):
        world.generator.enqueue(text)
        reply = await world.ask(member)
        await member.react(reply, "👍" if text in likes else "👎")
        posted[text] = reply.id
    await world.house.trainer.run_round()
    return posted


ASKED = 3
"""Replies that are asked for, because seats are dealt by chance."""


async def seats(world: World, member) -> list[tuple[str | None, bool]]:
    """Return what the seats of the member's next replies hold: the learnt wish, and whether examples."""
    for _ in range(ASKED):
        await world.ask(member)
    return [offered_in(style.name) for styles in world.generator.styles[-ASKED:] for style in styles]


PLAIN = [(None, False)] * 4 * ASKED


def prompts(world: World) -> str:
    """Return the instructions of these replies."""
    return "\n".join(style.instruction for styles in world.generator.styles[-ASKED:] for style in styles)


async def quoted(world: World) -> list[str]:
    """Return the examples of the next replies to Alice."""
    await seats(world, world.alice)
    return [text for text in LIKED if f'"{text}"' in prompts(world)]


async def test_what_is_learnt_changes_some_candidates_and_is_shown_and_switched_off(world):
    await teach(world, world.alice)
    who = Who(world.guild.id, world.alice.id)

    found = await seats(world, world.alice)
    assert "emoji" in [wish for wish, _ in found]
    assert (None, False) in found
    shown = await world.alice.slash(world.channel, "feedback")
    assert offer_called("emoji") in shown.response.content
    assert "simpatico:learnt:" in str(shown.response.components)

    await world.alice.select(shown.response, [], custom_id=learnt_id(shown.response))
    wish = await world.house.store.wishes.of(who)
    assert {"emoji", EXAMPLES} <= set(wish.unwanted)
    assert SWITCHED_OFF.partition("{")[0] in shown.response.content
    assert await seats(world, world.alice) == PLAIN

    await world.alice.select(shown.response, list(wish.unwanted), custom_id=learnt_id(shown.response))
    assert await world.house.store.wishes.of(who) == Wish()
    assert "emoji" in [wish for wish, _ in await seats(world, world.alice)]


async def test_feedback_and_the_file_say_how_sure_the_bot_is_of_what_is_sure_enough(world):
    await teach(world, world.alice)
    who, offers = Who(world.guild.id, world.alice.id), world.house.parts.responder.offers
    learnt = (await offers.known(who)).wishes

    def told(shown) -> list[str]:
        return [line for line in shown.response.content.splitlines() if "% sure" in line]

    shown = await world.alice.slash(world.channel, "feedback")
    expected = [(one.percent, offer_called(one.name)) for one in learnt if one.is_sure]
    assert told(shown) == [
        f"• I am {percent} % sure that you like this: {called}" for percent, called in expected
    ]
    assert offer_called("emoji") in [called for _, called in expected]
    file = await world.alice.slash(world.channel, "my-data")
    (server,) = json.loads(await file.response.attachments[0].read())["servers"]
    assert server["heads"][0]["sure_of"] == {one.name: one.percent for one in learnt}

    await world.alice.select(shown.response, [], custom_id=learnt_id(shown.response))
    assert len(told(shown)) == len(expected)  # what is switched off is still known
    asked = await world.alice.click(shown.response, label="Start over")
    await world.alice.click(asked.followups[0], label="Yes, start over")
    assert (await offers.known(who)).wishes == ()
    await world.agree(world.ben)
    assert (await offers.known(Who(world.guild.id, world.ben.id))).wishes == ()


def learnt_id(message) -> str:
    return next(
        child["custom_id"]
        for row in message.components
        for child in (row if isinstance(row, dict) else row.to_dict())["components"]
        if child["custom_id"].startswith("simpatico:learnt:")
    )


async def test_liked_replies_of_this_member_alone_stand_as_examples(world):
    await teach(world, world.alice)
    await world.agree(world.ben)

    found = await seats(world, world.alice)
    told = prompts(world)
    others = await seats(world, world.ben)

    assert any(examples for _, examples in found)
    assert len([text for text in LIKED if f'"{text}"' in told]) == 2
    assert not any(text in told for text in DISLIKED)
    assert others == PLAIN
    assert not any(text in prompts(world) for text in LIKED)


async def test_a_wish_of_style_overrides_what_is_learnt_on_its_axis(world):
    await teach(world, world.alice)

    shown = await world.alice.slash(world.channel, "style")
    await world.alice.select(shown.response, ["no-emoji"], custom_id="simpatico:style-presets")
    found = await seats(world, world.alice)
    assert not any(wish == "emoji" for wish, _ in found)
    assert all(style.instruction.endswith("Never use emoji.") for style in world.generator.styles[-1])

    await world.alice.slash(world.channel, "style", words="like an old sailor")
    assert await seats(world, world.alice) == PLAIN
    page = await world.alice.slash(world.channel, "style")
    await world.alice.click(page.response, label="Clear")
    assert "emoji" in [wish for wish, _ in await seats(world, world.alice)]


async def test_clear_in_style_leaves_what_is_switched_off(world):
    await teach(world, world.alice)
    shown = await world.alice.slash(world.channel, "feedback")
    await world.alice.select(shown.response, [], custom_id=learnt_id(shown.response))
    page = await world.alice.slash(world.channel, "style")
    await world.alice.select(page.response, ["warm"], custom_id="simpatico:style-presets")

    await world.alice.click(page.response, label="Clear")

    assert await seats(world, world.alice) == PLAIN
    assert STAYS_OFF in page.response.content
    wish = await world.house.store.wishes.of(Who(world.guild.id, world.alice.id))
    await world.alice.select(shown.response, list(wish.unwanted), custom_id=learnt_id(shown.response))
    again = await world.alice.slash(world.channel, "style")
    assert STAYS_OFF not in again.response.content


async def test_a_copy_of_an_example_is_dropped_while_a_better_candidate_is_left(world):
    await teach(world, world.alice)
    example = (await quoted(world))[0]

    world.generator.enqueue(example, "Something new for you.", example.upper())

    assert (await world.ask(world.alice)).content == "Something new for you."


async def test_what_was_undone_deleted_or_expired_is_no_example(world, monkeypatch):
    posted = await teach(world, world.alice)
    who, store = Who(world.guild.id, world.alice.id), world.house.store
    first, second = await quoted(world)

    (undone,) = [one for one in (await store.feedback.summary(who, 40)).latest if one.text == first]
    await store.feedback.undo(who, undone.reply_id)
    assert first not in await quoted(world)

    world.env.backend.delete_message(world.channel.id, posted[second])
    await world.env.settle()
    left = await quoted(world)
    assert left and not {first, second} & set(left)

    monkeypatch.setattr(store.replies, "_retention", timedelta(0))
    await store.replies.expire_texts()
    assert await quoted(world) == []


async def test_a_withdrawal_ends_every_offer_and_a_new_consent_brings_none_back(world):
    await teach(world, world.alice)
    shown = await world.alice.slash(world.channel, "privacy")
    asked = await world.alice.click(shown.response, label="Stop learning here")
    await world.alice.click(asked.followups[0], label="Stop and delete what is kept here")

    assert await seats(world, world.alice) == PLAIN
    await world.agree(world.alice)
    assert await seats(world, world.alice) == PLAIN


def test_every_offer_has_a_text():
    assert offer_called(EXAMPLES) == LIKE_THOSE
