"""P8: the order of events and duplicate events never change a label.

Random acts of several members on several replies reach the bot through discord.py's own parsers, each one to
three times. Now and then the gateway repeats a whole stretch, as after a resume. The store answers after
random delays, so that as much as possible overlaps. In spite of duplicates and delays, the final stored state
is what Discord shows; a reaction that was removed and given again counts.

Controls: one task per event, as discord.py starts them, applies a removal before its addition; dropping
duplicates by (message, member, emoji) loses the reaction that was given again.
"""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest

from storage.records import Reacted
from tests.rig.schedules import Act, Truth, acts
from tests.rig.size import sized
from tests.rig.standing import reactions_of, stored_by

pytestmark = pytest.mark.promise("P8")

N_SCHEDULES = sized(ci=4, full=200)
N_ACTS = sized(ci=150, full=1500)


class Slow:
    """Access to the store with random delays."""

    def __init__(self, record, rng: random.Random) -> None:
        self._record = record
        self._rng = rng

    async def __call__(self, events):
        for _ in range(self._rng.randrange(20)):
            await asyncio.sleep(0)
        return await self._record(events)


def deliver(world, act: Act) -> None:
    payload = act.payload(world.guild.id, world.channel.id)
    world.bot._connection.parsers[act.event()](payload)


async def with_replies(world, n_replies: int) -> Truth:
    for member in (world.alice, world.ben):
        await world.agree(member)
    return Truth({(await world.ask(world.alice)).id: set() for _ in range(n_replies)})


@pytest.mark.parametrize("seed", range(N_SCHEDULES))
async def test_duplicates_and_delays_lead_to_what_discord_shows(world, seed):
    rng = random.Random(seed)
    truth = await with_replies(world, 3)
    world.bot.inbox._record = Slow(world.bot.inbox._record, rng)
    users = [world.alice.id, world.ben.id]
    seen: list[Act] = []

    for act in itertools.islice(acts(rng, truth, users), N_ACTS):
        seen += [act] * rng.randint(1, 3)
        for again in seen[-rng.randint(1, 3) :]:
            deliver(world, again)
        if rng.random() < 0.05:  # the latest events are repeated, in order
            for again in seen[-rng.randint(1, 30) :]:
                deliver(world, again)
        if rng.random() < 0.2:
            await asyncio.sleep(0)
    await world.bot.inbox.wait_idle()

    for member in (world.alice, world.ben):
        assert await stored_by(world, member) == reactions_of(truth, member.id)


async def test_a_reaction_given_again_stands(world):
    truth = await with_replies(world, 1)
    (message,) = truth.standing

    for kind in ("add", "remove", "add"):
        for _ in range(2):
            deliver(world, Act(kind, message, world.alice.id, "👍"))
    await world.bot.inbox.wait_idle()

    assert await stored_by(world, world.alice) == {message: {("👍", False)}}


async def test_control_a_task_for_each_event_applies_them_in_reverse(world):
    truth = await with_replies(world, 1)
    (message,) = truth.standing
    turns = iter((5, 0))

    async def handle(events):
        for _ in range(next(turns)):  # the first handler takes longer to reach the store
            await asyncio.sleep(0)
        await world.house.store.feedback.record_events(events)

    tasks = []
    world.bot.inbox.put = lambda event: tasks.append(asyncio.create_task(handle([event])))
    for kind in ("add", "remove"):
        deliver(world, Act(kind, message, world.alice.id, "👍"))
    await asyncio.gather(*tasks)

    assert await stored_by(world, world.alice) == {message: {("👍", False)}}  # Discord shows none


async def test_control_dropping_what_was_seen_before_loses_what_was_given_again(world):
    truth = await with_replies(world, 1)
    (message,) = truth.standing
    put, known = world.bot.inbox.put, set()

    def once(event: Reacted) -> None:
        key = (event.message_id, event.who, event.emoji, event.added)
        if key not in known:
            known.add(key)
            put(event)

    world.bot.inbox.put = once
    for kind in ("add", "remove", "add"):
        deliver(world, Act(kind, message, world.alice.id, "👍"))
    await world.bot.inbox.wait_idle()

    assert await stored_by(world, world.alice) == {}  # Discord shows a thumb
