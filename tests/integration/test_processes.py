"""Two processes of one bot on one PostgreSQL database: one trains on the feedback of both, both publish."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from bot.app.composition import open_house
from storage.records import Impression, Place, Who
from tests.fakes import HashEncoder, ScriptedGenerator

ALICE = Who(7, 1)
TEXTS = ("Sure.", "Yes, gladly!", "Let me think about it...", "No?")
WAIT_S = 120.0


@pytest.fixture
async def houses(settings, postgres):
    """Open two processes; the first is the trainer."""
    name = await postgres.fresh()
    storage = replace(settings.storage, url=postgres.url(name))
    async with AsyncExitStack() as stack:
        executor = stack.enter_context(ThreadPoolExecutor(1))
        parts = {"encoder": HashEncoder(), "generator": ScriptedGenerator(), "trainer_executor": executor}
        yield [
            await stack.enter_async_context(open_house(replace(settings, storage=storage), seed=0, **parts))
            for _ in range(2)
        ]
    await postgres.drop(name)


async def rank(house):
    return await house.ranker.rank(house.store.member_id(ALICE), "hello", TEXTS)


async def post(house, message_id: int):
    """Record a reply to Alice in this process, as the bot does."""
    ranking = await rank(house)
    impression = Impression(
        TEXTS,
        ("a", "b", "c", "d"),
        ranking.chosen,
        ranking.scores,
        ranking.prior_scores,
        ranking.propensities,
        ranking.policy,
        ranking.head_version,
        ranking.feature_id,
        ranking.features[ranking.chosen].tobytes(),
    )
    await house.store.replies.record(ALICE, Place(3, (message_id,)), impression)
    await house.store.feedback.record_reaction(ALICE, message_id, "👍", added=True)
    return ranking.head_version


async def until_version(house, wanted: int):
    async with asyncio.timeout(WAIT_S):
        while (found := (await rank(house)).head_version) != wanted:
            await asyncio.sleep(0.02)
    return found


async def test_labels_of_one_process_are_learnt_in_the_other_and_the_head_is_used_in_both(houses):
    trainer, other = houses
    await other.store.consent.record(ALICE)
    versions = [await post(other, 100), (await rank(trainer)).head_version]

    other.scheduler.start()
    trainer.scheduler.start()
    other.parts.labels_changed(20)

    assert versions == [0, 0]
    assert await until_version(other, 1) == await until_version(trainer, 1) == 1
    assert (await other.store.learning.latest_round()).n_members == 1
    assert trainer.ranker.n_kept == other.ranker.n_kept == 1


async def test_who_leaves_in_one_process_is_dropped_from_the_memory_of_the_other(houses):
    trainer, other = houses
    await trainer.store.consent.record(ALICE)
    await post(trainer, 100)
    await trainer.trainer.run_round()
    versions = [(await rank(house)).head_version for house in houses]
    async with asyncio.timeout(WAIT_S):
        while not other.ranker.n_kept:  # news of the round may drop the head that was just read
            await asyncio.sleep(0.02)
            await rank(other)
    assert (trainer.ranker.n_kept, other.ranker.n_kept) == (1, 1)

    receipt = await trainer.store.privacy.forget(ALICE.user_id)
    async with asyncio.timeout(WAIT_S):
        while other.ranker.n_kept:
            await asyncio.sleep(0.02)

    assert (versions, receipt.n_heads) == ([1, 1], 1)
    assert (await rank(other)).head_version == 0
    assert trainer.store._keys._opened == other.store._keys._opened == {}


async def test_when_the_trainer_ends_the_other_takes_over(houses):
    trainer, other = houses
    await other.store.consent.record(ALICE)
    await post(other, 100)
    await trainer.store.close()

    other.scheduler.start()

    assert await until_version(other, 1) == 1
