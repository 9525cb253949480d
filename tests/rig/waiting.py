"""Waiting for what comes for certain, however busy the machine is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

AT_MOST_S = 60.0
"""Only what hangs takes longer, on any machine."""


async def until(condition: Callable[[], object], *, at_most_s: float = AT_MOST_S) -> None:
    """Let the loop turn until ``condition`` holds.

    Raises:
        TimeoutError: It does not come true.
    """
    async with asyncio.timeout(at_most_s):
        while not condition():
            await asyncio.sleep(0.001)
