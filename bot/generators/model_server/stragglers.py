"""Waits for several requests, but not long for the last ones once there is a candidate.

After each answer the others get a grace of three times the longest pause between answers so far, from two to
twenty seconds. So a server that writes one answer after the other has the time it needs, and a hanging
request delays no reply for long.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

GRACE_S = (2.0, 20.0)
"""Shortest and longest grace, seconds."""
_FACTOR = 3.0
_RETRY_PAUSE_S = 8.0
"""Longest pause of the client library before a retry, unless the server names one, seconds."""


class Patience:
    """Grace for stragglers, by the pauses between the answers of the latest replies.

    Args:
        timeout_s: Seconds after which a request times out. No request is repeated because of a timeout once
            there is a candidate.
        retries: How often a request is repeated while there is no candidate.
    """

    def __init__(self, timeout_s: float, retries: int = 0) -> None:
        self._first_try_s = timeout_s
        self._longest_s = (timeout_s + _RETRY_PAUSE_S) * (retries + 1)
        self._pauses: deque[float] = deque(maxlen=8)

    async def gather(
        self, tasks: Sequence[asyncio.Task[T]], is_candidate: Callable[[T], bool]
    ) -> list[T | None]:
        """Return the results, None for each task that was cancelled because it came too late.

        Args:
            tasks: The requests; they raise nothing. All end with this call, also when it is cancelled.
            is_candidate: Whether a result can be used, so that the others are stragglers from then on.
        """
        loop = asyncio.get_running_loop()
        started = latest = loop.time()
        # The client's timeout begins anew with each byte, so a server that trickles needs an end of its own.
        pending, ends_at, longest = set(tasks), started + self._longest_s, 0.0
        try:
            while pending:
                left = None if ends_at is None else max(0.0, ends_at - loop.time())
                done, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    break
                if any(is_candidate(task.result()) for task in done):
                    now = loop.time()
                    longest, latest = max(longest, now - latest), now
                    ends_at = self._end(started, now, longest)
        finally:
            for task in pending:
                task.cancel()
            if pending:
                await asyncio.wait(pending)
        self._pauses.append(longest)
        return [None if task.cancelled() else task.result() for task in tasks]

    def _end(self, started: float, now: float, longest: float) -> float:
        usual = max([longest, *self._pauses])
        grace = min(max(_FACTOR * usual, GRACE_S[0]), GRACE_S[1])
        first_try_ends = started + self._first_try_s
        return min(now + grace, first_try_ends) if now < first_try_ends else now + GRACE_S[0]
