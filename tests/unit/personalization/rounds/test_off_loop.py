"""The worker process is there while there is work, and not for long after it; features reach it in memory."""

from __future__ import annotations

import asyncio
import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from personalization.rounds import off_loop, worker
from personalization.rounds.examples import PAGE_BYTES
from personalization.rounds.off_loop import OffLoop
from personalization.rounds.worker import SHARED_BYTES
from personalization.solving.training import Examples


@pytest.fixture
def opened(monkeypatch) -> list[ThreadPoolExecutor]:
    """Threads in place of processes, each in the order in which it was opened."""
    workers: list[ThreadPoolExecutor] = []

    def open_worker() -> ThreadPoolExecutor:
        workers.append(ThreadPoolExecutor(1))
        return workers[-1]

    monkeypatch.setattr(off_loop, "open_worker", open_worker)
    return workers


def is_ended(worker: ThreadPoolExecutor) -> bool:
    return worker._shutdown


async def test_worker_ends_when_idle_and_the_next_work_has_a_new_one(opened) -> None:
    place = OffLoop(idle_s=0.02)

    first = await place.in_worker(abs, -1)
    await asyncio.sleep(0.2)
    ended = is_ended(opened[0])
    second = await place.in_worker(abs, -2)

    assert (first, ended, second) == (1, True, 2)
    assert [is_ended(worker) for worker in opened] == [True, False]
    await place.close()
    assert all(is_ended(worker) for worker in opened)


async def test_worker_stays_while_any_work_goes_on_and_between_works_in_short_order(opened) -> None:
    place, go_on = OffLoop(idle_s=0.1), asyncio.Event()
    loop = asyncio.get_running_loop()

    long = asyncio.create_task(place.in_worker(asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result))
    short = asyncio.create_task(place.in_worker(abs, -1))
    await asyncio.sleep(0.3)
    go_on.set()
    await asyncio.gather(long, short)
    for _ in range(10):
        await place.in_worker(abs, -1)
        await asyncio.sleep(0.03)

    assert [is_ended(worker) for worker in opened] == [False]
    await place.close()


async def test_a_worker_that_was_given_is_left_to_its_owner(opened) -> None:
    with ThreadPoolExecutor(1) as given:
        place = OffLoop(given, idle_s=0.01)

        await place.in_worker(abs, -1)
        await asyncio.sleep(0.1)

        assert (opened, is_ended(given)) == ([], False)
        await place.close()


def some_examples(n: int = 3) -> Examples:
    X = np.random.default_rng(1).normal(size=(2, n, 5)).astype(np.float32)
    y = np.ones(X.shape[:2], np.float32)
    return Examples(X, y, y, y > 0)


def total(examples: Examples, factor: float) -> float:
    """Return a sum that differs if any feature does."""
    return factor * float((examples.X.ravel() * np.arange(examples.X.size)).sum())


@pytest.mark.slow
async def test_features_reach_the_process_by_shared_memory_and_do_not_stay_there() -> None:
    place, examples = OffLoop(), some_examples()

    found = await place.on_examples(total, examples, 2.0)

    shared = place._own._shared
    assert found == total(examples, 2.0)
    assert shared is not None and not any(shared)
    large = some_examples(SHARED_BYTES // 40 + 1)
    assert not place._own.place(large.X)
    assert await place.on_examples(total, large, 2.0) == total(large, 2.0)
    await place.close()


@pytest.mark.slow
async def test_without_room_in_memory_features_take_the_pipe(monkeypatch) -> None:
    monkeypatch.setattr(worker, "_IN_MEMORY", "/proc")
    place, examples = OffLoop(), some_examples()

    assert await place.on_examples(total, examples, 2.0) == total(examples, 2.0)
    assert place._own._shared is None
    await place.close()


@pytest.mark.parametrize("place", ["/proc", "/no/such/place"])
def test_there_is_no_shared_memory_without_room(monkeypatch, place) -> None:
    monkeypatch.setattr(worker, "_IN_MEMORY", place)
    assert worker._shared_memory(multiprocessing.get_context("spawn")) is None


async def test_the_shared_memory_holds_a_page_of_the_trainer() -> None:
    assert PAGE_BYTES <= SHARED_BYTES


async def test_a_given_executor_gets_the_examples_themselves(opened) -> None:
    with ThreadPoolExecutor(1) as given:
        place, examples = OffLoop(given), some_examples()
        assert await place.on_examples(lambda seen: seen is examples, examples)
        await place.close()
