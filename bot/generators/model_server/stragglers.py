"""Waits for several requests, but not long for the last ones once there is a candidate.

After each answer the others get a grace of three times the longest pause between answers so far, from two to
twenty seconds. So a server that writes one answer after the other has the time it needs, and a hanging
request delays no reply for long. If the caller finds the answers so far good enough, none is waited for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from bot.generation import Candidate, Enough, GeneratorError, Style
from bot.generators.cleaning import Written, clean

T = TypeVar("T")

GRACE_S = (2.0, 20.0)
"""Shortest and longest wait for slower candidates once one is written, seconds."""
FACTOR = 3.0
"""Slower candidates may take so many times the usual time."""
_RETRY_PAUSE_S = 8.0
"""Longest pause of the client library before a retry, unless the server names one, seconds."""

Answers = Sequence[Written | GeneratorError | None]
"""Answers of a reply's requests, one per style; None: outstanding or cancelled."""


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
        self,
        tasks: Sequence[asyncio.Task[T]],
        is_candidate: Callable[[T], bool],
        is_enough: Callable[[list[T | None]], Awaitable[bool]] | None = None,
    ) -> tuple[list[T | None], bool]:
        """Return the results, and whether they were enough before the last one came.

        A result is None for each task that was cancelled: it came too late, or was not needed.

        Args:
            tasks: The requests; they raise nothing. All end with this call, also when it is cancelled.
            is_candidate: Whether a result can be used, so that the others are stragglers from then on.
            is_enough: Whether the results so far (None: outstanding) are enough. It is asked after each
                candidate but the last.
        """
        loop = asyncio.get_running_loop()
        started = latest = loop.time()
        # The client's timeout begins anew with each byte, so a server that trickles needs an end of its own.
        pending, ends_at, longest = set(tasks), started + self._longest_s, 0.0
        stopped = False
        try:
            while pending and not stopped:
                left = None if ends_at is None else max(0.0, ends_at - loop.time())
                done, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    break
                if any(is_candidate(task.result()) for task in done):
                    now = loop.time()
                    longest, latest = max(longest, now - latest), now
                    ends_at = self._end(started, now, longest)
                    if pending and is_enough is not None:
                        stopped = await is_enough([task.result() if task.done() else None for task in tasks])
        finally:
            for task in pending:
                task.cancel()
            if pending:
                await asyncio.wait(pending)
        if not stopped:  # the pauses before the others are not known
            self._pauses.append(longest)
        return [None if task.cancelled() else task.result() for task in tasks], stopped

    def _end(self, started: float, now: float, longest: float) -> float:
        usual = max([longest, *self._pauses])
        grace = min(max(FACTOR * usual, GRACE_S[0]), GRACE_S[1])
        first_try_ends = started + self._first_try_s
        return min(now + grace, first_try_ends) if now < first_try_ends else now + GRACE_S[0]


def is_candidate(answer: Written | GeneratorError) -> bool:
    """Return whether an answer holds text."""
    return isinstance(answer, Written) and bool(clean(answer.text, cut_off=answer.cut_off))


async def none_is_needed(
    enough: Enough, styles: Sequence[Style], usable: Callable[[Answers], list[Candidate]], answers: Answers
) -> bool:
    """Return whether the candidates so far are enough; False if all are blank or none is outstanding."""
    outstanding = [style for style, answer in zip(styles, answers, strict=True) if answer is None]
    try:
        return bool(outstanding) and await enough(usable(answers), outstanding)
    except GeneratorError:  # all are blank
        return False
