"""How long the event loop is held up, told apart from how busy the machine is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
T = TypeVar("T")

TICK_S = 0.001


@dataclass
class Lag:
    """What a ticking task saw between two of its ticks.

    Attributes:
        held_ms: CPU time that the loop's thread spent on other things: what nobody else could use the loop
            for, whatever else the machine does.
        late_ms: How much later than asked the tick came, by the clock on the wall.
    """

    held_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)

    def held(self, percentile: float) -> float:
        """A percentile of :attr:`held_ms`."""
        return float(np.percentile(self.held_ms, percentile))

    def late(self, percentile: float) -> float:
        """A percentile of :attr:`late_ms`."""
        return float(np.percentile(self.late_ms, percentile))


@contextmanager
def measured() -> Iterator[Lag]:
    """Measure the running loop while the block runs."""
    lag = Lag()

    async def tick() -> None:
        while True:
            wall, cpu = time.perf_counter(), time.thread_time()
            await asyncio.sleep(TICK_S)
            lag.late_ms.append(1000 * (time.perf_counter() - wall - TICK_S))
            lag.held_ms.append(1000 * (time.thread_time() - cpu))

    task = asyncio.get_running_loop().create_task(tick())
    try:
        yield lag
    finally:
        task.cancel()


def at_length(seconds: float, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do the work, then as much again as takes so many seconds of this thread's CPU time, under the GIL.

    What holds a loop up by it is then seen on any machine, however busy. A worker process can import it.
    """
    done = work(*args, **kwargs)
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass
    return done
