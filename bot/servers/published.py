"""Rule for every figure about several members that is shown to more than the host.

A figure that changes when one person acts tells that the person acted. An attacker with four accounts sees
the fifth member in a figure that needs five. Every threshold and every bucket has such an edge. So a count of
members is published in three steps:

* each member counts once, however much they did;
* random noise is added before the count falls into a bucket, so an attacker does not know where the edge is.
  The noise is two-sided geometric (differential privacy): one person changes the probability of any published
  value by at most the factor ``e ** EPSILON``. The floor of :data:`FEWEST` true members is the one exception:
  five members are shown with a probability below 0.004, four never;
* the result stays the same for a week (:class:`Frozen`). Looking often does not average the noise away.

The noise is computed from a secret of the store, so a restart does not draw it anew.
Limits: a figure that a member is part of for many weeks is drawn once in each, so the bound is for each week.
After a restart, a figure may also be counted anew within its week.
Pure but for the memory of :class:`Frozen`; no discord import.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Awaitable, Callable, Hashable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

EPSILON = 0.25
"""Privacy loss of one published count."""
FEWEST = 5
"""True members below which a count is never published."""
BUCKETS = (25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000)
"""Published counts; smaller ones are withheld."""
WEEK = timedelta(days=7)
DAY = timedelta(days=1)
_MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
_HOUR_S = 3600


def period_of(now: datetime, length: timedelta) -> tuple[int, datetime]:
    """Return the number and the start of the period that contains ``now``; weeks start on Monday, in UTC."""
    number = (now - _MONDAY) // length
    return number, _MONDAY + number * length


def about(count: int, secret: bytes, *about_what: object) -> int | None:
    """Return the bucket of a count of members, or None if it is withheld.

    Args:
        count: True number; each member counts at most once.
        secret: Known to the store only, such as the pseudonym of a server.
        about_what: Name of the figure and number of its period. Equal values draw equal noise.
    """
    if count < FEWEST:
        return None
    noisy = count + noise(secret, *about_what)
    return max((bucket for bucket in BUCKETS if bucket <= noisy), default=None)


def noise(secret: bytes, *about_what: object) -> int:
    """Return two-sided geometric noise with parameter :data:`EPSILON`, computed from a keyed hash."""
    drawn = hashlib.blake2b(repr(about_what).encode(), key=secret, digest_size=16).digest()
    first, second = (_geometric(int.from_bytes(half)) for half in (drawn[:8], drawn[8:]))
    return first - second


def _geometric(drawn: int) -> int:
    uniform = (drawn + 1) / 2**64  # in (0, 1]
    return math.floor(-math.log(uniform) / EPSILON)


def share_left(left: int, total: int) -> int:
    """Return the part of a shared limit that is left in percent: 0, 10, 25, 50, 75 or 100.

    The limit itself is exact, because it is enforced: members notice when it is used up.
    """
    return max(10, 25 * round(4 * left / total)) if left else 0


def next_hour(moment: datetime) -> int:
    """Return the full hour at or after a moment that another member caused, Unix time."""
    return math.ceil(moment.timestamp() / _HOUR_S) * _HOUR_S


class Frozen:
    """Keeps what was published until its period ends. In memory only.

    Args:
        length: Length of a period.
        now: The clock, aware UTC.
    """

    def __init__(self, length: timedelta, now: Callable[[], datetime]) -> None:
        self._length, self._now = length, now
        self._period = -1
        self._kept: dict[Hashable, Any] = {}
        self._reading = asyncio.Lock()

    async def of(self, key: Hashable, read: Callable[[int, datetime], Awaitable[T]]) -> T:
        """Return what was published under ``key`` in this period; read it at the first look.

        Args:
            key: The figure, and the server that it is about.
            read: Called with the number and the start of the period.
        """
        async with self._reading:
            period, start = period_of(self._now(), self._length)
            if period > self._period:  # a clock that is set back publishes nothing anew
                self._period = period
                self._kept.clear()
            if key not in self._kept:
                self._kept[key] = await read(period, start)
            return self._kept[key]
