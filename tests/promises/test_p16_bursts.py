"""P16: bursts are bounded and lose nothing.

Tens of thousands of reactions pass through discord.py's own parser without a pause, into an inbox much
smaller than the burst. The tasks of the process and the length of the queue are measured during the burst.
Messages whose events did not fit are marked and read back from Discord afterwards, so that the stored
reactions equal those that Discord shows.

Control: discord.py's own dispatch, which starts a task for each event.
"""

from __future__ import annotations

import asyncio
import itertools
import random

import discord
import pytest

from storage.records import Who
from tests.rig.outages import twin
from tests.rig.schedules import Act, acts
from tests.rig.size import sized
from tests.rig.standing import reactions_of, standing_in

pytestmark = pytest.mark.promise("P16")

N_REACTIONS = sized(ci=5_000, full=50_000)
LIMIT = N_REACTIONS // 5


async def burst(world, message_id: int, n_reactions: int) -> tuple[int, int]:
    """Deliver reactions, every fourth event a removal; return the most tasks and the most queued events."""
    n_tasks = n_waiting = 0
    parsers = world.bot._connection.parsers
    for number in range(n_reactions):
        kind = "remove" if number % 4 == 3 else "add"
        user = (world.alice, world.ben)[number % 2].id
        act = Act(kind, message_id, user, chr(0x1F600 + number // 4 % 64))
        parsers[act.event()](act.payload(world.guild.id, world.channel.id))
        n_waiting = max(n_waiting, len(world.bot.inbox))
        if number % 500 == 0:
            n_tasks = max(n_tasks, len(asyncio.all_tasks()))
    return max(n_tasks, len(asyncio.all_tasks())), n_waiting


async def test_a_burst_takes_few_tasks_and_a_bounded_queue_and_what_overflows_is_marked(world):
    await world.agree(world.alice)
    await world.agree(world.ben)
    message = (await world.ask(world.alice)).id
    world.bot.inbox._limit = LIMIT

    n_tasks, n_waiting = await burst(world, message, N_REACTIONS)
    await world.bot.inbox.wait_idle()

    assert n_tasks < 200
    assert n_waiting == LIMIT
    assert world.bot.inbox.n_recorded == LIMIT
    assert world.bot.inbox.marks.take() == (False, [(world.channel.id, message)])


async def test_what_overflows_is_read_back(settings):
    async with twin(settings) as here:
        await here.people[0].send(here.channels[0], f"<@{here.bot.me}> hello")
        message = here.channels[0].last_message.id
        truth = here.api.truth
        truth.standing[message] = set()
        here.bot.inbox._limit = LIMIT

        users = [member.id for member in here.people]
        endless = acts(random.Random(1), truth, users, kinds={"add": 3, "remove": 2, "clear_emoji": 1})
        for act in itertools.islice(endless, N_REACTIONS):
            here.happen(act)
        await here.quiet()

        assert here.bot.reconciler.n_findings > 0
        for member in here.people[:2]:
            who = Who(here.guild.id, member.id)
            assert await standing_in(here.house.store, who, [message]) == reactions_of(truth, member.id)


async def test_control_discord_pys_own_way_takes_a_task_for_each_event(world):
    handled = []

    async def on_raw_reaction_add(event):
        handled.append(event.message_id)

    world.bot.add_listener(on_raw_reaction_add)
    world.bot._connection.dispatch = lambda name, *args: discord.ext.commands.bot.BotBase.dispatch(
        world.bot, name, *args
    )

    n_tasks, _ = await burst(world, 1, 400)
    while len(handled) < 300:
        await asyncio.sleep(0)

    assert n_tasks >= 300
