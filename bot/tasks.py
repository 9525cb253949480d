"""Background tasks that are referenced until they end, and blocking work with a deadline.

asyncio holds only weak references to running tasks. It reports the exception of a task that is not awaited
only when the task is garbage collected. A leaf: imports nothing of ours.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, Self, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_THREADS = 64
"""Threads of one :class:`Threads` at once, with those that overran their deadline and still run."""


class Tasks:
    """A group of background tasks: keeps each until it ends, logs a failure, cancels the rest at the end.

    Unlike :class:`asyncio.TaskGroup`, a task that fails does not end the others. Usable with ``async with``.
    """

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        """Number of running tasks."""
        return len(self._running)

    def spawn(self, coroutine: Coroutine[Any, Any, Any], *, name: str | None = None) -> asyncio.Task[Any]:
        """Start a task.

        Args:
            coroutine: The coroutine to run.
            name: Names the task in the log.
        """
        task = asyncio.create_task(coroutine, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def close(self) -> None:
        """Cancel all tasks and wait for their end."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def __aenter__(self) -> Self:
        """Return the group."""
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            log.error("the task %s failed: %s", task.get_name(), type(exc).__name__, exc_info=exc)


class Threads:
    """Runs blocking work within a deadline, each piece in a daemon thread of its own.

    A thread cannot be stopped, so overdue work runs on and its result is dropped. Unlike in an executor, it
    holds up neither other work nor the end of the process.

    Args:
        within_s: Longest time for a piece of work, seconds.
        most: Threads at once, overdue ones included.
    """

    def __init__(self, within_s: float, most: int = MOST_THREADS) -> None:
        self._within_s, self._free = within_s, threading.BoundedSemaphore(most)

    async def run(self, work: Callable[[], T]) -> T:
        """Run a piece of work and return its result.

        Raises:
            TimeoutError: The work is overdue, or too many threads run.
            Exception: The error of the work.
        """
        if not self._free.acquire(blocking=False):
            raise TimeoutError("expected a free thread, found all busy")
        result: Future[T] = Future()
        result.set_running_or_notify_cancel()  # from here on it cannot be cancelled, only dropped
        context = copy_context()

        def in_thread() -> None:
            try:
                done = context.run(work)
            except BaseException as exc:
                result.set_exception(exc)
            else:
                result.set_result(done)
            finally:
                self._free.release()

        threading.Thread(target=in_thread, name="deadline", daemon=True).start()
        async with asyncio.timeout(self._within_s):
            return await asyncio.wrap_future(result)
