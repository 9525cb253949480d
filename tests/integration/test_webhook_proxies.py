"""Members who speak through a proxy such as PluralKit get one answer, and it stays beside their question.

The proxy posts a member's message again by a webhook, under another name and without the tags around the
words, and deletes the message. Both may come first, before, while and after the answer is written. A message
that a webhook posts without a member's message before it is answered never.
"""

from __future__ import annotations

import asyncio

import discord
import pytest

from bot.messages import bursts
from bot.messages.conversation import repeats
from tests.integration.conftest import opened
from tests.integration.test_taken_back import answered, ask, finish, held, words
from tests.rig.waiting import until

WORDS = "why is the sky blue?"


class Proxy:
    """A proxy with a webhook in the channel."""

    def __init__(self, world) -> None:
        self.world, self.hook = world, world.guild.create_webhook(world.channel, "proxy")

    async def copy(self, text: str, *, name: str = "Luna", replied: discord.Message | None = None):
        """Post a member's words under another name; a reply shows a link to what it replies to."""
        embed = None
        if replied is not None:
            link = f"https://discord.com/channels/{self.world.guild.id}/{replied.channel.id}/{replied.id}"
            embed = discord.Embed(description=f"**[Reply to:]({link})** {replied.content}")
            embed.set_author(name="Simpatico \u21a9\ufe0f")
        return await self.hook.send(text, username=name, embed=embed)

    async def take(self, message: discord.Message, text: str, *, first: str, **options):
        """Proxy a message: the copy first, as PluralKit does, or the deletion first."""
        if first == "deletion":
            await self.world.alice.delete(message)
        posted = await self.copy(text, **options)
        if first == "copy":
            await self.world.alice.delete(message)
        return posted


def call(world, text: str = WORDS) -> str:
    return f"<@{world.bot.me}> {text}"


TAGS = {"none": "{}", "prefix": "L: {}", "brackets": "[{}]", "glued": "l:{}", "both": "-- {} -l"}


@pytest.mark.parametrize("first", ["copy", "deletion"])
@pytest.mark.parametrize("moment", ["waiting", "written"])
async def test_the_copy_is_answered_once(with_bot, first, moment):
    async with held(with_bot(message_content=True)) as world:
        proxy = Proxy(world)
        for tags in TAGS.values():
            world.generator.contexts.clear()
            world.generator.gate, n_before = asyncio.Event(), len(answered(world))
            if moment == "waiting":
                await ask(world, "before", who=world.ben)
                await until(lambda: world.generator.contexts)
            message = await world.alice.send(world.channel, tags.format(call(world)))
            await until(lambda: world.generator.contexts)
            copy = await proxy.take(message, call(world), first=first)
            await finish(world)

            assert answered(world)[n_before + (moment == "waiting") :] == [copy.id]
            assert moment == "written" or world.generator.contexts[-1].message == WORDS


@pytest.mark.parametrize("first", ["copy", "deletion"])
@pytest.mark.parametrize("chain", [False, True])
async def test_a_question_that_was_proxied_after_its_answer_stays_in_the_context(with_bot, first, chain):
    async with opened(with_bot(message_content=True)) as world:
        world.generator.enqueue("Because of the air.")
        message = await world.alice.send(world.channel, call(world))
        answer = world.channel.last_message
        await Proxy(world).take(message, call(world), first=first)
        await world.alice.send(world.channel, call(world, "and why?"), reply_to=answer if chain else None)

        assert [turn.role for turn in world.generator.contexts[-1].turns] == ["user", "assistant"]
        assert [WORDS in turn.text for turn in world.generator.contexts[-1].turns] == [True, False]
        assert len(world.generator.contexts) == 2


@pytest.mark.parametrize("first", ["copy", "deletion"])
async def test_a_proxied_reply_to_the_bot_goes_on_with_its_talk(with_bot, first):
    async with held(with_bot(message_content=True)) as world:
        world.generator.gate.set()
        proxy = Proxy(world)
        await ask(world, WORDS)
        await world.bot.queues.wait_idle()
        answer = world.channel.last_message
        for text in ("and why?", "and then?"):
            world.generator.gate = asyncio.Event()
            n_before = len(world.generator.contexts)
            message = await world.alice.send(world.channel, f"L: {text}", reply_to=answer)
            await until(lambda n=n_before: len(world.generator.contexts) > n)
            await proxy.take(message, text, first=first, replied=answer)
            await finish(world)
            answer = world.channel.last_message

        turns = [
            (turn.role, turn.text.removeprefix("alice: ")) for turn in world.generator.contexts[-1].turns
        ]
        assert [role for role, _ in turns] == ["user", "assistant", "user", "assistant"]
        assert turns[0][1] == WORDS and turns[2][1].endswith("and why?") and "Reply to" not in turns[2][1]
        assert answered(world).count(message.id) == 0


async def test_a_webhook_that_copies_nobody_is_never_answered_and_brings_nothing_back(with_bot, monkeypatch):
    async with held(with_bot(message_content=True)) as world:
        proxy = Proxy(world)
        message = await ask(world, WORDS)
        await until(lambda: world.generator.contexts)
        await world.alice.delete(message)
        await world.bot.queues.wait_idle()
        await proxy.copy(call(world, "build 7 failed"))
        monkeypatch.setattr(bursts, "LOST_S", float("-inf"))
        await proxy.copy(call(world))
        await finish(world)

        assert answered(world) == []


async def test_a_copy_that_is_deleted_too_takes_the_question_back(with_bot):
    async with held(with_bot(message_content=True)) as world:
        await ask(world, "before", who=world.ben)
        await until(lambda: world.generator.contexts)
        copy = await Proxy(world).take(await ask(world, WORDS), call(world), first="copy")
        world.env.backend.delete_message(world.channel.id, copy.id)
        await world.env.settle()
        await finish(world)

        assert WORDS not in words(world) and len(answered(world)) == 1


async def test_a_copy_whose_message_stays_is_the_same_turn(with_bot):
    async with opened(with_bot(message_content=True)) as world:
        await world.alice.send(world.channel, call(world))
        await Proxy(world).copy(call(world))
        await world.ask(world.alice, "next")

        assert sum(WORDS in turn.text for turn in world.generator.contexts[-1].turns) == 1


async def test_the_member_behind_the_copy_keeps_what_is_theirs(with_bot):
    async with held(with_bot(message_content=True)) as world:
        message = await ask(world, WORDS)
        await until(lambda: world.generator.contexts)
        await Proxy(world).take(message, call(world), first="copy")
        world.generator.enqueue("one", "two")
        await finish(world)
        reply = world.channel.last_message
        await world.alice.context_menu(world.channel, "Another answer", reply)
        await world.bot.queues.wait_idle()
        n_answers = len(answered(world))
        await world.ben.context_menu(world.channel, "Another answer", reply)
        await world.bot.queues.wait_idle()

        assert n_answers == 2 and len(answered(world)) == 2


def test_what_counts_as_a_copy(monkeypatch):
    class Said:
        def __init__(self, content, *, webhook_id=None, at=0, files=()):
            self.content, self.webhook_id, self.interaction_metadata = content, webhook_id, None
            self.created_at = discord.utils.utcnow().replace(microsecond=0, second=at, minute=0)
            self.attachments = [type("File", (), {"filename": name}) for name in files]
            self.channel = type("Channel", (), {"id": 1})

    said = Said("L: hello there")
    cases = {
        "the words": (Said("hello there", webhook_id=5, at=1), True),
        "with a quote": (Said("> before\n-# link\nhello there", webhook_id=5), True),
        "a person": (Said("hello there"), False),
        "too late": (Said("hello there", webhook_id=5, at=40), False),
        "other words": (Said("hello you", webhook_id=5), False),
        "nothing": (Said("", webhook_id=5), False),
    }
    assert {name: repeats(copy, said) for name, (copy, _) in cases.items()} == {
        name: expected for name, (_, expected) in cases.items()
    }
    picture = Said("", files=["cat.png"])
    assert repeats(Said("", webhook_id=5, files=["cat.png"]), picture)
    assert not repeats(Said("", webhook_id=5, files=["dog.png"]), picture)
    assert not repeats(Said("a", webhook_id=5), Said("a" + " b" * 100))
