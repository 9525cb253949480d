"""Background tasks: each is kept, a failure is logged at once, a close cancels what runs."""

from __future__ import annotations

import asyncio
import logging

import pytest

from bot.tasks import Tasks
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
