"""Kinds of candidates through the whole house: two writers, a member's likes, a forget, and a dead writer."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count

import pytest

from bot.app.composition import open_house
from bot.generation import Context, GeneratorUnavailable
from bot.generators.model_server.writers import OneWriter, SeveralWriters
from bot.replies.decision import Prompt
from bot.ui.feedback_text import kind_lines
from personalization.ranking.arms import FLOOR, Tally
from personalization.ranking.dealing import Writer
from storage.errors import DatabaseFailed
from storage.records import Place, Who
from tests.fakes import HashEncoder, ScriptedGenerator
from tests.rig.counterfactual import small_settings
from tests.unit.storage.given import CHANNEL, settings_in

ALICE, BOB = Who(7, 1001), Who(7, 1002)
K = 4


@asynccontextmanager
async def house_of(tmp_path, *writers: str):
    """Open a house with scripted writers, each of which begins its texts with its name."""
    numbers = count()

    class Numbered(ScriptedGenerator):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.called = name

        async def generate(self, context, styles):
            if not self.queue:
                self.enqueue(*(f"{self.called} says {next(numbers)}" for _ in styles))
            return await super().generate(context, styles)

    generators = [OneWriter(Writer(name), Numbered(name)) for name in writers]
    settings = replace(small_settings(), storage=settings_in(tmp_path, group_commit_ms=0))
    with ThreadPoolExecutor(1) as executor:
        parts = {"encoder": HashEncoder(16), "trainer_executor": executor, "seed": 0}
        async with open_house(settings, generator=SeveralWriters(generators, 60.0), **parts) as house:
            yield house, {one.about.name: one.generator for one in generators}


class Member:
    """Asks and reacts."""

    messages = count(5_000_000_000_000_000_001)

    def __init__(self, house, who: Who) -> None:
        self.house, self.who = house, who

    async def asks(self):
        """Ask once; return the decision and the message of the reply."""
        responder, message = self.house.parts.responder, next(self.messages)
        decision = await responder.decide(Prompt(self.who, Context(f"hello {message}")))
        await responder.recorder.record(self.who, Place(CHANNEL, (message,)), decision)
        return decision, message

    async def likes(self, writer: str, n: int) -> None:
        """Ask ``n`` times; like the replies of one writer and dislike the others."""
        for _ in range(n):
            decision, message = await self.asks()
            emoji = "👍" if decision.impression.seat.writer == writer else "👎"
            await self.house.store.feedback.record_reaction(self.who, message, emoji, added=True)

    async def writers(self, n: int = 5) -> Counter[str]:
        """Return who wrote the candidates of the next ``n`` replies."""
        decisions = [(await self.asks())[0] for _ in range(n)]
        return Counter(one.seat.writer for decision in decisions for one in decision.written)


async def test_a_writer_that_a_member_dislikes_loses_its_seats_for_that_member_alone(tmp_path):
    async with house_of(tmp_path, "plain", "poet") as (house, _):
        alice, bob = Member(house, ALICE), Member(house, BOB)
        for one in (alice, bob):
            await house.store.consent.record(one.who)
        before = await alice.writers()

        await alice.likes("plain", 14)

        after, other = await alice.writers(), await bob.writers()
        assert before == {"plain": 10, "poet": 10}
        assert after["poet"] <= 4 and after.total() == 5 * K
        assert other == {"plain": 10, "poet": 10}
        kinds = await house.parts.arms.kinds(house.store.member_id(ALICE), house.store.guild_id(ALICE))
        (line,) = kind_lines(kinds)
        assert line.index("plain: liked") < line.index("poet: liked 0 of")
        seat = (await alice.asks())[0].impression.seat
        assert min(seat.shares) >= FLOOR / 4


async def test_control_without_the_seat_in_the_impression_nothing_is_learnt(tmp_path, monkeypatch):
    async with house_of(tmp_path, "plain", "poet") as (house, _):
        alice = Member(house, ALICE)
        await house.store.consent.record(ALICE)
        record = house.store.replies.record

        async def without_seat(who, place, impression, **more):
            return await record(who, place, replace(impression, seat=None), **more)

        monkeypatch.setattr(house.store.replies, "record", without_seat)
        await alice.likes("plain", 14)

        assert await alice.writers() == {"plain": 10, "poet": 10}


async def test_after_a_forget_the_writers_have_their_first_shares_again(tmp_path):
    async with house_of(tmp_path, "plain", "poet") as (house, _):
        alice = Member(house, ALICE)
        await house.store.consent.record(ALICE)
        await alice.likes("plain", 14)
        assert (await alice.writers())["poet"] <= 4

        receipt = await house.store.privacy.forget(ALICE.user_id)
        house.parts.memory.forget_person(ALICE.user_id, receipt.member_ids)

        assert await alice.writers() == {"plain": 10, "poet": 10}


async def test_a_writer_that_is_down_is_dealt_nothing_until_it_has_rested(tmp_path):
    async with house_of(tmp_path, "plain", "poet") as (house, generators):
        alice = Member(house, ALICE)
        await house.store.consent.record(ALICE)
        generators["poet"].enqueue_error(GeneratorUnavailable("down"))

        first, second = await alice.writers(1), await alice.writers(1)

        assert first == {"plain": 2}  # the reply goes out with the candidates that are there
        assert second == {"plain": K}
        assert house.generator.n_ends["poet"] == {"failed": 1}
        metrics = house.parts.metrics.text().decode()
        assert 'simpatico_writer_failed_total{writer="poet"} 1.0' in metrics


async def test_a_reply_costs_k_candidates_whatever_is_liked(tmp_path):
    async with house_of(tmp_path, "plain", "poet") as (house, generators):
        alice = Member(house, ALICE)
        await house.store.consent.record(ALICE)
        await alice.likes("poet", 6)

        assert sum(len(styles) for one in generators.values() for styles in one.styles) == 6 * K


async def test_if_the_store_does_not_answer_the_likes_are_ignored(tmp_path, monkeypatch, caplog):
    async with house_of(tmp_path, "plain", "poet") as (house, _):
        await house.store.consent.record(ALICE)

        async def fails(*args, **kwargs):
            raise DatabaseFailed

        monkeypatch.setattr(house.store.choices, "answered", fails)

        decision, _ = await Member(house, ALICE).asks()

        assert len(decision.written) == K
        assert "likes could not be read (DatabaseFailed)" in caplog.text


@pytest.mark.parametrize("n", [0, 1])
def test_a_panel_without_two_kinds_shows_no_line(n):
    assert kind_lines({"style": {"warm": Tally(9, 1)}} if n else {}) == []
