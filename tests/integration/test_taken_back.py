"""A question that is taken back never gets an answer, and one that is edited gets an answer to its new words.

It is taken back in every way and at every moment: while it waits behind another one, while its answer is
written, and just before the answer is posted. Controls: a bot that follows no event answers what is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import discord
import pytest

from bot.app.playground import _Detached
from bot.messages import bursts
from bot.messages.conversation import EMPTY
from bot.messages.posting import PromptGone
from storage.records import Who
from tests.integration.conftest import World, opened
from tests.rig.waiting import until

FIRST = "a question before it"
GONE = "a question that is taken back"
LATER = "a question after it"


@asynccontextmanager
async def held(settings, **bot) -> AsyncIterator[World]:
    """Open a world whose answers wait for the gate of its generator; simcord does not wait for them."""
    async with _Detached() as home, opened(settings, spawn=home.spawn) as world:
        world.generator.gate = asyncio.Event()
        try:
            yield world
        finally:
            world.generator.gate.set()
            await world.bot.queues.wait_idle()


async def ask(world: World, text: str, *, who=None, channel=None, **options) -> discord.Message:
    """Mention the bot, and return the question."""
    who, channel = who or world.alice, channel or world.channel
    return await who.send(channel, f"<@{world.bot.me}> {text}".strip(), **options)


async def finish(world: World) -> None:
    """Let the answers go, and wait for them."""
    assert world.generator.gate is not None
    world.generator.gate.set()
    await world.bot.queues.wait_idle()


def answered(world: World) -> list[int]:
    """Return the ids of the messages that the bot replied to, in order."""
    sent = [one.json for one in world.env.http_requests if isinstance(one.json, dict)]
    references = [one["message_reference"] for one in sent if one.get("message_reference")]
    return [int(one["message_id"]) for one in references]


def words(world: World) -> str:
    """Return everything that reached the language model."""
    return "\n".join(
        text for one in world.generator.contexts for text in (one.message, *(turn.text for turn in one.turns))
    )


async def bulk(world: World, message: discord.Message) -> None:
    world.env.backend.bulk_delete_messages(message.channel.id, [message.id])
    await world.env.settle()


async def place(world: World, message: discord.Message) -> None:
    world.env.backend.delete_channel(message.channel.id)
    await world.env.settle()


async def parent(world: World, message: discord.Message) -> None:
    parent_id = message.channel.parent_id
    world.env.backend.delete_channel(parent_id)
    await world.env.settle()


async def server(world: World, _: discord.Message) -> None:
    world.bot._connection.parsers["GUILD_DELETE"]({"id": str(world.guild.id)})


async def left(world: World, _: discord.Message) -> None:
    world.env.backend.remove_member(world.guild.id, world.alice.id)
    await world.env.settle()


async def banned(world: World, _: discord.Message) -> None:
    world.env.backend.apply_ban(world.guild.id, world.alice.id, None)
    await world.env.settle()


WAYS: dict[str, Callable[[World, discord.Message], Awaitable[None]]] = {
    "deleted": lambda world, message: world.alice.delete(message),
    "in bulk": bulk,
    "edited away": lambda world, message: world.alice.edit(message, "not for you any more"),
    "channel": place,
    "thread": place,
    "channel of the thread": parent,
    "server": server,
    "left": left,
    "banned": banned,
}
ONLY_WAITING = {"left", "banned"}  # the gateway does not tell, so it is asked once, as the turn comes


def channel_for(world: World, way: str):
    """Return a channel in which the question may go down with its place."""
    if way == "channel":
        return world.guild.create_text_channel("short lived")
    if "thread" in way:
        forum = world.guild.create_text_channel("short lived")
        thread = world.env.backend.create_thread(forum.id, "a talk", world.alice.id)
        return next(one for one in forum.threads if one.id == thread.id)
    return world.channel


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_taken_back_while_it_waits_never_reaches_the_model(settings, way, monkeypatch):
    monkeypatch.setattr(bursts, "WAITED_S", 0.0)
    async with held(settings) as world:
        channel = channel_for(world, way)
        await ask(world, FIRST, who=world.ben, channel=channel)
        await until(lambda: world.generator.contexts)
        message = await ask(world, GONE, channel=channel)
        await WAYS[way](world, message)
        await finish(world)

        assert GONE not in words(world) and message.id not in answered(world)


@pytest.mark.parametrize("way", [way for way in WAYS if way not in ONLY_WAITING])
async def test_what_is_taken_back_while_its_answer_is_written_gets_none(settings, way):
    async with held(settings) as world:
        message = await ask(world, GONE, channel=channel_for(world, way))
        await until(lambda: world.generator.contexts)
        await WAYS[way](world, message)
        await finish(world)

        assert answered(world) == []
        assert len(world.generator.contexts) == 1
        who = Who(world.guild.id, world.alice.id)
        assert world.bot.responder.drafts._by_member.get(who) is None


@pytest.mark.parametrize("way", ["deleted", "in bulk"])
async def test_what_is_deleted_just_before_its_answer_is_posted_gets_none(settings, way, monkeypatch):
    async with held(settings) as world:
        message = await ask(world, GONE)
        paused = world.bot.pausing.is_paused

        async def deleted_now() -> bool:
            await WAYS[way](world, message)
            return await paused()

        await until(lambda: world.generator.contexts)
        monkeypatch.setattr(world.bot.pausing, "is_paused", deleted_now)
        await finish(world)

        assert answered(world) == []


async def test_where_discord_knows_first_that_the_question_is_gone_nothing_is_posted(settings, monkeypatch):
    async def unknown(*_args, **_options):
        raise PromptGone

    monkeypatch.setattr("bot.messages.posting._reply_or_send", unknown)
    async with held(settings) as world:
        await ask(world, GONE)
        await finish(world)

        assert [one for one in world.channel.history() if one.author.id == world.bot.me] == []


async def test_control_a_bot_that_follows_no_event_answers_what_is_gone(settings, monkeypatch):
    monkeypatch.setattr("bot.client.FOLLOWED", frozenset())
    async with held(settings) as world:
        await ask(world, FIRST, who=world.ben)
        await until(lambda: world.generator.contexts)
        message = await ask(world, GONE)
        await world.alice.delete(message)
        await finish(world)

        assert GONE in words(world)


async def test_others_in_the_queue_are_answered_as_ever(settings):
    async with held(settings) as world:
        first = await ask(world, FIRST, who=world.ben)
        await until(lambda: world.generator.contexts)
        message = await ask(world, GONE)
        later = await ask(world, LATER, who=world.ben)
        await world.alice.delete(message)
        await finish(world)

        assert answered(world) == [first.id, later.id]


@pytest.mark.parametrize(("gone", "reads"), [((0,), False), ((0, 2), True), ((0, 1, 2), False)])
async def test_of_a_burst_the_rest_is_answered(settings, gone, reads):
    async with held(settings) as world:
        await ask(world, FIRST, who=world.ben)
        await until(lambda: world.generator.contexts)
        burst = [await ask(world, f"part {number}") for number in range(3)]
        if reads:
            world.generator.gate.set()
            world.generator.gate = asyncio.Event()
            await until(lambda: len(world.generator.contexts) == 2)
        for number in gone:
            await world.alice.delete(burst[number])
        await asyncio.sleep(0.05)
        await finish(world)

        rest = [number for number in range(3) if number not in gone]
        assert answered(world)[1:] == [burst[number].id for number in rest][-1:]
        if rest:
            assert world.generator.contexts[-1].message == "\n".join(f"part {number}" for number in rest)


EDITS = {"fixed": "what is tea?", "longer": "what is tea? and what is coffee?", "another": "tell a joke"}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("reads", [False, True])
async def test_an_edited_question_is_answered_in_its_new_words(settings, edit, reads):
    async with held(settings) as world:
        if not reads:
            await ask(world, FIRST, who=world.ben)
        message = await ask(world, "waht is tea")
        await until(lambda: world.generator.contexts)
        await world.alice.edit(message, f"<@{world.bot.me}> {EDITS[edit]}")
        await finish(world)

        assert world.generator.contexts[-1].message == EDITS[edit]
        assert answered(world)[-1] == message.id and answered(world).count(message.id) == 1


async def test_a_question_that_is_edited_again_and_again_costs_a_bounded_number_of_answers(settings):
    async with held(settings) as world:
        message = await ask(world, "version 0")
        for number in range(1, 8):
            await until(lambda: world.generator.contexts)
            await world.alice.edit(message, f"<@{world.bot.me}> version {number}")
            await asyncio.sleep(0.01)
        await finish(world)

        assert len(world.generator.contexts) <= 1 + bursts.MOST_EDITS
        assert answered(world) == [message.id]


async def test_an_edit_after_the_answer_changes_nothing(settings):
    async with held(settings) as world:
        message = await ask(world, "hello")
        await finish(world)
        await world.alice.edit(message, f"<@{world.bot.me}> another")
        await world.bot.queues.wait_idle()

        assert len(world.generator.contexts) == 1 and answered(world) == [message.id]


async def test_a_question_of_which_only_the_call_is_left_gets_the_note(settings):
    async with held(settings) as world:
        await ask(world, FIRST, who=world.ben)
        await until(lambda: world.generator.contexts)
        message = await ask(world, GONE)
        await world.alice.edit(message, f"<@{world.bot.me}>")
        await finish(world)

        assert GONE not in words(world)
        assert EMPTY in [one.content for one in world.channel.history()]


@pytest.mark.parametrize("missed", ["deleted", "edited"])
async def test_what_happened_while_the_gateway_was_away_counts_too(settings, missed, monkeypatch):
    async with held(settings) as world:
        await ask(world, FIRST, who=world.ben)
        await until(lambda: world.generator.contexts)
        message = await ask(world, GONE)
        with monkeypatch.context() as away:
            away.setattr("bot.client.FOLLOWED", frozenset())
            change = partial(world.alice.edit, message, f"<@{world.bot.me}> new words")
            await (world.alice.delete(message) if missed == "deleted" else change())
        world.bot.dispatch("ready")
        await finish(world)

        assert GONE not in words(world)
        assert ("new words" in words(world)) == (missed == "edited")


@pytest.mark.parametrize("change", ["deleted", "edited"])
async def test_what_the_question_replies_to_is_read_as_it_is_now(with_bot, change):
    async with held(with_bot(message_content=True)) as world:
        said = await world.ben.send(world.channel, "old words")
        await ask(world, FIRST, who=world.ben)
        await until(lambda: world.generator.contexts)
        await ask(world, "true?", reply_to=said)
        await (world.ben.delete(said) if change == "deleted" else world.ben.edit(said, "new words"))
        await finish(world)

        assert "old words" not in words(world)
        assert ("new words" in words(world)) == (change == "edited")


async def test_another_answer_is_not_written_for_a_question_that_was_deleted(settings):
    async with held(settings) as world:
        message = await ask(world, "hello")
        world.generator.gate.set()
        await world.bot.queues.wait_idle()
        reply = world.channel.last_message
        world.bot.responder.drafts._by_member.clear()
        world.generator.gate = asyncio.Event()
        pressing = asyncio.create_task(world.alice.context_menu(world.channel, "Another answer", reply))
        await until(lambda: len(world.generator.contexts) == 2)
        world.env.backend.delete_message(world.channel.id, message.id)  # an actor would wait for the command
        await until(lambda: not world.bot.queues._running)
        await finish(world)
        await pressing

        assert answered(world) == [message.id]
