"""Clocks of the host: the wall clock for dates, and a steady clock for intervals.

The wall clock can be set back or forward at any time. The steady clock only advances, also while the host
sleeps where the system has such a clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime


def utcnow() -> datetime:
    """Return the time of the host's wall clock, aware UTC."""
    return datetime.now(UTC)


def steady_s() -> float:
    """Return seconds since an unknown start; no setting of the wall clock changes them."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)  # Linux only; it goes on while the host sleeps
    return time.monotonic() if boot is None else time.clock_gettime(boot)


def steady_of(now: Callable[[], datetime]) -> Callable[[], float]:
    """Return the steady clock of a wall clock: its own method ``steady``, or the host's."""
    return getattr(now, "steady", steady_s)
