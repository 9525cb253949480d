"""P33: one member's thousand prompts do not starve another.

Alice floods the bot: a prompt in each of many channels (40 in CI, 100 in full size), and more of them than it
takes in the channel where Ben asks one thing (30 in CI, 100 in full size). Ben's delay is counted in answers
that the language model begins before his, not in seconds, and the model is slower than Discord: it ends an
answer when every other is posted. How many prompts Alice waits with must make no difference; the simulator's
own time grows with the square of them, so that it is no thousand in one run.

* In a channel of his own Ben waits for what is under way, and one more.
* Behind Alice in her channel he waits for what she has there, which is bounded, and as many of her others.

Controls: turns that are handed out first come, first served, let Ben wait for all of Alice's prompts; so does
a fair order in which Alice's prompt in Ben's way waits for her turn alone, and all her others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from bot.client import SimpaticoBot
from bot.generation import Candidate, Context, Style
from bot.replies.fair_turns import FairTurns
from tests.fakes import ScriptedGenerator
from tests.integration.conftest import World, opened
from tests.integration.conftest import settings as settings  # a fixture
from tests.rig.size import sized

pytestmark = pytest.mark.promise("P33")

N_CHANNELS = sized(ci=40, full=100)  # the simulator's time grows with the square of what waits in it
N_MORE = sized(ci=30, full=100)
UNDER_WAY = 2
"""Answers that are begun already: one is written, the next made ready."""
IN_HIS_WAY = 3
"""Prompts of Alice's in Ben's channel: one whose turn it is, and as many as may wait of one member."""


class SlowerThanDiscord(ScriptedGenerator):
    """Ends an answer only when all that were ended before are posted; waits for a gate before the first."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.bot: SimpaticoBot | None = None
        self.n_writing = 0

    async def generate(self, context: Context, styles: Sequence[Style]) -> list[Candidate]:
        self.n_writing += 1
        try:
            candidates = await super().generate(context, styles)
            assert self.bot is not None
            while len(self.bot.queues._running) > len(self.bot.responder._turns) + self.n_writing:
                await asyncio.sleep(0)
            return candidates
        finally:
            self.n_writing -= 1


def say(world: World, who, text: str, channel) -> None:
    world.env.backend.create_message(channel.id, who.id, f"<@{world.bot.me}> {text}")


async def waiting(world: World, n_turns: int) -> None:
    """Return when so many answers wait for their turn."""
    while len(world.bot.responder._turns) < n_turns:
        await asyncio.sleep(0.01)


async def begun_before_ben(settings, *, in_her_channel: bool) -> int:
    """Answers that the language model began before Ben's, of all that Alice asked for before he came."""
    generator = SlowerThanDiscord()
    async with opened(settings, generator=generator) as world:
        generator.bot = world.bot
        channels = [world.guild.create_text_channel(f"channel-{number}") for number in range(N_CHANNELS)]
        for channel in channels:
            say(world, world.alice, "me first", channel)
        await waiting(world, N_CHANNELS - UNDER_WAY)
        for number in range(N_MORE):
            say(world, world.alice, f"and {number}", channels[-1])
        say(world, world.ben, "just this", channels[-1] if in_her_channel else world.channel)
        await waiting(world, N_CHANNELS - UNDER_WAY + (not in_her_channel))
        while in_her_channel and world.ben.id not in world.bot.queues.owners_in(channels[-1].id):
            await asyncio.sleep(0.01)
        generator.gate.set()
        await world.env.settle()

        asked = [context.message for context in generator.contexts]
        assert len(asked) >= N_CHANNELS + 1, "every channel has its answer"
        return asked.index("just this")


async def test_a_flood_elsewhere_delays_another_by_one_answer(settings):
    assert await begun_before_ben(settings, in_her_channel=False) <= UNDER_WAY + 1


async def test_a_flood_in_the_same_channel_delays_another_by_what_waits_there(settings):
    delay = await begun_before_ben(settings, in_her_channel=True)

    # While each of her prompts there is written, and while it is posted, so many others of hers are begun.
    assert delay <= UNDER_WAY * (1 + 2 * IN_HIS_WAY)


class FirstComeFirstServed(FairTurns):
    """Turns in the order in which they were asked for."""

    def turn(self, owner, behind=tuple):
        return super().turn("everybody")


class NobodyBehind(FairTurns):
    """Turns of the member alone who asked."""

    def turn(self, owner, behind=tuple):
        return super().turn(owner)


@pytest.mark.parametrize("turns", [FirstComeFirstServed, NobodyBehind])
async def test_control_without_it_another_waits_for_all(settings, monkeypatch, turns):
    monkeypatch.setattr("bot.app.composition.FairTurns", turns)

    assert await begun_before_ben(settings, in_her_channel=True) >= N_CHANNELS
