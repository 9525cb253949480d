"""Reading back: few requests, the right ones; closed channels, deleted messages, Discord's bad days."""

from __future__ import annotations

import asyncio

import pytest

from bot.reactions.inbox import Inbox
from bot.reactions.reconciler import MOST_ASKED, Reconciler
from storage.records import Applied, Deleted, Observed, Reacted, Who
from storage.replies.posted_messages import PostedMessage
from tests.rig.discord_shows import UP, Discord, Posted

DOWN = ("👎", False)


class Bench:
    """A reconciler over fakes, its inbox's events and its waits."""

    def __init__(self, *messages: PostedMessage) -> None:
        self.discord = Discord()
        self.posted = Posted(*messages)
        self.events: list[object] = []
        self.waits: list[float] = []
        self.tasks: list[asyncio.Task] = []
        self.inbox = Inbox(self._record, lambda _: None)
        self.reconciler = Reconciler(
            self.discord, self.posted, self.inbox, spawn=self._spawn, sleep=self._sleep
        )

    async def _record(self, events):
        self.events += events
        return Applied()

    def _spawn(self, coroutine):
        self.tasks.append(asyncio.create_task(coroutine))

    async def _sleep(self, seconds):
        self.waits.append(seconds)
        await asyncio.sleep(0)

    async def quick(self) -> None:
        self.reconciler._quick_due = True
        self.reconciler._start()
        await self.done()

    async def done(self) -> None:
        await asyncio.gather(*self.tasks)
        await self.inbox.wait_idle()


def message(id_: int, channel: int = 1, **counts: int) -> PostedMessage:
    return PostedMessage(channel, id_, 9, {(emoji, False): count for emoji, count in counts.items()})


async def test_equal_counts_cost_one_page_for_a_hundred_messages():
    bench = Bench(*(message(id_, thumb=2) for id_ in range(1, 101)))
    bench.discord.standing = {id_: {("thumb", False): [5, 6]} for id_ in range(1, 101)}

    await bench.quick()

    assert bench.discord.asked == [("page", 1, 101)]
    assert bench.events == []


async def test_only_what_differs_is_asked_about():
    bench = Bench(PostedMessage(1, 10, 9, {UP: 1, DOWN: 1}), message(11))
    bench.discord.standing = {10: {UP: [5], DOWN: [5, 6]}, 11: {}}

    await bench.quick()

    assert bench.discord.asked == [("page", 1, 12), ("users", 1, 10, "👎", False, 0)]
    assert bench.events == [Observed(1, 10, 9, {DOWN: frozenset({5, 6})}, frozenset({UP}))]


async def test_what_stands_no_more_needs_no_question():
    bench = Bench(PostedMessage(1, 10, 9, {UP: 1}))
    bench.discord.standing = {10: {}}

    await bench.quick()

    assert bench.discord.asked == [("page", 1, 11)]
    assert bench.events == [Observed(1, 10, 9, {})]


async def test_the_thorough_look_asks_also_where_counts_agree():
    bench = Bench(PostedMessage(1, 10, 9, {UP: 1}))
    bench.discord.standing = {10: {UP: [6]}}

    await bench.reconciler.look_thoroughly()
    await bench.done()

    assert bench.events == [Observed(1, 10, 9, {UP: frozenset({6})})]


async def test_many_people_are_asked_for_in_pages_up_to_a_bound():
    bench = Bench(PostedMessage(1, 10, 9, {}), PostedMessage(1, 11, 9, {}))
    many = list(range(1, MOST_ASKED * 100 + 2))
    bench.discord.standing = {10: {UP: many[:250]}, 11: {UP: many}}

    await bench.quick()

    n_asked = [
        sum(request[0] == "users" and request[2] == id_ for request in bench.discord.asked)
        for id_ in (10, 11)
    ]
    assert n_asked == [3, MOST_ASKED]
    assert bench.events == [Observed(1, 10, 9, {UP: frozenset(many[:250])})]


async def test_a_missing_message_is_deleted_only_when_discord_says_so():
    bench = Bench(message(10), message(11))
    bench.discord.gone = {10}

    await bench.quick()

    assert bench.events == [Deleted(1, 10)]
    assert [request[0] for request in bench.discord.asked] == ["page", "is_gone", "is_gone"]


async def test_a_closed_channel_is_asked_once_and_left_alone():
    bench = Bench(message(10, channel=1), message(11, channel=1), message(20, channel=2))
    bench.discord.standing = {20: {}}
    bench.discord.closed = {1}

    for _ in range(3):
        await bench.quick()

    assert [request for request in bench.discord.asked if request[1] == 1] == [("page", 1, 12)]
    assert len([request for request in bench.discord.asked if request[1] == 2]) == 3


async def test_a_bad_day_puts_the_look_off_longer_and_longer_and_nothing_is_forgotten(caplog):
    bench = Bench(PostedMessage(1, 10, 9, {UP: 1}))
    bench.discord.standing = {10: {}}
    bench.discord.bad_days = 3

    await bench.quick()

    assert bench.waits[:3] == [30.0, 60.0, 120.0]
    assert bench.events == [Observed(1, 10, 9, {})]


async def test_marked_messages_are_looked_at_at_once():
    bench = Bench(PostedMessage(1, 10, 9, {UP: 1}), message(11))
    bench.discord.standing = {10: {UP: [6]}, 11: {}}

    bench.inbox._mark([Reacted(1, 10, Who(9, 5), "👍", False, True)])
    await bench.done()

    assert bench.discord.asked == [("page", 1, 11), ("users", 1, 10, "👍", False, 0)]
    assert bench.events == [Observed(1, 10, 9, {UP: frozenset({6})})]
    assert not bench.inbox.marks


async def test_what_happens_during_the_look_has_the_last_word():
    bench = Bench(PostedMessage(1, 10, 9, {}))
    bench.discord.standing = {10: {UP: [5]}}
    live = Reacted(1, 10, Who(9, 5), "👍", False, False)
    bench.discord.before_answer = lambda: bench.inbox.put(live)

    await bench.quick()

    finding = Observed(1, 10, 9, {UP: frozenset({5})})
    assert bench.events[-3:] == [finding, live, live]


async def test_a_stopped_look_ends_before_its_next_request():
    bench = Bench(*(message(id_, channel=id_) for id_ in range(1, 50)))
    bench.discord.before_answer = bench.reconciler.stop

    await bench.quick()

    assert len(bench.discord.asked) == 1


@pytest.mark.parametrize("guild", [None, 9])
async def test_a_message_of_an_unknown_server_is_left_as_it_is(guild):
    bench = Bench(PostedMessage(1, 10, guild, {UP: 1}))
    bench.discord.standing = {10: {}}

    await bench.quick()

    assert bench.events == ([] if guild is None else [Observed(1, 10, 9, {})])
