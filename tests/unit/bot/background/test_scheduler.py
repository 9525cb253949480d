"""The scheduler marks work as due; the worker does it once, in order, and survives failures."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta

from apscheduler.jobstores.memory import MemoryJobStore

from bot.background import scheduler as scheduler_module
from bot.background.scheduler import LearningScheduler
from tests.rig.waiting import until

AGES_S = 3600.0


class Work:
    """Counts its runs; each takes until the test releases it."""

    def __init__(self, *, fails: int = 0) -> None:
        self.n_started = 0
        self.n_finished = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self._fails = fails

    async def __call__(self) -> None:
        self.n_started += 1
        await self.gate.wait()
        if self.n_started <= self._fails:
            raise RuntimeError("round failed")
        self.n_finished += 1


def scheduler_for(work: Work, *, every_s: float = 3600.0, early_labels: int = 3) -> LearningScheduler:
    return LearningScheduler({"round": (work, every_s)}, early="round", early_labels=early_labels)


async def test_jobs_are_never_dropped_and_never_pile_up():
    scheduler = scheduler_for(Work(), every_s=60.0)
    scheduler.start()

    job = scheduler.scheduler.get_job("round")

    assert job is not None
    assert (job.id, job.coalesce, job.max_instances, job.misfire_grace_time) == ("round", True, 1, None)
    assert job.trigger.interval == timedelta(seconds=60)
    await scheduler.stop()


async def test_a_due_interval_runs_the_work():
    work = Work()
    scheduler = scheduler_for(work, every_s=1.0)

    scheduler.start()
    await until(lambda: work.n_finished >= 1)

    await scheduler.stop()


async def test_enough_labels_start_a_round_early():
    work = Work()
    scheduler = scheduler_for(work)
    scheduler.start()

    scheduler.labels_changed(2)
    await asyncio.sleep(0.02)
    before = work.n_finished
    scheduler.labels_changed(1)
    await until(lambda: work.n_finished == 1)

    assert before == 0
    await scheduler.stop()


async def test_a_first_label_plans_one_round_within_three_seconds():
    work = Work()
    scheduler = scheduler_for(work)
    scheduler.start()
    await until(lambda: work.n_finished == 1)  # every work runs soon after the start
    scheduler._rested_at = 0.0

    scheduler.labels_changed(1)
    planned = scheduler.scheduler.get_job("early")
    scheduler.labels_changed(1)

    assert planned is not None
    assert planned.next_run_time - datetime.now(scheduler.time) <= timedelta(seconds=3)
    assert scheduler.scheduler.get_job("early").next_run_time == planned.next_run_time
    await until(lambda: work.n_finished == 2)
    assert scheduler.scheduler.get_job("early") is None
    await scheduler.stop()


async def rounds_under_a_stream(early_share: float, others: float = 0) -> tuple[int, float]:
    """Change labels for 1.5 s; return how many rounds of 50 ms of CPU time ran, and the seconds.

    Args:
        early_share: Share of the time that rounds may take.
        others: Seconds that other threads compute during a round.
    """
    runs = 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0.05)

    scheduler = LearningScheduler(
        {"round": (work, AGES_S)},
        early="round",
        early_labels=1,
        early_s=0.01,
        early_share=early_share,
        cpu_s=lambda: (0.05 + others) * runs,
    )
    scheduler.start()
    began = time.monotonic()
    while time.monotonic() - began < 1.5 or runs < 2:
        scheduler.labels_changed(5)
        await asyncio.sleep(0.005)
    seconds = time.monotonic() - began
    await scheduler.stop()
    return runs, seconds


async def test_a_stream_of_labels_leaves_the_rounds_their_share_of_the_time():
    runs, seconds = await rounds_under_a_stream(0.1)

    # A round rests for 0.45 s; one more begins with the clock, and one with the start.
    assert 2 <= runs <= seconds / 0.45 + 2


async def test_what_other_threads_compute_meanwhile_lets_no_round_rest_longer():
    runs, _ = await rounds_under_a_stream(0.5, others=100.0)

    assert runs >= 4


async def test_control_without_the_rest_rounds_take_all_the_time():
    for _ in range(10):  # on a busy machine few rounds fit into the time
        runs, seconds = await rounds_under_a_stream(1.0)
        if runs > seconds / 0.45 + 2:
            return
    raise AssertionError(f"expected more rounds without a rest, found {runs} in {seconds:.1f} s")


async def test_labels_that_change_during_a_round_are_learnt_by_the_next():
    work = Work()
    work.gate.clear()
    scheduler = LearningScheduler({"round": (work, AGES_S)}, early="round", early_labels=9, early_s=0.01)
    scheduler.start()
    scheduler.mark_due("round")
    await until(lambda: work.n_started == 1)
    scheduler._due.clear()

    scheduler.labels_changed(1)
    await asyncio.sleep(0.05)
    during = work.n_started
    work.gate.set()
    await until(lambda: work.n_finished >= 2)

    assert during == 1
    await scheduler.stop()


async def test_marks_during_a_run_become_one_more_run():
    work = Work()
    work.gate.clear()
    scheduler = scheduler_for(work)
    scheduler.start()
    scheduler.mark_due("round")
    await until(lambda: work.n_started == 1)

    for _ in range(5):
        scheduler.mark_due("round")
    work.gate.set()
    await until(lambda: work.n_finished == 2)
    await asyncio.sleep(0.02)

    assert work.n_started == 2
    await scheduler.stop()


async def test_a_failed_round_is_counted_and_the_next_one_runs(caplog):
    work = Work(fails=1)
    scheduler = scheduler_for(work)
    scheduler.start()

    scheduler.mark_due("round")
    await until(lambda: scheduler.n_failures == 1)
    scheduler.mark_due("round")
    await until(lambda: work.n_finished == 1)

    assert "round failed; it runs again at its next time" in caplog.text
    await scheduler.stop()


async def test_stopping_lets_the_running_work_finish():
    work = Work()
    work.gate.clear()
    scheduler = scheduler_for(work)
    scheduler.start()
    scheduler.mark_due("round")
    await until(lambda: work.n_started == 1)

    stopping = asyncio.create_task(scheduler.stop())
    await asyncio.sleep(0.02)
    work.gate.set()
    await stopping

    assert work.n_finished == 1


async def n_wakeups(seconds: float = 1.0) -> int:
    """Return how often a scheduler wakes while nothing is due but one early round."""
    scheduler = scheduler_for(Work())
    n, process = 0, scheduler.scheduler._process_jobs

    def counted():
        nonlocal n
        n += 1
        return process()

    scheduler.scheduler._process_jobs = counted
    scheduler.start()
    try:
        scheduler.labels_changed(1)
        await asyncio.sleep(seconds)
    finally:
        await scheduler.stop()
    return n


async def test_a_scheduler_sleeps_until_the_next_job():
    assert await n_wakeups() < 20


async def test_control_in_the_zone_of_another_store_it_wakes_without_end(monkeypatch):
    monkeypatch.setattr(scheduler_module, "SteadyJobs", lambda _: MemoryJobStore())

    assert await n_wakeups() > 100
