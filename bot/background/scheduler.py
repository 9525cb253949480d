"""When things are learnt: APScheduler decides the moment, one worker task does the work.

The scheduler's jobs only mark work as due; the state is ours. So a job that fires late, twice or while a
round runs loses nothing and doubles nothing: marks coalesce. Start it from the composition, not from a
Discord event.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from bot.tasks import Tasks

log = logging.getLogger(__name__)

Work = Callable[[], Awaitable[Any]]

LONGEST_WORK_S = 3 * 3600.0
"""A work that takes longer hangs."""
MOST_FAILURES = 3
"""So many works failing one after another mean that learning stands still."""


class LearningScheduler:
    """Runs named works on their intervals, one at a time, never on top of one another.

    Args:
        works: Name -> (what to do, seconds between two runs), in the order in which they run when several are
        due. early: Name of the work that starts early when enough labels wait.
        early_labels: How many changes are enough.
    """

    def __init__(self, works: dict[str, tuple[Work, float]], *, early: str, early_labels: int) -> None:
        self._works = dict(works)
        self._later: set[str] = set()
        self._early = early
        self._early_labels = early_labels
        self._waiting_labels = 0
        self._due: set[str] = set()
        self._wake = asyncio.Event()
        self._stopping = False
        self._tasks = Tasks()
        self._worker: asyncio.Task[None] | None = None
        self.scheduler = AsyncIOScheduler(timezone=UTC)
        self.n_failures = 0
        self._n_in_a_row = 0
        self._began_at: float | None = None

    @property
    def is_alive(self) -> bool:
        """Whether works get done: the worker lives, none takes hours, not one after another fails."""
        if self._worker is None or self._worker.done():
            return False
        busy_s = 0.0 if self._began_at is None else time.monotonic() - self._began_at
        return busy_s < LONGEST_WORK_S and self._n_in_a_row < MOST_FAILURES

    def add(self, name: str, work: Work, every_s: float) -> None:
        """Add a work before the start; unlike the others it runs for the first time after ``every_s``."""
        self._works[name] = (work, every_s)
        self._later.add(name)

    def start(self) -> None:
        """Start the clock and the worker; needs a running event loop."""
        self._worker = self._tasks.spawn(self._work(), name="learning")
        for name, (_, every_s) in self._works.items():
            first_s = every_s if name in self._later else min(every_s, 1.0)
            self.scheduler.add_job(
                self._fire,
                "interval",
                args=[name],
                id=name,
                seconds=every_s,
                next_run_time=datetime.now(UTC) + timedelta(seconds=first_s),
                # A blocked loop or a suspended machine makes a run late, never lost (APScheduler's default
                # drops it).
                misfire_grace_time=None,
                coalesce=True,
                max_instances=1,
            )
        self.scheduler.start()

    async def _fire(self, name: str) -> None:
        """What APScheduler calls; a coroutine, because it runs plain functions in a thread."""
        self.mark_due(name)

    def mark_due(self, *names: str) -> None:
        """Have the worker do the named works next; marks that are already set stay one."""
        self._due.update(names)
        self._wake.set()

    def labels_changed(self, count: int) -> None:
        """Count new labels; enough of them start a round at once."""
        self._waiting_labels += count
        if self._waiting_labels >= self._early_labels:
            self.mark_due(self._early)

    async def stop(self) -> None:
        """Stop the clock, let the work that runs finish, and end the worker."""
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
        if name == self._early:
            self._waiting_labels = 0
        self._began_at = time.monotonic()
        try:
            await work()
            self._n_in_a_row = 0
        except Exception:  # boundary: a failed round is tried again at its next time, the bot goes on
            self.n_failures += 1
            self._n_in_a_row += 1
            log.exception("%s failed; it runs again at its next time", name)
        finally:
            self._began_at = None
