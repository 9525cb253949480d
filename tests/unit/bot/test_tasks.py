"""Background tasks and blocking work: failures are logged, a close cancels what runs, deadlines hold."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from bot.tasks import Tasks, Threads
from tests.rig.waiting import until


async def fail() -> None:
    raise RuntimeError("text of a member")


async def test_a_failing_task_is_logged_with_its_name_and_the_others_go_on(caplog):
    caplog.set_level(logging.ERROR)
    async with Tasks() as tasks:
        other = tasks.spawn(asyncio.Event().wait(), name="other")
        tasks.spawn(fail(), name="failing")
        await until(lambda: len(tasks) == 1)

        assert [record.getMessage() for record in caplog.records] == ["the task failing failed: RuntimeError"]
        assert not other.done()


async def test_a_close_cancels_what_runs_and_waits_for_its_end():
    tasks, ended = Tasks(), []

    async def run() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("run")

    task = tasks.spawn(run())
    await asyncio.sleep(0)

    await tasks.close()

    assert (ended, task.cancelled(), len(tasks)) == (["run"], True, 0)


async def test_the_result_of_a_task_can_be_awaited():
    async with Tasks() as tasks:
        assert await tasks.spawn(asyncio.sleep(0, "result")) == "result"
        with pytest.raises(RuntimeError):
            await tasks.spawn(fail())


async def test_overdue_work_is_left_alone_and_other_work_goes_on():
    threads, ended = Threads(within_s=0.05), threading.Event()

    with pytest.raises(TimeoutError):
        await threads.run(lambda: ended.wait(30))

    assert await threads.run(lambda: "done") == "done"
    ended.set()


async def test_with_too_many_overdue_threads_work_is_refused_until_one_ends():
    threads, ended = Threads(within_s=0.05, most=2), threading.Event()
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await threads.run(lambda: ended.wait(30))

    with pytest.raises(TimeoutError, match="all busy"):
        await threads.run(lambda: "done")
    ended.set()
    await until(lambda: threads._free._value == 2)
    assert await threads.run(lambda: "done") == "done"


async def test_the_error_of_work_in_a_thread_is_raised():
    def refuse() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Threads(within_s=5.0).run(refuse)
