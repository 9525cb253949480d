"""The worker process is there while there is work, and not for long after it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from personalization.rounds import off_loop
from personalization.rounds.off_loop import OffLoop


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
