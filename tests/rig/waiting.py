"""Waits for conditions without depending on the speed of the machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

AT_MOST_S = 60.0
"""Longer than any wait takes, even on a slow machine; only a hang exceeds it."""


async def no_time(_seconds: float) -> None:
    """Replacement of ``asyncio.sleep`` in the reconciler: no pause between two requests."""
    await asyncio.sleep(0)


async def until(condition: Callable[[], object], *, at_most_s: float = AT_MOST_S) -> None:
    """Run the event loop until ``condition`` holds.

    Raises:
        TimeoutError: The condition did not hold in time.
    """
    async with asyncio.timeout(at_most_s):
        while not condition():
            await asyncio.sleep(0.001)
