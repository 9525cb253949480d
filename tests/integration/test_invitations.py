"""The invitation comes back twice and never after a no; a reaction before the yes is explained once."""

from __future__ import annotations

import discord
import pytest

from bot.languages import tr
from bot.messages.conversation import NOT_COUNTED, is_note
from bot.replies.consent import AGAIN_AFTER, Unanswered
from storage.records import Who
from tests.integration.conftest import World

INVITED = ["Learn what I like", "What is kept?", "No, thanks"]


def labels(message) -> list[str]:
    return [button.label for row in message.components for button in row.children]


def sent(world: World) -> int:
    return sum(event == "MESSAGE_CREATE" for _, event, *_ in world.env.backend.transcript)


async def invited_at(world: World, member, n: int) -> list[int]:
    """Let a member ask ``n`` times, and return the numbers of the replies that carry the invitation."""
    return [i for i in range(n) if labels(await world.ask(member)) == INVITED]


async def test_an_ignored_invitation_comes_back_after_five_and_after_fifty_replies_and_then_never(
    world, monkeypatch
):
    assert AGAIN_AFTER == (5, 50)
    monkeypatch.setattr("bot.replies.consent.AGAIN_AFTER", (5, 9))

    assert await invited_at(world, world.alice, 14) == [0, 5, 9]


def test_each_reply_is_counted_once_and_the_last_invitation_is_the_fiftieth():
    unanswered, who = Unanswered(), Who(1, 2)
    unanswered.begin(who)

    assert [n for n in range(1, 500) if unanswered.invites_again(who)] == list(AGAIN_AFTER)


@pytest.mark.parametrize("decision", ["No, thanks", "Learn what I like"])
async def test_after_a_decision_it_never_comes_back(world, decision):
    await world.alice.click(await world.ask(world.alice), label=decision)

    assert await invited_at(world, world.alice, 8) == []


async def test_a_no_to_the_second_invitation_is_final_as_well(world):
    for _ in range(5):
        await world.ask(world.alice)
    again = await world.ask(world.alice)
    await world.alice.click(again, label="No, thanks")
    world.house.store.tallies._tallies.clear()  # as after a restart

    assert await invited_at(world, world.alice, 8) == []


async def test_a_member_who_was_forgotten_is_not_asked_again(world):
    await world.ask(world.alice)
    await world.bot.privacy.forget(world.alice.id)

    assert await invited_at(world, world.alice, 8) == []


async def test_control_without_the_forgetting_of_invitations_a_forgotten_member_is_asked_again(
    world, monkeypatch
):
    monkeypatch.setattr(Unanswered, "forget", lambda *_: None)
    await world.ask(world.alice)
    await world.bot.privacy.forget(world.alice.id)

    assert await invited_at(world, world.alice, 8) == [4]


async def test_a_reply_that_discord_refused_is_not_counted(world, monkeypatch):
    def refuse(*_given, **_named):
        raise discord.HTTPException(type("Response", (), {"status": 500, "reason": "no"})(), "no")

    with monkeypatch.context() as patched:
        patched.setattr("bot.cogs.chat.delivery.post_reply", refuse)
        await world.alice.send(world.channel, f"<@{world.bot.me}> hello")

    assert await invited_at(world, world.alice, 7) == [0, 5]


async def test_a_reaction_before_the_yes_is_explained_once_with_the_invitation(world):
    first, second = await world.ask(world.alice), await world.ask(world.alice)
    n_before = sent(world)
    await world.alice.react(first, "👍")
    await world.alice.react(first, "❤️")
    await world.alice.react(second, "👎")
    note = world.channel.last_message
    heard = await world.ask(world.alice)

    assert sent(world) == n_before + 3  # the note, a question and its answer
    assert note.content == NOT_COUNTED and is_note(note)
    assert labels(note) == INVITED
    assert note.reference.message_id == first.id
    assert all(NOT_COUNTED not in turn.text for turn in world.generator.contexts[-1].turns)
    await world.alice.click(note, label="Learn what I like")
    reply = await world.ask(world.alice)
    await world.alice.react(reply, "👍")
    assert world.channel.last_message.id == reply.id != heard.id


async def test_only_reactions_of_the_undecided_asker_are_explained(world):
    to_alice = await world.ask(world.alice)
    await world.ben.react(to_alice, "👍")  # not the asker
    assert world.channel.last_message.id == to_alice.id

    await world.alice.click(to_alice, label="No, thanks")
    await world.alice.react(to_alice, "👍")
    assert world.channel.last_message.id == to_alice.id

    to_ben = await world.ask(world.ben)
    await world.bot.privacy.forget(world.ben.id)
    await world.ben.react(to_ben, "👍")
    assert world.channel.last_message.id == to_ben.id


async def test_while_the_bot_is_paused_nothing_is_explained(world):
    reply = await world.ask(world.alice)
    await world.bot.pausing.pause(True)
    await world.alice.react(reply, "👍")

    assert world.channel.last_message.id == reply.id
    assert tr(NOT_COUNTED) == NOT_COUNTED
