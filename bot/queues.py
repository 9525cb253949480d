"""First-in-first-out work per conversation: bounded, in order, droppable for one member, drained at the end.

One job runs at a time in a conversation; conversations do not wait for one another. A conversation without
work costs nothing: its task ends with its last job. No discord import here.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

Job = Callable[[], Coroutine[Any, Any, None]]
Spawn = Callable[[Coroutine[Any, Any, None]], Any]


@dataclass(frozen=True, slots=True)
class _Waiting:
    owner: int
    job: Job


class ConversationQueues:
    """Jobs in order per conversation.

    Args:
        limit: Jobs that may wait in one conversation, beside the one that runs.
        spawn: Starts the task of a conversation; ``asyncio.create_task`` unless the caller needs another
            home.
    """

    def __init__(self, limit: int, *, spawn: Spawn = asyncio.create_task) -> None:
        self._limit = limit
        self._spawn = spawn
        self._waiting: dict[Hashable, deque[_Waiting]] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    def __len__(self) -> int:
        """Jobs that wait, beside those that run."""
        return sum(len(queue) for queue in self._waiting.values())

    def submit(self, conversation: Hashable, owner: int, job: Job) -> bool:
        """Queue ``job``; False when the conversation is full or the queues are closing.

        Args:
            conversation: What is kept in order, a channel id.
            owner: The member the job works for, for :meth:`drop`.
            job: Makes the coroutine; called only when its turn comes.
        """
        if self._closed:
            return False
        queue = self._waiting.get(conversation)
        if queue is None:
            self._waiting[conversation] = deque()
            self._idle.clear()
            self._spawn(self._run(conversation, job))
            return True
        if len(queue) >= self._limit:
            return False
        queue.append(_Waiting(owner, job))
        return True

    def drop(self, owner: int) -> int:
        """Remove the waiting jobs of one member; the one that runs goes on. Returns how many went."""
        dropped = 0
        for queue in self._waiting.values():
            kept = [waiting for waiting in queue if waiting.owner != owner]
            dropped += len(queue) - len(kept)
            queue.clear()
            queue.extend(kept)
        return dropped

    async def drain(self, timeout_s: float) -> None:
        """Refuse new jobs and wait for the present ones, at most ``timeout_s`` seconds."""
        self._closed = True
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            log.warning("%d conversations were still busy after %s s", len(self._waiting), timeout_s)

    async def wait_idle(self) -> None:
        """Return when no job waits or runs."""
        await self._idle.wait()

    async def _run(self, conversation: Hashable, job: Job) -> None:
        queue = self._waiting[conversation]
        try:
            while True:
                try:
                    await job()
                except Exception:  # boundary: one failed answer must not stop the conversation
                    log.exception("an answer failed")
                if not queue:
                    return
                job = queue.popleft().job
        finally:
            del self._waiting[conversation]
            if not self._waiting:
                self._idle.set()


class Claims:
    """Remembers the latest keys, so that a replayed event is answered once and nobody is asked twice.

    Args:
        size: Keys kept; a replay reaches back minutes, not thousands of messages.
    """

    def __init__(self, size: int = 10_000) -> None:
        self._size = size
        self._keys: OrderedDict[Hashable, None] = OrderedDict()

    def claim(self, key: Hashable) -> bool:
        """Return True to the first caller with this key, False to every later one."""
        if key in self._keys:
            return False
        self._keys[key] = None
        if len(self._keys) > self._size:
            self._keys.popitem(last=False)
        return True

    def release(self, key: Hashable) -> None:
        """Give a claim back."""
        self._keys.pop(key, None)
