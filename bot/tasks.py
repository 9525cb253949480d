"""Background tasks that are referenced until they end, and whose exceptions are logged.

asyncio holds only weak references to running tasks. It reports the exception of a task that is not awaited
only when the task is garbage collected. A leaf: imports nothing of ours.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Self

log = logging.getLogger(__name__)


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
