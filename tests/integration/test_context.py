"""Context of a reply: the turns before the message, names, text files and pictures."""

from __future__ import annotations

from dataclasses import replace

from bot.generation import Context, Picture, Turn
from bot.messages.attachments import NO_PICTURES
from bot.messages.conversation import reads_as_note
from tests.integration.conftest import opened


async def test_a_name_with_a_backslash_does_no_harm(world):
    cheerful = world.guild.add_member(world.env.create_user("cheerful", global_name=r"hooray \o/ \g<9>"))

    reply = await world.ask(world.alice, f"what does <@{cheerful.id}> think?")

    assert reply.author.id == world.bot.me
    assert world.generator.contexts[-1].message == r"what does @hooray \o/ \g<9> think?"


async def test_the_context_names_the_bot_as_the_server_does(world):
    await world.ask(world.alice, "hello")
    before = world.generator.contexts[-1].name
    world.guild.me.nick = "Ada Lovelace"  # as the gateway tells it

    await world.ask(world.alice, "hello again")

    assert before == world.guild.me.name
    assert world.generator.contexts[-1].name == "Ada Lovelace"


async def test_notes_of_the_bot_are_no_turns(world):
    await world.alice.send(world.channel, f"<@{world.bot.me}>")

    await world.ask(world.alice, "hello")

    assert world.generator.contexts[-1] == Context("hello")


async def test_the_context_is_the_reply_chain(world):
    world.generator.enqueue("one")
    one = await world.ask(world.alice, "a question")
    world.generator.enqueue("unrelated")
    await world.ask(world.ben, "something else")
    world.generator.enqueue("two")

    await world.alice.send(world.channel, f"<@{world.bot.me}> go on", reply_to=one)

    assert world.generator.contexts[-1] == Context(
        "go on", (Turn("user", "a question"), Turn("assistant", "one"))
    )


async def test_the_context_is_else_what_was_said_lately_to_and_by_the_bot(world):
    world.generator.enqueue("one")
    await world.ask(world.alice, "a question")
    await world.ben.send(world.channel, "people talking")
    world.generator.enqueue("two")

    await world.ask(world.alice, "next")

    assert world.generator.contexts[-1] == Context(
        "next", (Turn("user", "a question"), Turn("assistant", "one"))
    )


async def test_other_channels_never_enter_the_context(world):
    elsewhere = world.guild.create_text_channel("elsewhere")
    await world.alice.send(elsewhere, f"<@{world.bot.me}> a secret")

    await world.ask(world.alice, "hello")

    assert world.generator.contexts[-1] == Context("hello")


async def test_a_text_file_is_part_of_the_words_here_and_in_what_follows(world):
    file = ("notes.txt", b"buy milk")
    world.generator.enqueue("one")
    await world.alice.send(world.channel, f"<@{world.bot.me}> what first?", attachments=[file])
    assert world.generator.contexts[-1] == Context("what first?\n\nnotes.txt:\nbuy milk")
    await world.ask(world.alice, "and then?")

    told = (Turn("user", "what first?\n\nnotes.txt:\nbuy milk"), Turn("assistant", "one"))
    assert world.generator.contexts[-1] == Context("and then?", told)


async def test_a_picture_is_a_friendly_note_where_the_model_cannot_read_it(world):
    picture = ("cat.png", b"\x89PNG\r\n\x1a\n")
    await world.alice.send(world.channel, f"<@{world.bot.me}>", attachments=[picture])
    assert world.channel.last_message.content == NO_PICTURES
    for _ in range(2):
        await world.alice.send(world.channel, f"<@{world.bot.me}> nice?", attachments=[picture])

    said = [message.content for message in world.channel.history() if message.author.id == world.bot.me]
    assert said.count(NO_PICTURES) == 2  # the second time with the answer, the third time not again
    assert world.generator.contexts == [
        Context("nice?"),
        Context("nice?", world.generator.contexts[-1].turns),
    ]


async def test_a_picture_alone_is_handed_to_a_model_that_reads_it(settings):
    picture = ("cat.png", b"\x89PNG\r\n\x1a\n")
    generator = replace(settings.generator, kind="openai", vision=True)
    async with opened(replace(settings, generator=generator)) as world:
        await world.alice.send(world.channel, f"<@{world.bot.me}>", attachments=[picture])

        assert world.generator.contexts == [Context("", (), (Picture("image/png", picture[1]),))]


LATER = "Words of a later version."


async def test_a_note_in_other_words_than_todays_is_no_turn(world, monkeypatch):
    monkeypatch.setitem(world.bot.get_cog("Chat")._nothing_to_answer.__globals__, "EMPTY", LATER)
    await world.alice.send(world.channel, f"<@{world.bot.me}>")
    assert world.channel.last_message.content == LATER

    await world.ask(world.alice, "hello")
    reported = await world.alice.context_menu(world.channel, "Report this reply", world.channel.history()[1])

    assert [turn.role for turn in world.generator.contexts[-1].turns if turn.role == "assistant"] == []
    assert reported.response.content == "You can only report my own replies to the managers of this server."


async def test_control_without_its_mark_the_note_is_a_turn(world, monkeypatch):
    monkeypatch.setitem(world.bot.get_cog("Chat")._nothing_to_answer.__globals__, "EMPTY", LATER)
    monkeypatch.setattr("bot.messages.turns.is_note", lambda message: reads_as_note(message.content))
    await world.alice.send(world.channel, f"<@{world.bot.me}>")

    await world.ask(world.alice, "hello")

    assert Turn("assistant", LATER) in world.generator.contexts[-1].turns
