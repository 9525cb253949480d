"""Schedules learning: APScheduler fires the jobs, one worker task does the work.

A job only marks its work as due. Marks are idempotent, so a job that fires late, twice or during a round
neither loses nor repeats work. A changed label plans an early round; further labels until then join it, and
early rounds take a bounded share of the processor. Intervals are measured by the monotonic clock, so a host
clock that is set back or forward neither stops nor repeats jobs. The composition starts the scheduler, not
a Discord event.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from bot.tasks import Tasks

log = logging.getLogger(__name__)

Work = Callable[[], Awaitable[Any]]

LONGEST_WORK_S = 3 * 3600.0
"""Work that takes longer is considered hung, seconds."""
MOST_FAILURES = 3
"""So many failures in a row mean that learning does not progress."""
MOST_INTERVALS = 3
"""A job that did not come due for so many of its intervals means that the timer stands still."""
GRACE_S = 60.0
"""Added to the limit of missed intervals, so that a busy machine is not red, seconds."""
EARLY_S = 1.0
"""Seconds from the first changed label to the early work. Labels of these seconds are learnt together."""
EARLY_SHARE = 0.2
"""Largest share of one core that the early work takes: it rests four times as long as it computed."""
_EARLY_JOB = "early"


class SteadyTime(tzinfo):
    """UTC that advances by the monotonic clock from the moment it was made.

    APScheduler reads the time only as ``datetime.now(timezone)``, which asks the time zone to convert.
    This one ignores the host clock's value.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._origin = datetime.now(UTC).replace(tzinfo=None)
        self._started = clock()

    def fromutc(self, dt: datetime) -> datetime:
        """Return the start plus the seconds since; ``dt`` is ignored."""
        del dt
        return (self._origin + timedelta(seconds=self._clock() - self._started)).replace(tzinfo=self)

    def utcoffset(self, dt: datetime | None) -> timedelta:
        """Return zero."""
        return timedelta()

    def dst(self, dt: datetime | None) -> timedelta:
        """Return zero."""
        return timedelta()

    def tzname(self, dt: datetime | None) -> str:
        """Return the name."""
        return "UTC"


class SteadyJobs(MemoryJobStore):
    """The planned jobs. They tell the next time in the scheduler's own time zone.

    APScheduler would convert it to that zone otherwise, and :class:`SteadyTime` returns the present for any
    time that it converts: the scheduler would wake again at once, without end.

    Args:
        time: The scheduler's time zone.
    """

    def __init__(self, time: SteadyTime) -> None:
        super().__init__()
        self._time = time

    def get_next_run_time(self) -> datetime | None:
        """Return the time of the next job; None: there is none."""
        planned: datetime | None = super().get_next_run_time()
        return None if planned is None else planned.replace(tzinfo=self._time)  # both are UTC


class LearningScheduler:
    """Runs named works on their intervals, one at a time.

    Args:
        works: Name -> (what to do, seconds between two runs). Works that are due together run in this order.
        early: Name of the work that starts early when labels wait.
        early_labels: Changed labels that start it without the wait.
        early_s: Seconds from the first changed label to the early work.
        early_share: Largest share of one core that the early work takes, above 0 to 1.
        cpu_s: Returns the seconds of CPU time used so far, wherever the early work computes.
    """

    def __init__(
        self,
        works: dict[str, tuple[Work, float]],
        *,
        early: str,
        early_labels: int,
        early_s: float = EARLY_S,
        early_share: float = EARLY_SHARE,
        cpu_s: Callable[[], float] = time.process_time,
    ) -> None:
        self._works = dict(works)
        self._later: set[str] = set()
        self._early = early
        self._early_labels = early_labels
        self._early_s = early_s
        self._early_share = early_share
        self._cpu_s = cpu_s
        self._early_runs = False
        self._rested_at = -math.inf
        self._waiting_labels = 0
        self._due: set[str] = set()
        self._wake = asyncio.Event()
        self._stopping = False
        self._tasks = Tasks()
        self._worker: asyncio.Task[None] | None = None
        self.time = SteadyTime()
        self.scheduler = AsyncIOScheduler(timezone=self.time, jobstores={"default": SteadyJobs(self.time)})
        self._came_due_at: dict[str, float] = {}
        self.n_failures = 0
        self._n_in_a_row = 0
        self._began_at: float | None = None

    @property
    def is_alive(self) -> bool:
        """Whether work progresses: jobs come due, none takes hours, not every one fails, the worker runs."""
        if self._worker is None or self._worker.done():
            return False
        busy_s = 0.0 if self._began_at is None else time.monotonic() - self._began_at
        return busy_s < LONGEST_WORK_S and self._n_in_a_row < MOST_FAILURES and not self.overdue()

    def overdue(self) -> list[str]:
        """Return the jobs that did not come due for three of their intervals."""
        now = time.monotonic()
        return [
            name
            for name, at in self._came_due_at.items()
            if now - at > MOST_INTERVALS * self._works[name][1] + GRACE_S
        ]

    def add(self, name: str, work: Work, every_s: float, *, soon: bool = False) -> None:
        """Add a work before the start; it first runs after ``every_s`` seconds, or soon after the start."""
        self._works[name] = (work, every_s)
        if not soon:
            self._later.add(name)

    def start(self) -> None:
        """Start the clock and the worker; needs a running event loop."""
        self._worker = self._tasks.spawn(self._work(), name="learning")
        for name, (_, every_s) in self._works.items():
            self._came_due_at[name] = time.monotonic()
            first_s = every_s if name in self._later else min(every_s, 1.0)
            self.scheduler.add_job(
                self._fire,
                "interval",
                args=[name],
                id=name,
                seconds=every_s,
                timezone=UTC,  # the trigger only adds intervals
                next_run_time=datetime.now(self.time).astimezone(UTC) + timedelta(seconds=first_s),
                # After a blocked loop or a suspended machine the job still runs, late; APScheduler's default
                # drops it.
                misfire_grace_time=None,
                coalesce=True,
                max_instances=1,
            )
        self.scheduler.start()

    async def _fire(self, name: str) -> None:
        """Mark work as due. A coroutine, because APScheduler runs plain functions in a thread."""
        self._came_due_at[name] = time.monotonic()
        self.mark_due(name)

    def mark_due(self, *names: str) -> None:
        """Mark the named works as due and wake the worker; marking twice has no further effect."""
        self._due.update(names)
        self._wake.set()

    def labels_changed(self, count: int) -> None:
        """Count new labels and plan the early work, at once if enough of them wait."""
        self._waiting_labels += count
        if self._waiting_labels > 0:
            self.plan_early(0.0 if self._waiting_labels >= self._early_labels else self._early_s)

    def plan_early(self, wait_s: float = 0.0) -> None:
        """Plan the early work, after its rest. An earlier plan stays.

        While the work runs, only its end plans it again.

        Args:
            wait_s: Seconds to wait at least.
        """
        if self._early_runs:
            self._waiting_labels = max(1, self._waiting_labels)
            return
        wait_s = max(wait_s, self._rested_at - time.monotonic())
        if wait_s <= 0:
            self.mark_due(self._early)
            return
        if not self.scheduler.running:  # every work runs soon after the start
            return
        at = datetime.now(self.time).astimezone(UTC) + timedelta(seconds=wait_s)
        planned = self.scheduler.get_job(_EARLY_JOB)
        if planned is None or planned.next_run_time > at:
            self.scheduler.add_job(
                self._fire_early,
                "date",
                id=_EARLY_JOB,
                run_date=at,
                misfire_grace_time=None,
                coalesce=True,
                replace_existing=True,
            )

    async def _fire_early(self) -> None:
        """Mark the early work as due, unless it runs; then its end plans it again."""
        if not self._early_runs:
            self.mark_due(self._early)

    async def stop(self) -> None:
        """Stop firing jobs, let the running work finish, and end the worker."""
        if self.scheduler.running:
            self.scheduler.shutdown(wait=False)
        self._stopping = True
        self._wake.set()
        if self._worker is not None:
            await self._worker

    async def _work(self) -> None:
        while not self._stopping:
            await self._wake.wait()
            self._wake.clear()
            for name, (work, _) in self._works.items():
                if name in self._due and not self._stopping:
                    self._due.discard(name)
                    await self._run(name, work)

    async def _run(self, name: str, work: Work) -> None:
        if is_early := name == self._early:
            self._waiting_labels = 0
            self._early_runs = True
        self._began_at = began_at = time.monotonic()
        used_s = self._cpu_s()
        try:
            await work()
            self._n_in_a_row = 0
        except Exception:  # boundary: a failed work is retried at its next time
            self.n_failures += 1
            self._n_in_a_row += 1
            log.exception("%s failed; it runs again at its next time", name)
        finally:
            self._began_at = None
            if is_early:
                # Other threads compute meanwhile, such as a local model that writes a reply.
                self._early_ended(min(self._cpu_s() - used_s, time.monotonic() - began_at))

    def _early_ended(self, seconds: float) -> None:
        """Let the early work rest after ``seconds`` of computing, and plan it for labels of the meantime."""
        self._early_runs = False
        self._rested_at = time.monotonic() + seconds * (1 / self._early_share - 1)
        if self._waiting_labels and not self._stopping:
            self.labels_changed(0)
