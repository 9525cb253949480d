"""P45: a stop has a word, also when it was a crash: the next start answers, or says one word.

The bot stops or crashes, members write meanwhile, and it starts again on the same data and the same
simulated Discord. What is young is answered as any message, with access lists and limits; older messages
get one word for their channel; what was answered, told or deleted gets nothing. A reply that was posted
before the crash gets its reactions, and is recorded if its member had agreed before. Nothing is stored for
it: the messages are read back from Discord.

Control: a bot that does not look back leaves them waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import discord
import pytest

from bot.cogs.chat import catching_up
from bot.messages.conversation import AWAY, STOPPING, is_note
from bot.settings import AccessList
from storage.failpoints import switch_on
from storage.records import Who
from tests.integration.conftest import settings as settings  # a fixture
from tests.integration.conftest import with_bot as with_bot  # a fixture
from tests.rig.outages import Twin, twin

pytestmark = pytest.mark.promise("P45")

HERE = 0
"""The channel of the tests."""


@pytest.fixture(autouse=True)
def switched_off():
    yield
    switch_on("")


@asynccontextmanager
async def away(settings) -> AsyncIterator[Twin]:
    """A bot that is stopped; the caller starts it again."""
    async with twin(settings) as here:
        await here.stop()
        yield here


async def start(here: Twin) -> None:
    await here.start()
    await here.bot.queues.wait_idle()
    await here.env.settle()


def write(here: Twin, text: str, *, who: int = 0, channel=None, **options) -> int:
    """Write a message that calls the bot while it is away, and return its id."""
    channel = channel or here.channels[HERE]
    author = options.pop("author_id", None) or here.people[who].id
    said = f"<@{here.bot.me}> {text}" if options.pop("calls", True) else text
    # Without an event, because the bot is away.
    return here.env.backend.create_message(channel.id, author, said, broadcast=False, **options).id


def said_by_bot(here: Twin, channel=None) -> list[discord.Message]:
    channel = channel or here.channels[HERE]
    return [one for one in channel.history() if one.author.id == here.bot.me and not one.flags.ephemeral]


def answered(here: Twin, channel=None) -> list[int]:
    said = said_by_bot(here, channel)
    return [one.reference.message_id for one in said if one.reference and not is_note(one)]


def told(here: Twin, channel=None) -> list[int]:
    return [one.reference.message_id for one in said_by_bot(here, channel) if one.content == AWAY]


AGES = {0: "answered", 4: "answered", 6: "told", 50: "told", 70: "nothing"}


async def test_what_came_while_the_bot_was_away_is_answered_or_gets_one_word(settings):
    async with twin(settings) as here:
        places = {minutes: here.guild.create_text_channel(f"after-{minutes}") for minutes in AGES}
        await here.env.settle()
        await here.stop()
        messages = {}
        for minutes, until in zip(
            sorted(AGES, reverse=True), [*sorted(AGES, reverse=True)[1:], 0], strict=True
        ):
            messages[minutes] = write(here, "are you there?", channel=places[minutes])
            await here.env.advance_time((minutes - until) * 60)
        await start(here)

        for minutes, end in AGES.items():
            message, place = messages[minutes], places[minutes]
            assert answered(here, place) == ([message] if end == "answered" else [])
            assert told(here, place) == ([message] if end == "told" else [])


async def test_one_word_in_a_channel_however_many_wait_and_however_often_the_bot_starts(settings):
    async with away(settings) as here:
        messages = [write(here, f"number {n}", who=n % 3) for n in range(12)]
        await here.env.advance_time(20 * 60)
        for _ in range(3):
            await start(here)
            await here.stop()

        assert told(here) == [messages[-1]] and answered(here) == []
        await here.start()


async def test_a_burst_gets_one_answer_and_every_member_their_own(settings):
    async with away(settings) as here:
        burst = [write(here, f"part {n}") for n in range(3)]
        other = write(here, "and me?", who=1)
        await start(here)

        assert answered(here) == [burst[-1], other]
        assert here.generator.contexts[0].message == "part 0\npart 1\npart 2"


def by_a_bot(here: Twin, channel) -> None:
    robot = here.guild.add_member(here.env.create_user("robot", bot=True))
    write(here, "hi", author_id=robot.id, channel=channel)


def by_a_webhook(here: Twin, channel) -> None:
    hook = here.guild.create_webhook(channel)
    write(here, "hi", author_id=hook._webhook.webhook_user_id, webhook_id=hook.id, channel=channel)


def deleted(here: Twin, channel) -> None:
    del here.env.backend.messages[channel.id][write(here, "hi", channel=channel)]


def by_a_member_who_left(here: Twin, channel) -> None:
    write(here, "hi", who=2, channel=channel)
    here.env.backend.remove_member(here.guild.id, here.people[2].id)


PASSED_OVER: dict[str, Callable[[Twin, Any], object]] = {
    "people-talking": lambda here, channel: write(here, "hi all", calls=False, channel=channel),
    "a-bot": by_a_bot,
    "a-webhook": by_a_webhook,
    "deleted": deleted,
    "left": by_a_member_who_left,
}


@pytest.mark.parametrize("minutes", [0, 20])
async def test_what_the_bot_would_not_have_answered_is_passed_over(settings, minutes):
    async with twin(settings) as here:
        places = {kind: here.guild.create_text_channel(kind) for kind in PASSED_OVER}
        await here.env.settle()
        await here.stop()
        for kind, happens in PASSED_OVER.items():
            happens(here, places[kind])
        await here.env.advance_time(minutes * 60)
        await start(here)

        assert {kind: said_by_bot(here, place) for kind, place in places.items()} == {
            kind: [] for kind in PASSED_OVER
        }


async def test_access_lists_hold(settings):
    async with twin(settings) as here:
        role = here.guild.create_role("quiet")
        here.env.backend.add_member_role(here.guild.id, here.people[0].id, role.id)
        await here.env.settle()
        await here.stop()
        deny = AccessList(members=(here.people[1].id,), roles=(role.id,), channels=(here.channels[1].id,))
        here.settings = replace(here.settings, bot=replace(here.settings.bot, deny=deny))
        for _ in range(2):
            write(here, "a denied role")
            write(here, "a denied member", who=1)
            write(here, "a denied channel", who=2, channel=here.channels[1])
            await here.env.advance_time(4 * 60)
        await start(here)

        assert said_by_bot(here) + said_by_bot(here, here.channels[1]) == []


async def test_the_daily_limit_holds(settings):
    limits = replace(settings.limits, member_messages=1)
    async with away(replace(settings, limits=limits)) as here:
        other = here.channels[1]
        messages = [write(here, "one"), write(here, "two", channel=other)]
        await start(here)

        assert len(answered(here) + answered(here, other)) == 1 and messages
        assert len(here.generator.contexts) == 1


async def test_a_paused_bot_stays_silent(settings):
    async with twin(settings) as here:
        await here.bot.pausing.pause(True)
        await here.stop()
        write(here, "hello")
        await start(here)

        assert said_by_bot(here) == []


async def test_chat_channels_and_threads_are_caught_up_too(with_bot):
    async with twin(with_bot(message_content=True)) as here:
        chat = here.channels[1]
        thread_id = here.env.backend.create_thread(here.channels[HERE].id, "a talk", here.people[0].id).id
        await here.env.settle()
        thread = next(one for one in here.channels[HERE].threads if one.id == thread_id)
        await here.stop()
        here.settings = replace(here.settings, bot=replace(here.settings.bot, chat_channels=(chat.id,)))
        messages = [write(here, "no call", calls=False, channel=chat)]
        messages.append(write(here, "in a thread", channel=thread))
        await start(here)

        assert answered(here, chat) + answered(here, thread) == messages


async def test_a_direct_message_of_a_member_who_agreed_is_answered(settings):
    async with twin(settings) as here:
        person = here.people[0]
        await person.send_dm("hello")
        await here.bot.queues.wait_idle()
        channel = person.user.dm_channel
        await here.bot.store.consent.record(Who(0, person.id))
        await person.send_dm("hello again")
        await here.quiet()
        await here.stop()
        message = write(here, "are you there?", channel=channel, calls=False)
        await start(here)

        assert answered(here, channel)[-1] == message


async def test_what_was_told_at_the_stop_is_not_answered_at_the_start(settings):
    async with twin(settings) as here:
        await here.stop()
        message, channel_id = write(here, "hello"), str(here.channels[HERE].id)
        reference = {"channel_id": channel_id, "message_id": str(message)}
        write(here, STOPPING, calls=False, author_id=here.bot.me, flags=1 << 12, reference=reference)
        n_before = len(said_by_bot(here))
        await start(here)

        assert len(said_by_bot(here)) == n_before


async def test_two_starts_at_once_post_one_answer_and_one_word(settings):
    async with away(settings) as here:
        old = write(here, "long ago")
        await here.env.advance_time(20 * 60)
        young = write(here, "just now", who=1)
        await start(here)
        await asyncio.gather(*(_again(here) for _ in range(3)))
        await here.bot.queues.wait_idle()

        assert (told(here), answered(here)) == ([old], [young])


async def _again(here: Twin) -> None:
    """Catch up as another process that knows nothing of this one, and sees Discord as it was."""
    cog = here.bot.get_cog("Chat")
    cog._claims._keys.clear()
    await cog._catching_up.look()


async def test_a_reply_that_a_crash_left_unfinished_is_recorded_and_gets_its_reactions(settings):
    async with twin(settings) as here:
        switch_on("chat.after-post=raise")
        here.generator.enqueue("The answer.")
        await here.people[0].send(here.channels[HERE], f"<@{here.bot.me}> hello")
        reply = said_by_bot(here)[-1]
        await here.stop()
        switch_on("")
        before = [one.emoji for one in reply.reactions]
        await start(here)

        assert before == [] and len(said_by_bot(here)) == 1
        assert here.generator.contexts == []
        reply_id = await here.house.store.replies.of_message(reply.id)
        assert reply_id is not None
        assert seeded(here, reply.id) == ["👍", "👎"]
        who = Who(here.guild.id, here.people[0].id)
        summary = await here.house.store.replies.summary(who, reply_id)
        assert summary is not None and summary.text == "The answer."


async def test_of_a_member_who_has_not_agreed_nothing_is_recorded(settings):
    async with twin(settings) as here:
        switch_on("chat.after-post=raise")
        await here.people[-1].send(here.channels[HERE], f"<@{here.bot.me}> hello")
        reply = said_by_bot(here)[-1]
        await here.stop()
        switch_on("")
        await start(here)

        assert await here.house.store.replies.of_message(reply.id) is None
        assert seeded(here, reply.id) == ["👍", "👎"]


async def test_a_reply_from_before_a_forget_is_not_recorded_under_a_later_consent(settings):
    async with twin(settings) as here:
        person = here.people[0]
        switch_on("chat.after-post=raise")
        await person.send(here.channels[HERE], f"<@{here.bot.me}> hello")
        reply = said_by_bot(here)[-1]
        switch_on("")
        await here.bot.privacy.forget(person.id)
        await here.env.advance_time(240)
        await here.bot.store.consent.record(Who(here.guild.id, person.id))
        await here.stop()
        await start(here)

        assert await here.house.store.replies.of_message(reply.id) is None


async def test_control_a_bot_that_does_not_look_back_leaves_them_waiting(settings, monkeypatch):
    async def nothing(_self):
        pass

    monkeypatch.setattr(catching_up.CatchingUp, "look", nothing)
    async with away(settings) as here:
        write(here, "are you there?")
        await start(here)

        assert said_by_bot(here) == []


def seeded(here: Twin, message_id: int) -> list[str]:
    """Return the reactions that the bot added to a message."""
    stored = here.env.backend.messages[here.channels[HERE].id][message_id]
    return [one.emoji for one in stored.reactions if here.bot.me in one.user_ids]
