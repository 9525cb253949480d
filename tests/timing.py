"""Measures how the cost of a function grows with its input, independently of the speed of the machine."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

GROWTH = 8
"""The longer input is so many times the shorter: linear costs 8 times as much, quadratic 64 times."""


@contextmanager
def old_objects_aside() -> Iterator[None]:
    """Keep the garbage collector from searching what the test process holds already, for about 0.1 s at once.

    A test process holds far more than the bot. What the block makes is still collected.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def assert_cost_is_about_linear(work: Callable[[int], object], n: int) -> None:
    """Fail when ``work(n)`` costs far more than 8 times ``work(n / 8)``.

    Both are timed in this thread's CPU time, the best of three, so that a slow or busy machine has no effect.
    Work of a few milliseconds counts as fast, whatever its growth.
    """
    short, long = _best_s(work, n // GROWTH), _best_s(work, n)
    assert long < 3 * GROWTH * max(short, 2e-3), f"{n // GROWTH}: {short:.4f} s, {n}: {long:.4f} s"


def _best_s(work: Callable[[int], object], n: int) -> float:
    best = float("inf")
    for _ in range(3):
        started = time.thread_time()
        work(n)
        best = min(best, time.thread_time() - started)
    return best
