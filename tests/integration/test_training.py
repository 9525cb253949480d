"""A process that only trains, on the database of a process that answers."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from bot.app.composition import open_house
from bot.app.health import Health, learning_proofs
from bot.app.monitor import watch_store
from bot.app.training import open_training
from bot.config import ConfigError
from storage.errors import StoreMissing
from tests.fakes import HashEncoder, ScriptedGenerator
from tests.integration.test_processes import ALICE, post, until_version
from tests.rig.waiting import until
from tests.unit.bot.test_metrics import samples


@pytest.fixture
async def shared(settings, postgres):
    """Settings of two processes on one PostgreSQL database."""
    name = await postgres.fresh()
    yield replace(settings, storage=replace(settings.storage, url=postgres.url(name)))
    await postgres.drop(name)


async def test_it_takes_the_training_over_and_what_it_learns_reaches_the_process_that_answers(shared):
    async with AsyncExitStack() as stack:
        parts = {"encoder": HashEncoder(), "trainer_executor": stack.enter_context(ThreadPoolExecutor(1))}
        house = await stack.enter_async_context(
            open_house(shared, seed=0, generator=ScriptedGenerator(), **parts)
        )
        await house.store.consent.record(ALICE)
        version = await post(house, 100)
        training = await stack.enter_async_context(open_training(shared, **parts))
        watch_store(training.metrics, training.store)
        answers_first = house.store.coordination.leads, training.store.coordination.leads

        house.scheduler.start()
        training.scheduler.start()
        await until(lambda: training.store.coordination.leads and not house.store.coordination.leads)
        house.parts.labels_changed(20)

        assert (answers_first, version) == ((True, False), 0)
        assert await until_version(house, 1) == 1
        health = Health(learning_proofs(training.store, training.scheduler))
        await health.beat()
        assert (health.not_ready(), samples(training.metrics)["simpatico_trains", ""]) == ([], 1)


async def test_without_postgresql_it_says_that_the_bot_trains_itself(settings):
    with pytest.raises(ConfigError, match="expected a PostgreSQL database, found none"):
        async with open_training(settings, encoder=HashEncoder()):
            pass


async def test_it_creates_no_store(shared, postgres):
    empty = await postgres.fresh(migrated=False)
    nowhere = replace(shared, storage=replace(shared.storage, url=postgres.url(empty)))

    with pytest.raises(StoreMissing):
        async with open_training(nowhere, encoder=HashEncoder()):
            pass
    await postgres.drop(empty)


async def test_a_stopped_trainer_leaves_the_training_to_the_process_that_answers(shared, monkeypatch):
    monkeypatch.setattr("storage.coordination.ASIDE_S", 1.0)
    parts = {"encoder": HashEncoder()}
    with ThreadPoolExecutor(1) as executor:
        parts["trainer_executor"] = executor
        async with open_house(shared, seed=0, generator=ScriptedGenerator(), **parts) as house:
            house.scheduler.start()
            async with open_training(shared, **parts) as training:
                training.scheduler.start()
                await until(lambda: training.store.coordination.leads)

            async with asyncio.timeout(120):
                while not await house.store.coordination.lead():
                    await asyncio.sleep(0.1)
