"""A growing reply: requests are throttled, texts are split like any reply, and only changes are sent."""

from __future__ import annotations

import asyncio

import discord
import pytest

from bot.messages.posting import SILENT
from bot.messages.splitting import split_message
from bot.messages.streaming import GrowingReply, Pace, Streams, finish, grow

STOP, INVITE = discord.ui.View.__new__(discord.ui.View), discord.ui.View.__new__(discord.ui.View)


class Channel:
    """Messages that a simulated Discord shows, with the time of each request."""

    def __init__(self) -> None:
        self.now = 0.0
        self.id = 5
        self.shown: dict[int, tuple[str, object]] = {}
        self.asked_at: list[float] = []
        self.refuse = False

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    def note(self, options: dict) -> None:
        assert options["allowed_mentions"] is SILENT
        self.asked_at.append(self.now)

    async def send(self, content: str, **options) -> Posted:
        self.note(options)
        message = Posted(self, 100 + len(self.shown))
        self.shown[message.id] = (content, options.get("view"))
        return message


class Posted:
    """One message of the bot."""

    def __init__(self, channel: Channel, id_: int) -> None:
        self.channel, self.id = channel, id_

    async def edit(self, *, content: str, view: object, **options) -> None:
        self.channel.note(options)
        if self.channel.refuse:
            raise discord.HTTPException(Answer(), "no")
        self.channel.shown[self.id] = (content, view)

    async def delete(self) -> None:
        self.channel.asked_at.append(self.channel.now)
        del self.channel.shown[self.id]


class Answer:
    """The HTTP response that discord.py turns into an error."""

    status = 500
    reason = "no"


async def draft(channel: Channel, text: str) -> GrowingReply:
    posted = [await channel.send(text, view=STOP, allowed_mentions=SILENT)]
    pace = Pace(1.0, clock=lambda: channel.now, sleep=channel.sleep)
    return GrowingReply(Posted(channel, 1), posted, text, view=STOP, pace=pace)


def shown(channel: Channel) -> list[tuple[str, object]]:
    return list(channel.shown.values())


SENTENCES = [f"This is sentence number {number}." for number in range(160)]


async def test_a_reply_grows_over_several_messages_at_discords_pace():
    channel = Channel()
    reply = await draft(channel, SENTENCES[0])

    for n in range(20, 161, 20):
        await reply.show(" ".join(SENTENCES[:n]), STOP)
        chunks = split_message(" ".join(SENTENCES[:n]))
        assert shown(channel) == [*((chunk, None) for chunk in chunks[:-1]), (chunks[-1], STOP)]
    await finish(reply, INVITE)

    assert len(reply.messages) == len(split_message(" ".join(SENTENCES))) > 2
    assert [view for _, view in shown(channel)] == [None] * (len(reply.messages) - 1) + [INVITE]
    gaps = [after - before for before, after in zip(channel.asked_at, channel.asked_at[1:], strict=False)]
    assert min(gaps) >= 1.0


async def test_nothing_is_sent_that_is_shown_already_and_what_is_taken_back_goes():
    channel = Channel()
    reply = await draft(channel, "One.")

    await reply.show("One.", STOP)
    assert len(channel.asked_at) == 1
    await reply.show(" ".join(SENTENCES), STOP)
    await reply.show("One. Two.", STOP)

    assert (shown(channel), reply.text) == ([("One. Two.", STOP)], "One. Two.")


async def texts(*steps: object):
    for step in steps:
        if isinstance(step, str):
            yield step
        else:
            await step


async def never() -> bool:
    return False


@pytest.mark.parametrize("how", ["stopped", "unwanted", "refused"])
async def test_what_is_shown_stands_when_it_ends_early(how):
    channel, stopped, closed = Channel(), asyncio.Event(), asyncio.Event()
    reply = await draft(channel, "One.")
    ends = False

    async def more():
        try:
            yield "One. Two."
            await asyncio.sleep(0.01)
            nonlocal ends
            ends = True
            stopped.set() if how == "stopped" else None
            channel.refuse = how == "refused"
            yield "One. Two. Three."
            await asyncio.sleep(60)
        finally:
            closed.set()

    async def unwanted() -> bool:
        return ends and how == "unwanted"

    await grow(reply, more(), stopped=stopped, stop_view=STOP, unwanted=unwanted, every_s=0.001)

    assert closed.is_set()
    assert (reply.text, shown(channel)) == ("One. Two.", [("One. Two.", STOP)])


async def test_a_reply_that_comes_to_its_end_is_shown_whole():
    channel = Channel()
    reply = await draft(channel, "One.")

    await grow(
        reply, texts("One. Two.", "One. Two. Three."), stopped=asyncio.Event(), stop_view=STOP, unwanted=never
    )
    await finish(reply, None)

    assert (reply.text, shown(channel)) == ("One. Two. Three.", [("One. Two. Three.", None)])


async def test_a_draft_posted_after_the_bot_began_to_stop_does_not_grow():
    channel, streams = Channel(), Streams()
    reply = await draft(channel, "One.")
    streams.stop_all()

    with streams.running(7) as stopped:
        await grow(reply, texts("One. Two."), stopped=stopped, stop_view=STOP, unwanted=never)
    await finish(reply, None)

    assert (reply.text, shown(channel)) == ("One.", [("One.", None)])


def test_only_a_reply_that_grows_can_be_stopped():
    streams = Streams()
    with streams.running(7) as stopped:
        assert streams.stop(8) is False
        assert not stopped.is_set()
        assert streams.stop(7) is True
        assert stopped.is_set()
    assert streams.stop(7) is False
