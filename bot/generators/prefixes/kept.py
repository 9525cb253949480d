"""Remembers the prompts that a model has read last, each with the state of the model behind it.

The next message of a conversation begins with what its last prompt began with, so only the rest is read. The
prompts hold words of members. They live in memory only, at most :data:`MOST` of them. All are dropped when a
member leaves, whoever it is, and after :data:`IDLE_S` without a reply.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

State = TypeVar("State")

MOST = 4
"""Prompts that are kept at once, one for each conversation; the least recently used one is evicted."""
IDLE_S = 600.0
"""Seconds without a reply after which all prompts are dropped."""


class KeptPrefixes(Generic[State]):
    """The prompts read last. A prompt is a text, or a list of tokens. Safe to use from several threads.

    Args:
        drop: Called with each state that is not kept any more.
        most: Prompts that are kept at once.
        idle_s: Seconds without a reply after which all are dropped.
    """

    def __init__(
        self, drop: Callable[[State], None] = lambda _: None, *, most: int = MOST, idle_s: float = IDLE_S
    ) -> None:
        self._drop, self._most, self._idle_s = drop, most, idle_s
        self._kept: list[tuple[Any, State]] = []  # the least recently used one first
        self._lock = threading.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self.epoch = 0
        """Number of times that everything was dropped."""

    def __len__(self) -> int:
        """Return the number of prompts that are kept."""
        return len(self._kept)

    def longest(self, prompt: Sequence[Any]) -> tuple[int, State | None]:
        """Return how much of a prompt was read before, and the state behind the prompt that holds it."""
        with self._lock:
            found = [(n_common(kept, prompt), state) for kept, state in self._kept]
        return max(found, key=lambda one: one[0], default=(0, None))

    def keep(self, prompt: Any, state: State, *, since: int) -> None:
        """Keep a prompt in place of an earlier one of the same conversation, which shares at least half.

        Args:
            prompt: What was read.
            state: The state of the model behind it.
            since: The :attr:`epoch` when the reading began; if all was dropped since, this is dropped, too.
        """
        with self._lock:
            if since != self.epoch:
                self._drop(state)
                return
            earlier = [one for one in self._kept if 2 * n_common(one[0], prompt) >= len(one[0])]
            for one in earlier:
                self._kept.remove(one)
                self._drop(one[1])
            self._kept.append((prompt, state))
            if len(self._kept) > self._most:
                self._drop(self._kept.pop(0)[1])

    def clear(self) -> None:
        """Drop everything, also what is being read now."""
        with self._lock:
            self.epoch += 1
            for _, state in self._kept:
                self._drop(state)
            self._kept.clear()

    def used(self) -> None:
        """Start the time without a reply again. Call on the event loop."""
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(self._idle_s, self.clear)

    def stop(self) -> None:
        """Stop the time without a reply."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def n_common(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Return the length of the beginning that two sequences share."""
    shared, over = 0, min(len(one), len(other)) + 1
    while over - shared > 1:
        middle = (shared + over) // 2
        shared, over = (middle, over) if one[shared:middle] == other[shared:middle] else (shared, middle)
    return shared
