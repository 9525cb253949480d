"""P40: a clock cannot stop or bend learning.

The host clock is set back and forward by an hour, a day and ten years while APScheduler runs a job every
fifth of a second. The job goes on at its own pace. The jump is played on the clock that APScheduler reads.
A label that was dated in the future by a wrong clock leaves the weights of eighty honest labels as they are.

Controls: without the bound by now, the honest labels lose their weight; with APScheduler's own clock, a jump
back stops the job; a timer that stands still is red.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import apscheduler.schedulers.base
import numpy as np
import pytest

from bot.background.scheduler import GRACE_S, MOST_INTERVALS, LearningScheduler
from personalization.labels.labels import faded

pytestmark = pytest.mark.promise("P40")

EVERY_S = 0.2
WATCHED_S = 1.5
JUMPS = [sign * timedelta(days=days) for days in (1 / 24, 1, 3653) for sign in (-1, 1)]


class HostClock(datetime):
    """The wall clock that APScheduler reads, set off by ``jump``."""

    jump = timedelta()

    @classmethod
    def now(cls, tz=None):
        wall = datetime.now(UTC) + cls.jump
        return wall if tz is None else wall.astimezone(tz)


async def runs_after(jump: timedelta, monkeypatch, *, steady: bool) -> int:
    """Return how often the job ran in the time after the jump."""
    runs = []

    async def work() -> None:
        runs.append(1)

    monkeypatch.setattr(apscheduler.schedulers.base, "datetime", HostClock)
    monkeypatch.setattr(HostClock, "jump", timedelta())
    scheduler = LearningScheduler({"round": (work, EVERY_S)}, early="round", early_labels=10)
    if not steady:
        scheduler.time = UTC
        scheduler.scheduler.timezone = UTC
    scheduler.start()
    await asyncio.sleep(2 * EVERY_S)
    HostClock.jump = jump
    await asyncio.sleep(2 * EVERY_S)
    runs.clear()
    await asyncio.sleep(WATCHED_S)
    await scheduler.stop()
    return len(runs)


@pytest.mark.parametrize("jump", JUMPS, ids=str)
async def test_a_jump_of_the_host_clock_neither_stops_nor_storms_a_job(jump, monkeypatch):
    n_runs = await runs_after(jump, monkeypatch, steady=True)

    assert 2 <= n_runs <= WATCHED_S / EVERY_S + 1


@pytest.mark.parametrize("jump", [jump for jump in JUMPS if jump < timedelta()], ids=str)
async def test_control_by_the_host_clock_a_jump_back_stops_the_job(jump, monkeypatch):
    assert await runs_after(jump, monkeypatch, steady=False) == 0


async def test_control_a_timer_that_stands_still_is_red(monkeypatch):
    async def work() -> None: ...

    scheduler = LearningScheduler({"round": (work, 60.0)}, early="round", early_labels=10)
    scheduler.start()
    assert scheduler.is_alive
    now = time.monotonic()

    monkeypatch.setattr(time, "monotonic", lambda: now + MOST_INTERVALS * 60.0 + GRACE_S + 1)

    assert (scheduler.is_alive, scheduler.overdue()) == (False, ["round"])
    monkeypatch.undo()
    await scheduler.stop()


NOW = datetime(2026, 6, 1, tzinfo=UTC)
HONEST = [NOW - timedelta(hours=hour) for hour in range(80)]


def honest_weight(ahead: timedelta, now: datetime) -> float:
    """Return the least weight of the honest labels beside one that is dated ``ahead`` of now."""
    weights = faded(np.ones(81, np.float32), [*HONEST, NOW + ahead], half_life_days=30.0, now=now)
    return float(weights[:80].min())


@pytest.mark.parametrize("days", [1 / 24, 1, 3653, 300_000])
def test_a_label_dated_in_the_future_takes_no_weight_from_honest_ones(days):
    ahead = timedelta(days=days)

    assert honest_weight(ahead, NOW) == honest_weight(timedelta(), NOW) > 0.9


def test_labels_that_are_all_dated_ahead_weigh_the_same():
    weights = faded(np.ones(80, np.float32), HONEST, half_life_days=30.0, now=NOW - timedelta(days=3653))

    assert weights.tolist() == [1.0] * 80


def test_control_without_the_bound_by_now_one_label_outweighs_the_honest_ones():
    assert honest_weight(timedelta(days=3653), datetime.max.replace(tzinfo=UTC)) < 0.01
