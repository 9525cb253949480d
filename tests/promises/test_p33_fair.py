"""P33: one member's thousand prompts do not starve another.

Alice floods the bot: one prompt in each of many channels (40 in CI, 100 in full size), and more prompts than
the queue accepts (30 in CI, 100 in full size) in the channel where Ben asks one question. Ben's delay is
counted in answers that the language model begins before his, not in seconds. The model is slower than
Discord: it ends an answer only after all earlier ones are posted. The number of Alice's waiting prompts must
make no difference. It is less than a thousand because the simulator's time grows with its square.

* In another channel, Ben waits for the answers in progress and one more.
* Behind Alice in the same channel, he waits for her prompts there, whose number is bounded, and for as many
  of her others.

Controls: with turns on a first-come, first-served basis, Ben waits for all of Alice's prompts. He also does
if fair turns count only the member who asked: Alice's prompt ahead of Ben then waits behind all her others.
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

N_CHANNELS = sized(ci=40, full=100)  # the simulator's time grows with the square of waiting prompts
N_MORE = sized(ci=30, full=100)
UNDER_WAY = 2
"""Answers already begun: one is being generated, the next is being prepared."""
IN_HIS_WAY = 3
"""Alice's prompts in Ben's channel: the current one, and as many as one member may have waiting."""


class SlowerThanDiscord(ScriptedGenerator):
    """Generator that ends an answer only after all earlier ones are posted; the first waits for a gate."""

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
    """Wait until this many answers wait for their turn."""
    while len(world.bot.responder._turns) < n_turns:
        await asyncio.sleep(0.01)


async def begun_before_ben(settings, *, in_her_channel: bool) -> int:
    """Count the answers to Alice's earlier prompts that the language model began before Ben's."""
    generator = SlowerThanDiscord()
    async with opened(settings, generator=generator) as world:
        generator.bot = world.bot
        # Without the bounds on one member's answers, so that fairness alone keeps Ben from waiting.
        world.bot.queues._n_unfinished = lambda _: 0
        world.bot.responder._turns._most_waiting = 10**6
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
        assert len(asked) >= N_CHANNELS + 1, "expected an answer in every channel"
        return asked.index("just this")


async def test_a_flood_elsewhere_delays_another_by_one_answer(settings):
    assert await begun_before_ben(settings, in_her_channel=False) <= UNDER_WAY + 1


async def test_a_flood_in_the_same_channel_delays_another_by_what_waits_there(settings):
    delay = await begun_before_ben(settings, in_her_channel=True)

    # While each of her prompts there is generated and posted, UNDER_WAY others of hers are begun each time.
    assert delay <= UNDER_WAY * (1 + 2 * IN_HIS_WAY)


class FirstComeFirstServed(FairTurns):
    """Turns in the order of the requests."""

    def turn(self, owner, behind=tuple):
        return super().turn("everybody")


class NobodyBehind(FairTurns):
    """Turns that ignore the members who wait behind a prompt."""

    def turn(self, owner, behind=tuple):
        return super().turn(owner)


@pytest.mark.parametrize("turns", [FirstComeFirstServed, NobodyBehind])
async def test_control_without_it_another_waits_for_all(settings, monkeypatch, turns):
    monkeypatch.setattr("bot.app.composition.FairTurns", turns)

    assert await begun_before_ben(settings, in_her_channel=True) >= N_CHANNELS
