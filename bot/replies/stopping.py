"""Ends what the language model writes when the bot stops, early enough to tell the member.

The wait for the model ends at once, whether or not the model can be interrupted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from bot.generation import Stopping

T = TypeVar("T")


class Stop:
    """Runs work that a stop of the bot ends at once."""

    def __init__(self) -> None:
        self._stopping = False
        self._waits: dict[asyncio.Timeout, asyncio.Task[Any] | None] = {}
        self._work: set[asyncio.Task[Any]] = set()

    async def unless_stopping(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of ``work``; cancel it, without a wait for its end, when the bot stops.

        Raises:
            Stopping: The bot stops.
            Exception: The error of the work.
        """
        if self._stopping:
            work.close()
            raise Stopping
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._ended)
        wait = asyncio.timeout(None)
        self._waits[wait] = asyncio.current_task()
        try:
            async with wait:
                return await asyncio.shield(task)
        except TimeoutError:
            if not wait.expired():
                raise
            raise Stopping from None
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task})
            raise
        finally:
            task.cancel()
            del self._waits[wait]

    async def end(self, timeout_s: float) -> None:
        """End all work, then wait at most ``timeout_s`` seconds until the callers have told their members."""
        callers = {task for task in self._waits.values() if task and task is not asyncio.current_task()}
        if not self._stopping:
            self._stopping = True
            for wait in self._waits:
                wait.reschedule(0.0)  # in the past
        if callers:
            await asyncio.wait(callers, timeout=timeout_s)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._work.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, because asyncio reports exceptions that are not
