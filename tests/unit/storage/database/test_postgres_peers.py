"""The trainer's lock on a connection that refuses two statements at once, as asyncpg's does."""

import asyncio
import random
from functools import partial
from typing import Any

import pytest
from asyncpg import InterfaceError
from sqlalchemy.ext.asyncio import create_async_engine

from storage.database.postgres_peers import PostgresPeers
from storage.errors import DatabaseFailed

TRAINING, ONLY_TRAINS = (1, 2), (1, 5)


class Driver:
    """A connection of asyncpg: one statement at a time; the server counts how often a lock was taken."""

    def __init__(self) -> None:
        self.locks: dict[tuple[int, ...], int] = {}
        self._is_busy = self._is_closed = False
        self._carried_out: bool | None = None

    def fails_next(self, *, carried_out: bool) -> None:
        """Let the next statement fail, before or after the server carried it out."""
        self._carried_out = carried_out

    def is_closed(self) -> bool:
        return self._is_closed

    def terminate(self) -> None:
        self._is_closed = True
        self.locks.clear()

    async def fetchval(self, query: str, *values: int) -> Any:
        if self._is_busy or self._is_closed:
            raise InterfaceError("cannot perform operation: another operation is in progress")
        self._is_busy = True
        failure, self._carried_out = self._carried_out, None
        await asyncio.sleep(0)
        change = 1 if "try_advisory" in query else -1 if "unlock" in query else 0
        if change and failure is not False:
            self.locks[values] = self.locks.get(values, 0) + change
        await asyncio.sleep(0)
        self._is_busy = False
        if failure is not None:
            raise InterfaceError("no answer")
        return [] if "array_agg" in query else True


async def peers_on(driver: Driver) -> PostgresPeers:
    engine = create_async_engine("sqlite+aiosqlite://")  # not used: the connection is given
    peers = PostgresPeers(engine, "the database", training=TRAINING, only_trains=ONLY_TRAINS)
    peers._driver = driver
    await peers.shards.connect(partial(peers._ask, driver))
    return peers


def agrees(peers: PostgresPeers, driver: Driver) -> bool:
    return driver.locks.get(TRAINING, 0) == peers.leads


@pytest.mark.parametrize("other", ["served", "claim", "sees_trainer", "take_lead", "give_lead"])
@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
async def test_the_lead_is_given_while_another_statement_runs(other, first):
    peers = await peers_on(driver := Driver())
    assert await peers.take_lead()
    others = {
        "served": peers.shards.served,
        "claim": partial(peers.claim, 7),
        "sees_trainer": peers.sees_trainer,
        "take_lead": peers.take_lead,
        "give_lead": peers.give_lead,
    }
    calls = [others[other], peers.give_lead] if first else [peers.give_lead, others[other]]

    await asyncio.gather(*(call() for call in calls))

    assert agrees(peers, driver)
    await peers.give_lead()
    assert (peers.leads, driver.locks[TRAINING]) == (False, 0)


async def test_two_jobs_that_ask_at_once_take_the_lock_once():
    peers = await peers_on(driver := Driver())

    assert sorted(await asyncio.gather(*(peers.take_lead() for _ in range(3)))) == [False, False, True]
    assert driver.locks == {TRAINING: 1}


@pytest.mark.parametrize("take", [True, False])
@pytest.mark.parametrize("carried_out", [True, False])
async def test_after_a_statement_without_an_answer_nobody_holds_the_lock(take, carried_out):
    peers = await peers_on(driver := Driver())
    if not take:
        assert await peers.take_lead()
    driver.fails_next(carried_out=carried_out)

    with pytest.raises(DatabaseFailed):
        await (peers.take_lead() if take else peers.give_lead())

    assert (peers.leads, driver.is_closed(), peers._lost.is_set()) == (False, True, True)
    assert await peers.take_lead() is False


@pytest.mark.parametrize("seed", range(30))
async def test_memory_and_server_agree_after_any_mix_of_calls_failures_and_cancellations(seed):
    rng = random.Random(seed)
    peers = await peers_on(driver := Driver())
    calls = [
        peers.take_lead,
        peers.give_lead,
        peers.sees_trainer,
        peers.shards.served,
        partial(peers.claim, 3),
    ]
    for _ in range(12):
        if rng.random() < 0.1:
            driver.fails_next(carried_out=rng.random() < 0.5)
        tasks = [asyncio.ensure_future(rng.choice(calls)()) for _ in range(rng.randrange(1, 5))]
        for _ in range(rng.randrange(4)):
            await asyncio.sleep(0)
        if rng.random() < 0.4:
            rng.choice(tasks).cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with peers._asking:  # a statement goes on although its caller was cancelled
            pass
        await asyncio.sleep(0)
        async with peers._asking:
            assert agrees(peers, driver)
