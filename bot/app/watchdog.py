"""Watchdog of the event loop: counts what holds the loop for over 100 ms, and names it in the log.

A task of the loop sets a heartbeat. A thread compares its age with the limit and, when it is late, looks at
what the loop's thread runs. It logs the names of modules and functions only, never arguments or values.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from types import FrameType
from typing import Self

from bot.metrics import Metrics
from bot.tasks import Tasks

log = logging.getLogger(__name__)

HELD_S = 0.1
"""Longest time that the loop may run one piece of code, seconds."""
BEAT_S = 0.025
NAMED_EVERY_S = 60.0
"""The same piece of code is logged at most once in this time, seconds; it is counted each time."""
_IDLE = ("selectors", "asyncio", "uvloop", "threading")
_OURS = ("bot", "personalization", "storage")


class Watchdog:
    """Watches the running event loop while the body runs.

    Args:
        metrics: Counts the holds.
        held_s: Longest time that the loop may be held, seconds.
    """

    def __init__(self, metrics: Metrics, held_s: float = HELD_S) -> None:
        self._metrics, self._held_s = metrics, held_s
        self._beat_at = time.monotonic()
        self._tasks, self._stopped = Tasks(), threading.Event()
        self._named_at: dict[str, float] = {}

    async def __aenter__(self) -> Self:
        """Start the heartbeat and the thread."""
        self._tasks.spawn(self._beat(), name="heartbeat of the loop")
        loop_thread = threading.get_ident()
        self._thread = threading.Thread(
            target=self._watch, args=(loop_thread,), name="loop-watchdog", daemon=True
        )
        self._thread.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._stopped.set()
        await asyncio.to_thread(self._thread.join)
        await self._tasks.close()

    async def _beat(self) -> None:
        while True:
            self._beat_at = time.monotonic()
            await asyncio.sleep(BEAT_S)

    def _watch(self, loop_thread: int) -> None:
        told_at = 0.0  # the heartbeat after which the latest hold began: one hold is counted once
        while not self._stopped.wait(BEAT_S):
            beat_at = self._beat_at
            if beat_at == told_at or time.monotonic() - beat_at <= self._held_s + BEAT_S:
                continue
            name = name_of(sys._current_frames().get(loop_thread))
            if name is None:
                continue  # the loop waits for the processor, nothing holds it
            told_at = beat_at
            self._metrics.loop_held()
            if time.monotonic() - self._named_at.get(name, -NAMED_EVERY_S) >= NAMED_EVERY_S:
                self._named_at[name] = time.monotonic()
                log.warning("the event loop was held for over %.0f ms by %s", 1000 * self._held_s, name)


def name_of(frame: FrameType | None) -> str | None:
    """Return what a thread runs: its innermost function, and the innermost one of this project around it.

    Returns:
        Names of modules and functions; None while the thread's loop runs no code of its own.
    """
    if frame is None or _module_of(frame).partition(".")[0] in _IDLE:
        return None
    innermost, around = frame, frame
    while around is not None and _module_of(around).partition(".")[0] not in _OURS:
        around = around.f_back
    if around is None or around is innermost:
        return _function_of(innermost)
    return f"{_function_of(innermost)} in {_function_of(around)}"


def _module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "?"))


def _function_of(frame: FrameType) -> str:
    return f"{_module_of(frame)}.{frame.f_code.co_qualname}"
