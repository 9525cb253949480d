"""FIFO queue per conversation: bounded, with removal of one member's jobs, drained at the end.

One job runs at a time in a conversation; conversations do not wait for each other. The task of a conversation
ends with its last job. Also caches of events that were claimed and notes that were given. No discord import.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Hashable, Iterator
from dataclasses import dataclass
from typing import Any

from cachetools import FIFOCache

from bot.memory import Leaving
from bot.tasks import Tasks
from storage.records import Who

log = logging.getLogger(__name__)

Job = Callable[[], Coroutine[Any, Any, None]]
Spawn = Callable[[Coroutine[Any, Any, None]], Any]


@dataclass(frozen=True, slots=True)
class _Entry:
    owner: int
    job: Job
    about: object = None


class ConversationQueues:
    """Jobs in order per conversation.

    Args:
        limit: Jobs that may wait in one conversation, without the running one. One member may take a quarter
            of them, so that others find room and do not wait behind too many. In all conversations together a
            member may have as many unfinished jobs as this limit, at least two.
        spawn: Starts the task of a conversation; None: :class:`bot.tasks.Tasks`.
    """

    def __init__(self, limit: int, *, spawn: Spawn | None = None) -> None:
        self._limit = limit
        self._spawn: Spawn = spawn or Tasks().spawn
        self._waiting: dict[Hashable, deque[_Entry]] = {}
        self._running: dict[Hashable, _Entry] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    def __len__(self) -> int:
        """Number of waiting jobs, without running ones."""
        return sum(len(queue) for queue in self._waiting.values())

    def submit(self, conversation: Hashable, owner: int, job: Job, about: object = None) -> bool:
        """Queue ``job``; return False when the conversation or the member's share is full, or at the end.

        Args:
            conversation: Key of the queue, a channel id.
            owner: Discord id of the member whose job it is, for :meth:`drop`.
            job: Makes the coroutine; called when its turn comes.
            about: What the job is about, for :meth:`latest_of` and :meth:`unfinished`.
        """
        if self._closed:
            return False
        if self._n_unfinished(owner) >= max(2, self._limit):
            return False
        queue = self._waiting.get(conversation)
        entry = _Entry(owner, job, about)
        if queue is None:
            self._waiting[conversation] = deque()
            self._running[conversation] = entry
            self._idle.clear()
            self._spawn(self._run(conversation))
            return True
        n_own = sum(waiting.owner == owner for waiting in queue)
        if len(queue) >= self._limit or n_own >= max(1, self._limit // 4):
            return False
        queue.append(entry)
        return True

    def latest_of(self, conversation: Hashable, owner: int) -> object | None:
        """Return ``about`` of the member's newest unfinished job in a conversation; None without one."""
        if conversation not in self._waiting:
            return None
        entries = [self._running[conversation], *self._waiting[conversation]]
        return next((entry.about for entry in reversed(entries) if entry.owner == owner), None)

    def unfinished(self) -> Iterator[object]:
        """Yield ``about`` of every job, running or waiting, in all conversations."""
        for conversation, running in self._running.items():
            yield running.about
            yield from (entry.about for entry in self._waiting[conversation])

    def owners_in(self, conversation: Hashable) -> set[int]:
        """Return the ids of members whose jobs wait in a conversation."""
        return {entry.owner for entry in self._waiting.get(conversation, ())}

    def _n_unfinished(self, owner: int) -> int:
        """Return the number of a member's jobs, waiting and running, in all conversations."""
        n_running = sum(entry.owner == owner for entry in self._running.values())
        return n_running + sum(entry.owner == owner for queue in self._waiting.values() for entry in queue)

    def drop(self, owner: int) -> int:
        """Remove the waiting jobs of one member and return their number; a running job finishes."""
        dropped = 0
        for queue in self._waiting.values():
            kept = [waiting for waiting in queue if waiting.owner != owner]
            dropped += len(queue) - len(kept)
            queue.clear()
            queue.extend(kept)
        return dropped

    def forget(self, leaving: Leaving) -> None:
        """Drop the waiting jobs of a person who leaves every server."""
        if leaving.person is not None:
            self.drop(leaving.person)

    async def drain(self, timeout_s: float) -> None:
        """Refuse new jobs and wait for the queued ones, at most ``timeout_s`` seconds."""
        self._closed = True
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            log.warning("conversations still busy after %s s: %d", timeout_s, len(self._waiting))

    async def wait_idle(self) -> None:
        """Return when no job waits or runs."""
        await self._idle.wait()

    async def _run(self, conversation: Hashable) -> None:
        queue = self._waiting[conversation]
        try:
            while True:
                try:
                    await self._running[conversation].job()
                except Exception:  # boundary: one failed answer must not stop the conversation
                    log.exception("an answer failed")
                if not queue:
                    return
                self._running[conversation] = queue.popleft()
        finally:
            del self._waiting[conversation], self._running[conversation]
            if not self._waiting:
                self._idle.set()


class Claims:
    """Cache of the latest keys, so that a replayed event is handled once and a question is asked once.

    Args:
        size: Keys kept; a replay reaches back minutes, not thousands of messages.
    """

    def __init__(self, size: int = 10_000) -> None:
        self._keys: FIFOCache[Hashable, None] = FIFOCache(size)

    def claim(self, key: Hashable) -> bool:
        """Return True for the first call with this key, False for every later one."""
        if key in self._keys:
            return False
        self._keys[key] = None
        return True

    def __contains__(self, key: Hashable) -> bool:
        """Return whether a key was claimed."""
        return key in self._keys

    def release(self, key: Hashable) -> None:
        """Remove a key, so that it can be claimed again."""
        self._keys.pop(key, None)


class NotesGiven:
    """Cache of the latest notes to members, so that a note is not repeated too often.

    Args:
        size: Notes kept.
    """

    def __init__(self, size: int) -> None:
        self._given: FIFOCache[tuple[Who, Hashable], None] = FIFOCache(size)

    def claim(self, who: Who, note: Hashable) -> bool:
        """Return True the first time for this member and note, False every later time."""
        if (who, note) in self._given:
            return False
        self._given[who, note] = None
        return True

    def release(self, who: Who, note: Hashable) -> None:
        """Take a claim back: the note was not posted."""
        self._given.pop((who, note), None)

    def forget(self, leaving: Leaving) -> None:
        """Drop the notes to the members that leave."""
        for key in [key for key in self._given if leaving.includes(key[0])]:
            del self._given[key]
