"""Who said what in a conversation, what it began with, and where it ends.

Names reach the language model bounded, on one line and never as a role. A thread begins with its title, its
tags and its first message. After a pause, a message that replies to nothing begins a new conversation.
"""

from __future__ import annotations

import pytest
from simcord.backend import serializers

from bot.generation import Context, Turn
from bot.generators.prompt import messages_of
from bot.messages import turns
from bot.messages.turns import UNNAMED, name_of
from tests.integration.conftest import opened

HONEST = {
    "alice": "alice",
    "Ana María": "Ana María",
    "हिन्दी": "हिन्दी",
    "田中さん": "田中さん",
    "O'Neil-Smith": "O'Neil-Smith",
    "✨ Luna ✨": "Luna",
    "xX_Dragon_Xx": "xX Dragon Xx",
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_name_stays_as_members_see_it(name):
    assert name_of(name) == HONEST[name]


def test_two_members_of_one_name_are_told_apart_and_nobody_has_the_name_of_the_bot():
    assert name_of("Alex", ["Simpatico", "Alex"]) == "Alex 2"
    assert name_of("alex", ["Alex", "Alex 2"]) == "alex 3"
    assert name_of("SIMPATICO", ["Simpatico"]) != "SIMPATICO"
    assert name_of("", [UNNAMED]) == f"{UNNAMED} 2"


async def test_every_member_is_named_once_several_talk(world):
    world.generator.enqueue("about cats")
    await world.ask(world.alice, "tell me about cats")
    alone = world.generator.contexts[-1]
    world.generator.enqueue("about trains")
    await world.ask(world.ben, "tell me about trains")
    await world.ask(world.alice, "and how old do they get?")

    assert alone == Context("tell me about cats")
    assert world.generator.contexts[-1] == Context(
        "and how old do they get?",
        (
            Turn("user", "alice: tell me about cats"),
            Turn("assistant", "about cats"),
            Turn("user", "ben: tell me about trains"),
            Turn("assistant", "about trains"),
        ),
        speaker="alice",
    )
    assert messages_of("", world.generator.contexts[-1])[-1]["content"] == "alice: and how old do they get?"
    assert world.generator.contexts[-1].message == "and how old do they get?"  # as it is ranked and looked up


async def test_names_are_those_of_the_server(world):
    cleo = world.guild.add_member(world.env.create_user("cleo", global_name="Cleo"), nick="The Queen")
    await world.ask(cleo, "hi")
    await world.ask(world.alice, "hello")

    assert world.generator.contexts[-1].turns[0] == Turn("user", "The Queen: hi")


async def test_each_answer_stands_behind_its_question(world):
    asked = [
        world.env.backend.create_message(world.channel.id, who.id, f"<@{world.bot.me}> {text}")
        for who, text in ((world.alice, "cats?"), (world.ben, "trains?"))
    ]
    for question, text in zip(asked, ("meow", "choo"), strict=True):
        world.env.backend.create_message(
            world.channel.id,
            world.bot.me,
            text,
            reference={"channel_id": str(world.channel.id), "message_id": str(question.id)},
        )
    world.env._mark_mutation()
    await world.env.settle()
    await world.ask(world.alice, "go on")

    said = [turn.text for turn in world.generator.contexts[-1].turns]
    assert said.index("meow") == said.index("alice: cats?") + 1
    assert said.index("choo") == said.index("ben: trains?") + 1


async def test_control_without_names_members_cannot_be_told_apart(world, monkeypatch):
    monkeypatch.setattr("bot.messages.context_reader.names_in", lambda *_args, **_options: {})
    await world.ask(world.alice, "cats")
    await world.ask(world.ben, "trains")

    assert not any("alice" in turn.text for turn in world.generator.contexts[-1].turns)


PAUSES = {1: True, 14: True, 16: False, 59: False}


@pytest.mark.parametrize("linked", [False, True])
async def test_after_a_pause_a_message_without_a_reply_link_begins_afresh(world, linked):
    for minutes, goes_on in PAUSES.items():
        channel, call = world.guild.create_text_channel(f"after-{minutes}"), f"<@{world.bot.me}>"
        await world.alice.send(channel, f"{call} tell me about cats")
        answer = channel.last_message
        await world.env.advance_time(minutes * 60)
        await world.alice.send(channel, f"{call} and the old ones?", reply_to=answer if linked else None)

        assert bool(world.generator.contexts[-1].turns) == (linked or goes_on)


async def test_the_pause_is_measured_between_neighbours(world):
    for number in range(4):
        await world.ask(world.alice, f"part {number}")
        await world.env.advance_time(10 * 60)
    await world.ask(world.alice, "and now?")

    assert [turn.text for turn in world.generator.contexts[-1].turns if turn.role == "user"] == [
        f"part {number}" for number in range(4)
    ]


def thread_of(world, name: str, *, start=None, kind: str = "thread", tags=()):
    """Create a thread or a forum post, in which ``start`` is the first message."""
    backend = world.env.backend
    if kind == "forum post":
        forum = backend.get_channel(world.guild.create_forum_channel("questions").id)
        forum.available_tags = [
            {"id": str(n + 1), "name": tag, "moderated": False, "emoji_id": None, "emoji_name": None}
            for n, tag in enumerate(tags)
        ]
        backend.emit("CHANNEL_UPDATE", dict(serializers.channel_payload(backend, forum)))
        thread = backend.create_thread(forum.id, name, world.ben.id, applied_tags=range(1, len(tags) + 1))
        if start is not None:
            first = backend.create_message(thread.id, world.ben.id, start)
            del backend.messages[thread.id][first.id]
            first.id = thread.id
            backend.messages[thread.id][first.id] = first
        parent = forum.id
    else:
        first_id = None if start is None else start.id
        thread = backend.create_thread(world.channel.id, name, world.ben.id, message_id=first_id)
        parent = world.channel.id
    handle = world.guild.channels["questions"] if kind == "forum post" else world.channel
    assert handle.id == parent
    return next(one for one in handle.threads if one.id == thread.id)


async def asked_in(world, thread, text: str = "what do you think?") -> Context:
    await world.alice.send(thread, f"<@{world.bot.me}> {text}")
    return world.generator.contexts[-1]


@pytest.fixture
async def reading(with_bot):
    """A server whose messages the bot may read."""
    async with opened(with_bot(message_content=True)) as world:
        yield world


@pytest.mark.parametrize("tags", [(), ("help",), ("help", "colours")])
async def test_in_a_forum_post_the_bot_knows_title_tags_and_first_message(reading, tags):
    thread = thread_of(reading, "Which paint?", start="My wall is red.", kind="forum post", tags=tags)
    context = await asked_in(reading, thread)

    shown = f" [{', '.join(tags)}]" if tags else ""
    assert context.turns == (Turn("user", f"(forum post) Which paint?{shown}\nben: My wall is red."),)
    assert (context.message, context.speaker) == ("what do you think?", "alice")


async def test_in_a_thread_the_bot_knows_the_message_it_began_with(reading):
    start = await reading.ben.send(reading.channel, "The train is late again.")
    context = await asked_in(reading, thread_of(reading, "Trains", start=start))

    assert context.turns == (Turn("user", "(thread) Trains\nben: The train is late again."),)


async def test_a_thread_from_an_answer_of_the_bot_begins_with_it(reading):
    reading.generator.enqueue("Trains are nice.")
    start = await reading.ask(reading.alice, "tell me")
    context = await asked_in(reading, thread_of(reading, "Trains", start=start))

    assert context.turns == (Turn("user", "(thread) Trains"), Turn("assistant", "Trains are nice."))


async def test_a_thread_without_a_first_message_or_with_a_deleted_one_has_its_title(reading):
    start = await reading.ben.send(reading.channel, "gone soon")
    thread = thread_of(reading, "Trains", start=start)
    await reading.ben.delete(start)

    assert (await asked_in(reading, thread)).turns == (Turn("user", "(thread) Trains"),)
    assert (await asked_in(reading, thread_of(reading, "Boats"))).turns == (Turn("user", "(thread) Boats"),)


async def test_the_first_message_stays_however_long_the_talk_and_the_pause_are(reading):
    start = await reading.ben.send(reading.channel, "The train is late again." + " x" * 900)
    thread = thread_of(reading, "Trains", start=start)
    for number in range(9):
        await asked_in(reading, thread, f"part {number}")
    await reading.env.advance_time(30 * 60)
    context = await asked_in(reading, thread)

    assert context.turns[0].text.startswith("(thread) Trains\nben: The train is late again.")
    assert len(context.turns[0].text) < turns.LONGEST_START + 100
    assert any("part 8" in turn.text for turn in context.turns[1:])


async def test_a_first_message_that_calls_the_bot_stands_once(reading):
    start = await reading.ben.send(reading.channel, f"<@{reading.bot.me}> late trains?")
    thread = thread_of(reading, "Trains", start=start)
    await asked_in(reading, thread)
    context = await asked_in(reading, thread, "and now?")

    assert sum("late trains?" in turn.text for turn in context.turns) == 1


async def test_a_first_message_by_a_denied_member_stays_out(with_bot):
    async with opened(with_bot(message_content=True)) as world:
        start = await world.ben.send(world.channel, "words of a denied member")
        thread = thread_of(world, "words of a denied member", start=start)
        deny = type(world.bot.settings.deny)(members=(world.ben.id,))
        world.bot.use_settings(type(world.bot.settings)(message_content=True, deny=deny))

        assert (await asked_in(world, thread)).turns == ()


def test_the_speaker_is_a_part_of_every_prompt():
    context = Context("hello", (Turn("user", "ben: hi"),), speaker="alice")
    assert messages_of("", context)[-1]["content"].endswith("alice: hello")
