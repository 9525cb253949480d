"""P17: the bot is a good citizen of Discord's API.

Only reading back after outages could send too many requests. A simulated Discord counts requests on a clock
that only the bot's waits advance. It answers 429 above 50 requests per second (the global limit) and above 30
per channel in five seconds. Refusals (401, 403, 429) are counted like Discord counts invalid requests. Many
outages with hundreds of reactions to read cause no 429, and a channel closed to the bot costs one refusal in
all. While Discord fails, the bot backs off exponentially.

Controls: without the pauses between requests the limits are exceeded; without the memory of closed channels
each look is refused again.
"""

from __future__ import annotations

import asyncio
import itertools

import discord
import pytest
from cachetools import TTLCache

from bot.reactions.reconciler import FIRST_WAIT_S
from tests.rig.outages import Twin, _Answer, twin
from tests.rig.size import sized

pytestmark = pytest.mark.promise("P17")

N_OUTAGES = sized(ci=3, full=50)
N_REPLIES = 8


class Limits:
    """Discord's rate limits, on a clock that only the bot's waits advance."""

    def __init__(self, here: Twin, *, pauses: bool = True) -> None:
        self.now = 0.0
        self.pauses = pauses
        self.requests: list[tuple[float, int]] = []
        self.n_limited = 0
        here.api.before = self.count
        here.bot.reconciler._sleep = self.sleep
        self._api = here.api

    async def sleep(self, seconds: float) -> None:
        self.now += seconds if self.pauses or seconds >= FIRST_WAIT_S else 0.0
        await asyncio.sleep(0)

    def count(self, _n_asked: int) -> None:
        channel = self._api.channel
        self.requests.append((self.now, channel))
        in_all = sum(self.now - at < 1 for at, _ in self.requests[-60:])
        here = sum(self.now - at < 5 and one == channel for at, one in self.requests[-60:])
        if in_all > 50 or here > 30:
            self.n_limited += 1
            raise discord.HTTPException(_Answer(429), "limited")

    @property
    def n_refused(self) -> int:
        return self.n_limited + sum(status in (401, 403) for _, _, status in self._api.asked)


async def crowded(here: Twin) -> None:
    """Post replies with reactions of members and strangers, so that stored counts never match."""
    for number in range(N_REPLIES):
        channel = here.channels[number % 2]
        await here.people[0].send(channel, f"<@{here.bot.me}> hello")
        given = {(member.id, emoji, False) for member in here.people for emoji in "👍👎🎉😀"}
        here.api.truth.standing[channel.last_message.id] = given
    here.api.asked.clear()


async def test_outages_cost_no_429_and_a_closed_channel_one_refusal(settings):
    async with twin(settings) as here:
        await crowded(here)
        here.api.refusals[here.channels[1].id] = (403, 50001)
        limits = Limits(here)

        for _ in range(N_OUTAGES):
            await here.new_session()

        assert len(limits.requests) > N_OUTAGES * N_REPLIES
        assert (limits.n_limited, limits.n_refused) == (0, 1)
        closed = [request for request in here.api.asked if request[1] == here.channels[1].id]
        assert len(closed) == 1


async def test_the_bot_asks_less_and_less_while_discord_is_unwell(settings):
    async with twin(settings) as here:
        await crowded(here)
        limits = Limits(here)
        here.api.down = 6

        await here.new_session()

        times = [at for at, _ in limits.requests[:7]]
        assert [later - at for at, later in itertools.pairwise(times)] == [
            30,
            60,
            120,
            240,
            480,
            960,
        ]


async def test_control_without_pauses_the_limits_are_passed(settings):
    async with twin(settings) as here:
        await crowded(here)
        limits = Limits(here, pauses=False)

        for _ in range(3):
            await here.new_session()

        assert limits.n_limited > 0


async def test_control_without_memory_a_closed_channel_refuses_again_and_again(settings):
    async with twin(settings) as here:
        await crowded(here)
        here.api.refusals[here.channels[1].id] = (403, 50001)
        limits = Limits(here)
        here.bot.reconciler._closed = TTLCache(1, ttl=0)

        for _ in range(3):
            await here.new_session()

        assert limits.n_refused > 1
