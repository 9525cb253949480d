"""Bounded queue of reaction events in the order of the gateway, written in batches by one task.

discord.py starts a task for every event and listener (50,001 for 50,000 reactions). Tasks may overtake each
other: an addition and its removal were handled in reverse. So
:meth:`bot.client.SimpaticoBot.dispatch` puts these events into the queue synchronously. The task runs only
while there is work. The message of an event that does not fit, or that could not be written, is marked, and
:mod:`bot.reactions.reconciler` reads back its reactions. No discord.py here.
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
from storage.wording import counted

log = logging.getLogger(__name__)

QUEUE_LIMIT = 10_000
"""Events that may wait; about 3 MB."""
BATCH = 400
"""Events in one transaction; takes 12 ms of the event loop in total."""
WATCHED_LIMIT = 1000
"""Events of one message kept while it is read back; with more, it is read back again later."""
MARKED_LIMIT = 10_000
"""Messages that may be marked one by one; with more, all messages are read back."""


class Marks:
    """Messages with a missed event: a bounded set that becomes "all messages" when it is full."""

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
        """Mark all messages."""
        self.all = True
        self._messages.clear()

    def take(self) -> tuple[bool, list[tuple[int, int]]]:
        """Return the marks as (all, (channel id, message id) pairs), and clear them."""
        taken = self.all, list(self._messages)
        self.all = False
        self._messages.clear()
        return taken


class Inbox:
    """Accepts events one by one and writes them in batches.

    Args:
        record: Writes a batch, in order, in one transaction.
        changed: Called after each batch with the number of labels that changed.
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
        self._overflowed: set[int] = set()
        self._n_writing = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.marks = Marks()
        self.missed: Callable[[], None] = lambda: None
        """Called when something was marked."""
        self.n_recorded = 0
        self.n_written = 0
        self.n_marked = 0

    def __len__(self) -> int:
        """Number of waiting events."""
        return len(self._waiting) + sum(len(held) for held in self._held.values())

    def put(self, event: DiscordEvent) -> None:
        """Add an event; never waits, never raises."""
        if (seen := self._watched.get(event.message_id)) is not None:
            seen.append(event)
            if len(seen) >= WATCHED_LIMIT:  # noted apart from the list, which a forget shortens
                self._overflowed.add(event.message_id)
                seen.clear()
        if len(self) >= self._limit:
            self._mark([event])
        elif (held := self._held.get(event.channel_id)) is not None:
            held.append(event)
        else:
            self._waiting.append(event)
            self._start()

    @contextmanager
    def held(self, channel_id: int) -> Iterator[None]:
        """Delay a channel's events while a reply is posted and recorded there; other channels are unaffected.

        A reaction may arrive before the reply is stored. Only one posting at a time in a channel.
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
        """Watch messages while their reactions are read back, so that later events win over the finding.

        Yields a function that queues a finding, followed by a copy of all events of its message since the
        watch began. Events are idempotent, so repeating them is safe.
        """
        seen = {message_id: list[DiscordEvent]() for message_id in message_ids}
        self._watched.update(seen)

        def found(finding: Observed | Deleted) -> None:
            if finding.message_id in self._overflowed:
                self._mark([finding])
                return
            meanwhile = list(seen[finding.message_id])
            self.put(finding)
            for event in meanwhile:
                self.put(event)

        try:
            yield found
        finally:
            for message_id in seen:
                del self._watched[message_id]
                self._overflowed.discard(message_id)

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
        """Return when every event that is not held was written or marked."""
        await self._idle.wait()

    async def drain(self, timeout_s: float) -> None:
        """Wait until all events are written, at most ``timeout_s`` seconds."""
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            log.warning(
                "%s not written within %s s; the next start reads back",
                counted(self._n_writing + len(self), "event was", "events were"),
                timeout_s,
            )

    def _start(self) -> None:
        if self._idle.is_set():
            self._idle.clear()
            self._spawn(self._work())

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                self._n_writing = len(batch)
                await self._write(batch)
        finally:
            self._n_writing = 0
            self._idle.set()

    async def _write(self, batch: Sequence[DiscordEvent]) -> None:
        """Write a batch. Mark it when the store fails; bisect it to drop an event that cannot be applied."""
        try:
            applied = await self._record(batch)
        except StorageError as exc:
            log.warning(
                "%s not written (%s); read back later",
                counted(len(batch), "event was", "events were"),
                type(exc).__name__,
            )
            self._mark(batch)
        except Exception:  # boundary: a bug in one event must not stop all later ones
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
        self.n_marked += len(events)
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
