"""P18: the scheduler drops nothing.

Due work runs exactly once, late if necessary, in three cases. The event loop was blocked at the due time for
longer than APScheduler's grace time. The program was stopped at the due time; due work is recorded in the
database, not in the scheduler. Several marks or two schedulers coincide; a round processes the rows behind
the cursor and advances it. A second process on the same data is refused (for two processes on PostgreSQL see
P30).

Controls: with APScheduler's default settings a late run is dropped; without the check at the start, a round
that came due while the program was stopped waits for its next time.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.events import EVENT_JOB_EXECUTED, EVENT_JOB_MISSED

from bot.app.composition import open_house
from bot.background.scheduler import LearningScheduler
from bot.config import parse_settings
from storage.errors import AlreadyOpen
from storage.records import Impression, Place, Who
from storage.store import Store
from tests.fakes import HashEncoder, ScriptedGenerator
from tests.rig.waiting import until

pytestmark = pytest.mark.promise("P18")

DAY = 86400.0
ALICE = Who(1, 820_000_000_000_000_001)
BLOCKED_S = 3.5
"""Seconds that the loop is blocked: the run is due after one second and has a grace time of one second."""


class Runs:
    def __init__(self) -> None:
        self.count = 0

    async def __call__(self) -> None:
        self.count += 1


async def runs_after_a_blocked_loop(*, forgiving: bool) -> int:
    runs, decided = Runs(), []
    scheduler = LearningScheduler({"round": (runs, 3600.0)}, early="round", early_labels=10)
    scheduler.scheduler.add_listener(decided.append, EVENT_JOB_EXECUTED | EVENT_JOB_MISSED)
    scheduler.start()
    if not forgiving:
        scheduler.scheduler.modify_job("round", misfire_grace_time=1)
    await asyncio.sleep(0)
    time.sleep(BLOCKED_S)
    await until(lambda: decided)
    for _ in range(30):  # let the worker run
        await asyncio.sleep(0)
    await scheduler.stop()
    return runs.count


async def test_a_run_that_was_due_while_the_loop_was_blocked_comes_late_and_once():
    assert await runs_after_a_blocked_loop(forgiving=True) == 1


async def test_control_apschedulers_own_settings_drop_the_late_run(caplog):
    assert await runs_after_a_blocked_loop(forgiving=False) == 0


async def test_two_schedulers_that_are_due_at_once_take_each_label_in_once(world):
    await world.agree(world.alice)
    await world.alice.react(await world.ask(world.alice), "👍")
    reports = []

    async def a_round() -> None:
        reports.append(await world.house.trainer.run_round())

    pair = [LearningScheduler({"round": (a_round, 3600.0)}, early="round", early_labels=10) for _ in range(2)]
    for scheduler in pair:
        scheduler._worker = asyncio.create_task(scheduler._work())
        scheduler.mark_due("round")
        scheduler.mark_due("round")
    while len(reports) < 2:
        await asyncio.sleep(0.01)
    for scheduler in pair:
        await scheduler.stop()

    assert sorted(report.n_members for report in reports) == [0, 1]


async def test_a_second_process_on_the_same_data_is_refused(settings, world):
    with pytest.raises(AlreadyOpen):
        await Store.open(settings.storage)


def a_house(folder, executor):
    settings = parse_settings(
        {
            "storage": {"data_dir": str(folder / "data"), "key_dir": str(folder / "keys")},
            "personalization": {"device": "cpu", "round_every_s": DAY},
        }
    )
    return open_house(
        settings,
        encoder=HashEncoder(),
        generator=ScriptedGenerator(),
        trainer_executor=executor,
        seed=0,
    )


async def label(house, number: int) -> None:
    """Record a reply to Alice and her thumb on it."""
    ranking = await house.ranker.rank(None, "", ["Yes."])
    impression = Impression(
        ("Yes.",),
        ("plain",),
        0,
        (0.0,),
        (0.0,),
        (1.0,),
        "greedy",
        0,
        ranking.feature_id,
        ranking.features[0].tobytes(),
    )
    await house.store.consent.record(ALICE)
    await house.store.replies.record(ALICE, Place(1, (number,)), impression)
    await house.store.feedback.record_reaction(ALICE, number, "👍", added=True)


async def labels_learnt(house, *, within_s: float) -> int:
    """Wait for a round and return its number of labels; 0 if there is none in time."""
    until = time.monotonic() + within_s
    while (last := await house.store.learning.latest_round()) is None and time.monotonic() < until:
        await asyncio.sleep(0.05)
    return 0 if last is None else last.n_labels


async def after_a_stop(folder, *, within_s: float) -> int:
    """Record a label, stop before its round is due, start again; return the number of labels learnt."""
    with ThreadPoolExecutor(1) as executor:
        async with a_house(folder, executor) as house:
            await label(house, 1)
        async with a_house(folder, executor) as house:
            house.scheduler.start()
            return await labels_learnt(house, within_s=within_s)


async def test_a_round_that_came_due_while_stopped_runs_at_the_start(tmp_path):
    assert await after_a_stop(tmp_path, within_s=60) == 1


async def test_control_without_the_look_at_the_start_it_waits_for_its_next_time(tmp_path, monkeypatch):
    start = LearningScheduler.start

    def late(self) -> None:
        start(self)
        for job in self.scheduler.get_jobs():
            job.modify(next_run_time=datetime.now(UTC) + timedelta(days=1))

    monkeypatch.setattr(LearningScheduler, "start", late)

    assert await after_a_stop(tmp_path, within_s=4) == 0


async def test_a_stop_lets_the_running_work_finish():
    begun, finished = asyncio.Event(), []

    async def work() -> None:
        begun.set()
        await asyncio.sleep(0.3)
        finished.append(True)

    scheduler = LearningScheduler({"round": (work, DAY)}, early="round", early_labels=1)
    scheduler.start()
    scheduler.mark_due("round")
    await begun.wait()
    await scheduler.stop()

    assert finished == [True]
