"""A bot that has learnt a taste does not wait for candidates that would hardly be chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from bot.background.uplift_reporter import Reporter
from bot.commands.report import as_text
from bot.generation import Candidate, Context, Enough, Style
from bot.replies.decision import Prompt
from personalization.ranking import early_stop, score_forecast
from personalization.ranking.early_stop import Ending
from storage.members.wishes import Wish
from storage.records import EARLY, Consent, Who
from tests.fakes import ScriptedGenerator
from tests.integration.conftest import opened, shapeless

SHOUTS, WHISPERS = "Sure!!! Great!!! Let us go!!!", "That may well be so, but it is hard to say from here."
BAD = "Join us at https://discord.gg/abcdef now!!!"


class ArrivingGenerator(ScriptedGenerator):
    """A model server: the candidates of a reply arrive one by one, the shouted ones first."""

    def __init__(self) -> None:
        super().__init__()
        self.n_replies = 0
        self.n_written: list[int] = []
        self.first = SHOUTS

    def texts(self) -> list[str]:
        self.n_replies += 1
        n = self.n_replies
        return [f"{self.first} {n}", *(f"{WHISPERS} {n}{i}" for i in "abc")]

    async def generate(self, context: Context, styles: Sequence[Style]) -> list[Candidate]:
        self.enqueue(*self.texts())
        return await super().generate(context, styles)

    async def generate_until(
        self, context: Context, styles: Sequence[Style], enough: Enough
    ) -> list[Candidate]:
        written = await self.generate(context, styles)
        for n in range(1, len(written)):
            if await enough(written[:n], styles[n:]):
                self.n_written.append(n)
                return written[:n]
        self.n_written.append(len(written))
        return written


@pytest.mark.parametrize("compared", [0.0, 1.0])
async def test_replies_of_a_known_member_stop_early_are_recorded_as_such_and_reported(
    settings, monkeypatch, compared
):
    """The bound is so wide that any candidate is good enough; the rule itself has tests of its own."""
    for name, value in {"COMPARED": compared, "LEAST_LABELS": 4}.items():
        monkeypatch.setattr(early_stop, name, value)
    monkeypatch.setattr(score_forecast, "LEAST_SEEN", 4)
    settings = shapeless(settings)
    learning = replace(settings.personalization, policy="epsilon", exploration=0.5, early_stop=100.0)
    alone = replace(settings.bot, history_messages=0)  # similar candidates would be echoes of earlier replies
    settings = replace(settings, personalization=learning, bot=alone)
    generator = ArrivingGenerator()
    async with opened(settings, generator=generator) as world:
        await world.agree(world.alice)
        for n in range(6):
            reply = await world.ask(world.alice, f"hello {n}")
            await world.alice.react(reply, "👍" if "!" in reply.content else "👎")
        await world.house.trainer.run_round()
        assert generator.n_written == [], "no reply of an unknown member stops"

        responder, alice = world.house.parts.responder, Who(world.guild.id, world.alice.id)
        decision = await responder.decide(Prompt(alice, Context("hello again")))
        await world.ask(world.alice, "and again")
        generator.first = BAD
        await responder.decide(Prompt(alice, Context("hello, bad one")))
        report = await Reporter(world.house.store.choices, settings.personalization).report()
        n_endings, n_dropped = responder.early.n_endings, sum(responder.source.n_dropped.values())

    stops = compared == 0
    assert generator.n_written[:2] == ([1, 1] if stops else [4, 4])
    assert generator.n_written[2] > 1, "what may not be posted is not good enough"
    assert n_dropped == 1, "and it is counted once"
    impression = decision.impression
    assert len(impression.propensities) == len(impression.candidates) == (1 if stops else 4)
    assert sum(impression.propensities) == pytest.approx(1)
    assert impression.policy.startswith(EARLY if stops else early_stop.WAITED)
    assert n_endings[Ending.STOPPED if stops else Ending.WAITED] >= 2
    told = "1 were posted at once, 0 waited" if stops else "0 were posted at once, 1 waited"
    assert told in as_text(report, 90)


@pytest.mark.parametrize("asks", [True, False])
async def test_replies_under_a_wish_say_nothing_about_those_without_one(settings, monkeypatch, asks):
    monkeypatch.setattr(score_forecast, "LEAST_SEEN", 1)
    async with opened(shapeless(settings), generator=ArrivingGenerator()) as world:
        await world.agree(world.alice)
        responder, alice = world.house.parts.responder, Who(world.guild.id, world.alice.id)
        await responder.wishes.put(alice, Wish(presets=("short",) if asks else ()), Consent.AGREED)
        await responder.decide(Prompt(alice, Context("hello")))
        head = await world.house.parts.ranker.head_of(None, b"")
        known = responder.early.recent.forecast(head, world.guild.id)

    assert (known is None) == asks
