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
        self._asked = asyncio.Event()
        self._callers: set[asyncio.Task[Any] | None] = set()
        self._work: set[asyncio.Task[Any]] = set()

    async def unless_stopping(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of ``work``; cancel it, without a wait for its end, when the bot stops.

        Raises:
            Stopping: The bot stops.
            Exception: The error of the work.
        """
        caller = asyncio.current_task()
        self._callers.add(caller)
        task, asked = asyncio.create_task(work), asyncio.create_task(self._asked.wait())
        self._work.add(task)
        task.add_done_callback(self._ended)
        try:
            await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Stopping
            return task.result()
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task})
            raise
        finally:
            task.cancel()
            asked.cancel()
            if not self._asked.is_set():
                self._callers.discard(caller)

    async def end(self, timeout_s: float) -> None:
        """End all work, then wait at most ``timeout_s`` seconds until the callers have told their members."""
        self._asked.set()
        if callers := {task for task in self._callers if task and task is not asyncio.current_task()}:
            await asyncio.wait(callers, timeout=timeout_s)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._work.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, because asyncio reports exceptions that are not
