"""Discord's events about reactions, in the order of the gateway: one bounded queue, one task, batches.

discord.py starts a task for every event and listener, 50,001 for 50,000 reactions, and two tasks may
overtake each other: an add and its removal were handled in reverse. So
:meth:`bot.client.SimpaticoBot.dispatch` hands these events over synchronously, and what is not handed over
here cannot get out of order. The task lives only while there is work. What does not fit, or could not be
written, is not lost: its message is marked, and :mod:`bot.reactions.reconciler` reads back what stands
there. Knows nothing of discord.py; imports only storage.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from bot.memory import Leaving
from bot.messages.queues import Spawn
from bot.tasks import Tasks
from storage.errors import StorageError
from storage.records import Applied, Deleted, DiscordEvent, Observed, Reacted

log = logging.getLogger(__name__)

QUEUE_LIMIT = 10_000
"""Events that may wait; some 3 MB."""
BATCH = 400
"""Events in one transaction: 12 ms of the event loop, in pieces."""
WATCHED_LIMIT = 1000
"""Events of one message that are kept while it is read back; with more, it is read again later."""
MARKED_LIMIT = 10_000
"""Messages that may be marked one by one; beyond that everything is looked at."""


class Marks:
    """Messages of which an event was missed: a bounded set, and "all" when it is full."""

    def __init__(self, limit: int = MARKED_LIMIT) -> None:
        self._limit = limit
        self._messages: dict[tuple[int, int], None] = {}
        self.all = False

    def __bool__(self) -> bool:
        return self.all or bool(self._messages)

    def add(self, channel_id: int, message_id: int) -> None:
        """Mark a message."""
        if self.all:
            return
        self._messages[channel_id, message_id] = None
        if len(self._messages) > self._limit:
            self.add_all()

    def add_all(self) -> None:
        """Mark everything."""
        self.all = True
        self._messages.clear()

    def take(self) -> tuple[bool, list[tuple[int, int]]]:
        """Hand over what is marked, as (all, (channel, message) ids), and begin anew."""
        taken = self.all, list(self._messages)
        self.all = False
        self._messages.clear()
        return taken


class Inbox:
    """Takes events one by one and writes them in batches.

    Args:
        record: Writes a batch, in order, in one transaction.
        changed: Told after each batch how many labels changed.
        spawn: Starts the task that writes what waits; None: :class:`bot.tasks.Tasks`.
        limit: Events that may wait, held ones included.
    """

    def __init__(
        self,
        record: Callable[[Sequence[DiscordEvent]], Awaitable[Applied]],
        changed: Callable[[int], None],
        *,
        spawn: Spawn | None = None,
        limit: int = QUEUE_LIMIT,
    ) -> None:
        self._record = record
        self._changed = changed
        self._spawn: Spawn = spawn or Tasks().spawn
        self._limit = limit
        self._waiting: deque[DiscordEvent] = deque()
        self._held: dict[int, deque[DiscordEvent]] = {}
        self._watched: dict[int, list[DiscordEvent]] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self.marks = Marks()
        self.missed: Callable[[], None] = lambda: None
        """Called when something was marked."""
        self.n_recorded = 0
        self.n_written = 0

    def __len__(self) -> int:
        """Events that wait."""
        return len(self._waiting) + sum(len(held) for held in self._held.values())

    def put(self, event: DiscordEvent) -> None:
        """Take an event; never waits, never fails."""
        seen = self._watched.get(event.message_id)
        if seen is not None and len(seen) < WATCHED_LIMIT:
            seen.append(event)
        if len(self) >= self._limit:
            self._mark([event])
        elif (held := self._held.get(event.channel_id)) is not None:
            held.append(event)
        else:
            self._waiting.append(event)
            self._start()

    @contextmanager
    def held(self, channel_id: int) -> Iterator[None]:
        """Hold a channel's events back while a reply is posted and recorded there; others go on.

        A reaction may come before the reply is stored. One posting at a time in a channel.
        """
        self._held[channel_id] = deque()
        try:
            yield
        finally:
            self._waiting.extend(self._held.pop(channel_id))
            if self._waiting:
                self._start()

    @contextmanager
    def watched(self, message_ids: Iterable[int]) -> Iterator[Callable[[Observed | Deleted], None]]:
        """Watch messages while their reactions are read back, so that what happens meanwhile wins.

        Yields what puts a finding: behind everything that came before, and followed by all that happened to
        its message since the watch began, once more. Events are idempotent, so the last word is theirs.
        """
        seen = {message_id: list[DiscordEvent]() for message_id in message_ids}
        self._watched.update(seen)

        def found(finding: Observed | Deleted) -> None:
            meanwhile = list(seen[finding.message_id])
            if len(meanwhile) >= WATCHED_LIMIT:
                self._mark([finding])
                return
            self.put(finding)
            for event in meanwhile:
                self.put(event)

        try:
            yield found
        finally:
            for message_id in seen:
                del self._watched[message_id]

    def drop(self, user_id: int) -> None:
        """Drop the reactions of one member that wait, in every server; also those that are read back now."""
        for queue in (self._waiting, *self._held.values(), *self._watched.values()):
            kept = [left for event in queue if (left := _without(event, user_id)) is not None]
            queue.clear()
            queue.extend(kept)

    def forget(self, leaving: Leaving) -> None:
        """Drop the reactions of a person who leaves every server."""
        if leaving.person is not None:
            self.drop(leaving.person)

    async def wait_idle(self) -> None:
        """Return when everything that is not held has been written or marked."""
        await self._idle.wait()

    async def drain(self, timeout_s: float) -> None:
        """Wait for what is under way, at most ``timeout_s`` seconds."""
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            log.warning(
                "%d events were not written within %s s; the next start reads them back", len(self), timeout_s
            )

    def _start(self) -> None:
        if self._idle.is_set():
            self._idle.clear()
            self._spawn(self._work())

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._write([self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))])
        finally:
            self._idle.set()

    async def _write(self, batch: Sequence[DiscordEvent]) -> None:
        """Write a batch. What the store refuses is marked; an event that breaks it is found and left out."""
        try:
            applied = await self._record(batch)
        except StorageError as exc:
            log.warning(
                "%d events were not written (%s); they are read back later", len(batch), type(exc).__name__
            )
            self._mark(batch)
        except Exception:  # boundary: a fault in one event must not stop all that follow
            if len(batch) > 1:
                middle = len(batch) // 2
                await self._write(batch[:middle])
                await self._write(batch[middle:])
            else:
                log.exception("an event could not be applied; it is left out")
        else:
            self.n_recorded += applied.n_taken
            self.n_written += len(batch)
            if applied.n_changes:
                self._changed(applied.n_changes)

    def _mark(self, events: Sequence[DiscordEvent]) -> None:
        for event in events:
            self.marks.add(event.channel_id, event.message_id)
        self.missed()


def _without(event: DiscordEvent, user_id: int) -> DiscordEvent | None:
    """Return an event without this person; None when nothing is left of it."""
    if isinstance(event, Reacted):
        return None if event.who.user_id == user_id else event
    if isinstance(event, Observed):
        return replace(event, users={key: users - {user_id} for key, users in event.users.items()})
    return event
