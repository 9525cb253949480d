"""What a message says in words: calls by role or by reply, forwards, embeds, stickers, polls, markup."""

from __future__ import annotations

import pytest
from simcord.backend.models.message import MessageSticker, Poll, PollAnswer

from bot.generation import Context
from bot.messages.attachments import NO_VOICE
from bot.messages.conversation import EMPTY, UNREADABLE_PARENT, UNREADABLE_ROLE
from tests.integration.conftest import opened


@pytest.fixture
async def world(with_bot):
    """A server whose messages the bot may read."""
    async with opened(with_bot(message_content=True)) as world:
        yield world


def own_role(world):
    """The role that Discord manages for the bot."""
    me = world.env.bot.get_guild(world.guild.id).me
    return next(role for role in me.roles if role.managed)


async def create(world, who, content="", **parts):
    """Send a message with parts that members' clients add."""
    backend = world.env.backend
    backend.create_message(world.channel.id, who.id, content, **parts)
    world.env._mark_mutation()
    await world.env.settle()


def asked(world) -> list[str]:
    return [context.message for context in world.generator.contexts]


def notes(world) -> list[str]:
    return [one.content for one in world.channel.history() if one.author.id == world.bot.me]


async def test_pinging_the_own_role_of_the_bot_is_calling_it(world):
    await world.alice.send(world.channel, f"<@&{own_role(world).id}> hello")

    assert world.generator.contexts == [Context("hello")]


async def test_pinging_another_role_is_not_calling_the_bot(world):
    role = world.guild.create_role("team")
    await world.alice.send(world.channel, f"<@&{role.id}> hello")

    assert world.generator.contexts == []


@pytest.mark.parametrize("history", [0, 10])
async def test_a_bare_mention_as_a_reply_asks_what_it_replies_to(with_bot, history):
    async with opened(with_bot(message_content=True, history_messages=history)) as world:
        question = await world.ben.send(world.channel, "why is the sky blue?")
        await world.alice.send(world.channel, f"<@{world.bot.me}>", reply_to=question)

        assert world.generator.contexts == [Context("why is the sky blue?")]


async def test_where_discord_hides_the_words_a_note_says_what_to_do(settings):
    async with opened(settings) as world:
        question = await world.ben.send(world.channel, "why is the sky blue?")
        await world.alice.send(world.channel, f"<@{world.bot.me}>", reply_to=question)
        await world.ben.send(world.channel, f"<@&{own_role(world).id}> hello")

        assert asked(world) == [] and sorted(notes(world)) == sorted([UNREADABLE_PARENT, UNREADABLE_ROLE])


async def test_a_bare_ping_of_the_role_as_a_reply_asks_what_it_replies_to(world):
    question = await world.ben.send(world.channel, "why is the sky blue?")
    await world.alice.send(world.channel, f"<@&{own_role(world).id}>", reply_to=question)

    assert asked(world) == ["why is the sky blue?"]


async def test_a_bare_reply_to_the_bot_or_to_nothing_gets_one_note(world):
    answer = await world.ask(world.alice, "hello")
    empty = await world.ben.send(world.channel, "\u200b")
    for target in (answer, answer, answer):
        await world.alice.send(world.channel, f"<@{world.bot.me}>", reply_to=target)

    assert asked(world) == ["hello"] and empty
    assert notes(world).count(EMPTY) == 1


async def test_a_forwarded_message_is_read(world):
    elsewhere = world.guild.create_text_channel("elsewhere")
    source = await world.ben.send(elsewhere, "the meeting is at nine")
    forwarded = await world.alice.forward(source, world.channel)
    await world.alice.send(world.channel, f"<@{world.bot.me}>", reply_to=forwarded)

    assert asked(world) == ["(forwarded message) the meeting is at nine"]


PARTS = {
    "sticker": ({"stickers": [MessageSticker(5, "Wave", 1, 0)]}, "(sticker) Wave"),
    "embed": (
        {"embeds": [{"type": "rich", "title": "News", "description": "It rains.", "fields": []}]},
        "(embed) News\nIt rains.",
    ),
    "poll": (
        {"poll": Poll("Tea?", [PollAnswer(1, "Yes"), PollAnswer(2, "No")], "2027-01-01T00:00:00+00:00")},
        "(poll) Tea? Yes; No",
    ),
}


@pytest.mark.parametrize("kind", PARTS)
async def test_what_a_message_holds_is_read(world, kind):
    parts, words = PARTS[kind]
    await create(world, world.ben, **parts)
    held = world.channel.last_message
    await world.alice.send(world.channel, f"<@{world.bot.me}>", reply_to=held)

    assert asked(world) == [words]


async def test_a_voice_message_gets_one_note_an_hour(world):
    for _ in range(5):
        await world.alice.send(
            world.channel, f"<@{world.bot.me}>", attachments=[("voice-message.ogg", b"OggS")]
        )

    assert asked(world) == [] and notes(world) == [NO_VOICE]


MARKUP = {
    "<:blob:123456> hi": ":blob: hi",
    "<a:dance:123456>": ":dance:",
    "at <t:1700000000>": "at 2023-11-14 22:13 UTC",
    "at <t:1700000000:R>": "at 2023-11-14 22:13 UTC",
    "on <t:1700000000:D>": "on 2023-11-14",
    "at <t:1700000000:t>": "at 22:13 UTC",
    "at <t:99999999999999>": "at <t:99999999999999>",
    "use </help me:123>": "use /help me",
    "see <id:guide>": "see guide",
    "in <#1>": "in #unknown",
    "ask <@&1>": "ask @unknown-role",
    "a <b> c < d": "a <b> c < d",
}


async def test_markup_is_read_as_discord_shows_it(world):
    for markup in MARKUP:
        await world.ask(world.alice, markup)

    assert asked(world) == list(MARKUP.values())


async def test_channels_and_roles_are_read_by_name(world):
    role, place = world.guild.create_role("team"), world.guild.create_text_channel("lounge")
    await world.ask(world.alice, f"<@&{role.id}> meets in <#{place.id}>")

    assert asked(world) == ["@team meets in #lounge"]


async def test_another_answer_to_a_bare_reply_answers_the_same_question(world):
    question = await world.ben.send(world.channel, "why is the sky blue?")
    world.generator.enqueue("one")
    await world.alice.send(world.channel, f"<@{world.bot.me}>", reply_to=question)
    world.generator.enqueue("two")
    await world.alice.context_menu(world.channel, "Another answer", world.channel.last_message)

    assert asked(world) == ["why is the sky blue?"] * 2
    assert sorted(notes(world)) == ["one", "two"]
