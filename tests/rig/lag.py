"""Measures how long the event loop is blocked, independently of the load of the machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

import numpy as np

from tests.timing import old_objects_aside

P = ParamSpec("P")
T = TypeVar("T")

TICK_S = 0.001


@dataclass
class Lag:
    """Measurements of a ticking task, one between each two ticks.

    Attributes:
        held_ms: CPU time that the loop's thread spent on other tasks, in ms: the time the loop was blocked,
            whatever else the machine does.
        late_ms: Delay of the tick by the wall clock, in ms.
    """

    held_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)

    def held(self, percentile: float) -> float:
        """Percentile (0 to 100) of :attr:`held_ms`; 0 if the block was over before the first tick ended."""
        return float(np.percentile(self.held_ms or [0.0], percentile))

    def late(self, percentile: float) -> float:
        """Percentile (0 to 100) of :attr:`late_ms`."""
        return float(np.percentile(self.late_ms, percentile))


@contextmanager
def measured() -> Iterator[Lag]:
    """Measure the running event loop for the duration of the block."""
    lag = Lag()

    async def tick() -> None:
        while True:
            wall, cpu = time.perf_counter(), time.thread_time()
            await asyncio.sleep(TICK_S)
            lag.late_ms.append(1000 * (time.perf_counter() - wall - TICK_S))
            lag.held_ms.append(1000 * (time.thread_time() - cpu))

    task = asyncio.get_running_loop().create_task(tick())
    try:
        with old_objects_aside():
            yield lag
    finally:
        task.cancel()


def at_length(seconds: float, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do the work, then spin for ``seconds`` of this thread's CPU time while holding the GIL.

    If the work blocks the event loop, the block is then long enough to measure on any machine. The function
    is at module level, so that a worker process can import it.
    """
    done = work(*args, **kwargs)
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass
    return done
