"""What is known of one model on a server: how it is asked, learnt from its answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import Any

from bot.generation import Context
from bot.generators.model_server.dialects import Dialect
from bot.generators.model_server.fitting import Fitting
from bot.generators.thinking import Quietness

_LEAST_READ = 32
"""Fewest tokens from which the speed of reading is judged."""
_LEAST_S = 2.0

Turns = Callable[[], AbstractAsyncContextManager[None]]
"""Makes what a request is sent within."""


class Pace:
    """Whether the candidates of a reply are requested one after another, so that they share one reading.

    Each slot of a llama.cpp server reads for itself, and only the slot that has read a prompt knows it. If
    reading a prompt takes longer than writing a candidate, one slot is faster than several side by side. Such
    a server reports both times. Others read prompts that arrive together once (vLLM), or say nothing. They
    are asked for all candidates at once.
    """

    def __init__(self) -> None:
        self._reading_ms = 0.0  # per character
        self._writing_ms = 0.0

    def learn(self, context: Context, timings: Mapping[str, Any]) -> None:
        """Take the times of an answer; nothing if the server reports none."""
        try:
            n_read, n_known = int(timings["prompt_n"]), int(timings["cache_n"])
            reading_ms, writing_ms = float(timings["prompt_ms"]), float(timings["predicted_ms"])
        except (KeyError, TypeError, ValueError):
            return
        self._writing_ms = writing_ms
        if n_read >= _LEAST_READ:
            self._reading_ms = reading_ms / n_read * (n_read + n_known) / n_characters(context)

    def turns(self, context: Context, n: int) -> Turns:
        """Return what each of ``n`` requests of a reply waits for: the end of the one before, or nothing.

        A request that hangs holds the others back for three times as long as all should take.
        """
        reading_ms = self._reading_ms * n_characters(context)
        if reading_ms <= self._writing_ms:
            return nullcontext
        most_s = 3 * (reading_ms + n * self._writing_ms) / 1e3 + _LEAST_S
        return partial(_in_turn, asyncio.Lock(), most_s)


@asynccontextmanager
async def _in_turn(lock: asyncio.Lock, most_s: float) -> AsyncIterator[None]:
    """Wait for a lock, but not longer than ``most_s`` seconds; then go on without it."""
    try:
        async with asyncio.timeout(most_s):  # wait_for loses a cancellation that comes with the lock
            await lock.acquire()
    except TimeoutError:
        yield
        return
    try:
        yield
    finally:
        lock.release()


def n_characters(context: Context) -> int:
    """Return the length of the message and the turns before it, at least 1."""
    return max(1, len(context.message) + sum(len(turn.text) for turn in context.turns))


class Known:
    """What is known of one model.

    Args:
        fitting: Cuts contexts for it.
    """

    def __init__(self, fitting: Fitting) -> None:
        self.fitting = fitting
        self.dialect = Dialect()
        self.quiet = Quietness()
        self.pace = Pace()
