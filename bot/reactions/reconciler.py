"""Reconciles stored reactions with Discord after an outage, by reading back the current state.

A resumed session misses nothing. After a new session (at the start and after every failed resume) two looks
cover the stored replies, newest first. The **quick** look reads pages of history and asks for users only
where Discord's counts differ from the stored ones. The slower **thorough** look also asks where counts agree,
because one user may have left and another come; it runs after the quick look and once a day. Messages with a
missed event get a thorough look as soon as the inbox is empty. Events that arrive during a look win, see
:meth:`bot.reactions.inbox.Inbox.watched`. A message that is gone is handled like a live deletion; only
Discord's own "unknown message" counts as gone.

Requests are throttled: one at a time, a few per second. A channel that the bot may not read is skipped for a
day. When Discord fails, the look stops and is retried with exponential backoff.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from cachetools import TTLCache

from bot.messages.queues import Spawn
from bot.reactions.inbox import Inbox
from bot.reactions.readback import PAGE, Key, NotHere, NotNow, Readback, Shown
from bot.tasks import Tasks
from storage.errors import StorageError
from storage.records import Deleted, Observed, ReplyId
from storage.replies.posted_messages import PostedMessage, PostedMessages

log = logging.getLogger(__name__)

MOST_ASKED = 20
"""Requests for one reaction, so 2,000 users; a reaction of more users stays as it is stored."""
FIRST_WAIT_S, LONGEST_WAIT_S = 30.0, 3600.0
CLOSED_S = 86_400.0
MOST_CLOSED = 10_000

T = TypeVar("T")

Found = Callable[[Observed | Deleted], None]


@dataclass(frozen=True, slots=True)
class Look:
    """Settings of a look.

    Attributes:
        thorough: Whether to ask for users also where counts agree.
        pause_s: Pause between two requests, seconds; Discord allows 50 requests per second in total.
        n_replies: Replies whose places are decrypted at once; replies close together share history pages.
    """

    thorough: bool
    pause_s: float
    n_replies: int = 0


QUICK = Look(thorough=False, pause_s=0.2, n_replies=2000)
THOROUGH = Look(thorough=True, pause_s=1.0, n_replies=100)
MARKED = Look(thorough=True, pause_s=0.2)


class Reconciler:
    """Reads reactions back from Discord whenever events may have been missed.

    Args:
        readback: Reads from Discord.
        posted: The stored messages.
        inbox: Receives the findings; its marked messages are looked at.
        spawn: Starts the task of a look, one at a time; None: :class:`bot.tasks.Tasks`.
        sleep: Waits so many seconds; :meth:`stop` ends the default early.
    """

    def __init__(
        self,
        readback: Readback,
        posted: PostedMessages,
        inbox: Inbox,
        *,
        spawn: Spawn | None = None,
        sleep: Callable[[float], Awaitable[object]] | None = None,
    ) -> None:
        self._readback = readback
        self._posted = posted
        self._inbox = inbox
        self._spawn: Spawn = spawn or Tasks().spawn
        self._sleep = sleep or self._wait
        self._quick_due = self._thorough_due = False
        self._running = False
        self._stopped = asyncio.Event()
        self._wait_s = FIRST_WAIT_S
        self._closed: TTLCache[int, None, float] = TTLCache(MOST_CLOSED, ttl=CLOSED_S, timer=time.monotonic)
        self.n_requests = 0
        self.n_findings = 0
        inbox.missed = self._start

    def outage(self) -> None:
        """Start both looks: a new session began, and events before it may be missing."""
        self._quick_due = self._thorough_due = True
        self._start()

    async def look_thoroughly(self) -> None:
        """Start the daily thorough look in the background."""
        self._thorough_due = True
        self._start()

    def stop(self) -> None:
        """End a running look before its next request."""
        self._stopped.set()

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)

    def _start(self) -> None:
        if not self._running and not self._stopped.is_set():
            self._running = True
            self._spawn(self._run())

    async def _run(self) -> None:
        try:
            while self._quick_due or self._thorough_due or self._inbox.marks:
                try:
                    await self._look_at_what_is_due()
                except (NotNow, StorageError) as exc:
                    if self._stopped.is_set():
                        return
                    log.warning("reading back is delayed by %.0f s (%s)", self._wait_s, type(exc).__name__)
                    await self._sleep(self._wait_s)
                    self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
                else:
                    self._wait_s = FIRST_WAIT_S
                if self._stopped.is_set():
                    return
        except Exception:  # boundary: a bug here must not stop the bot; the next outage retries
            log.exception("reading back failed")
        finally:
            self._running = False

    async def _look_at_what_is_due(self) -> None:
        await self._look_at_the_urgent()
        if self._thorough_due:
            self._thorough_due = False
            try:
                await self._look_at_all(THOROUGH)
            except BaseException:
                self._thorough_due = True
                raise

    async def _look_at_the_urgent(self) -> None:
        """Look at marked messages and run a due quick look; also between pages of a thorough look."""
        await self._inbox.wait_idle()
        if self._inbox.marks:
            await self._look_at_marked()
        if self._quick_due:
            self._quick_due = False
            try:
                await self._look_at_all(QUICK)
            except BaseException:
                self._quick_due = True
                raise

    async def _look_at_marked(self) -> None:
        everything, marked = self._inbox.marks.take()
        if everything:
            self._quick_due = self._thorough_due = True
            return
        try:
            await self._look_at(await self._posted.of([message_id for _, message_id in marked]), MARKED)
        except BaseException:
            for channel_id, message_id in marked:
                self._inbox.marks.add(channel_id, message_id)
            raise

    async def _look_at_all(self, look: Look) -> None:
        before: ReplyId | None = None
        while not self._stopped.is_set():
            page = await self._posted.page(before, look.n_replies)
            await self._look_at(page.messages, look)
            before = page.last
            if before is None:
                return
            if look is THOROUGH:
                await self._look_at_the_urgent()

    async def _look_at(self, messages: Sequence[PostedMessage], look: Look) -> None:
        channels: dict[int, list[PostedMessage]] = {}
        for message in messages:
            channels.setdefault(message.channel_id, []).append(message)
        for channel_id, here in channels.items():
            if channel_id in self._closed:
                continue
            try:
                await self._look_in(channel_id, here, look)
            except NotHere:
                self._close(channel_id)

    async def _look_in(self, channel_id: int, messages: list[PostedMessage], look: Look) -> None:
        """Read the pages of a channel's history that contain stored messages, newest first."""
        left = sorted(messages, key=lambda message: -message.message_id)
        while left and not self._stopped.is_set():
            here = left[:PAGE]
            with self._inbox.watched(message.message_id for message in here) as found:
                page = await self._asked(self._readback.page(channel_id, here[0].message_id + 1), look)
                lowest = page[-1].message_id if len(page) == PAGE else 0
                shown = {one.message_id: one for one in page}
                covered = [message for message in here if message.message_id >= lowest]
                for message in covered:
                    if self._stopped.is_set():
                        return
                    await self._compare(message, shown.get(message.message_id), look, found)
            left = left[len(covered) :]

    async def _compare(self, message: PostedMessage, shown: Shown | None, look: Look, found: Found) -> None:
        """Read the reactions of one message, and queue a finding where they may differ from the store."""
        channel_id, message_id = message.channel_id, message.message_id
        if shown is None:
            if await self._asked(self._readback.is_gone(channel_id, message_id), look):
                self.n_findings += 1
                found(Deleted(channel_id, message_id))
            return
        if message.guild_id is None:
            return
        users: dict[Key, frozenset[int]] = {}
        skipped: set[Key] = set()
        for key, count in shown.counts.items():
            if not count:
                continue
            given = None
            if look.thorough or count != message.counts.get(key, 0):
                given = await self._users(message, shown.spellings[key], key[1], look)
            if given is None:
                skipped.add(key)
            else:
                users[key] = given
        if users or message.counts.keys() - skipped:
            self.n_findings += 1
            found(Observed(channel_id, message_id, message.guild_id, users, frozenset(skipped)))

    async def _users(
        self, message: PostedMessage, spellings: list[str], burst: bool, look: Look
    ) -> frozenset[int] | None:
        """Return the users of a reaction; None when they are more than :data:`MOST_ASKED` requests return."""
        users: set[int] = set()
        for spelling in spellings:
            after = 0
            for _ in range(MOST_ASKED):
                given = await self._asked(
                    self._readback.users(message.channel_id, message.message_id, spelling, burst, after),
                    look,
                )
                users.update(given)
                if len(given) < PAGE:
                    break
                after = given[-1]
            else:
                return None
        return frozenset(users)

    async def _asked(self, request: Awaitable[T], look: Look) -> T:
        """Await one request, then pause."""
        self.n_requests += 1
        answer = await request
        await self._sleep(look.pause_s)
        return answer

    def _close(self, channel_id: int) -> None:
        log.info("the bot may not read a channel; it is skipped for a day")
        self._closed[channel_id] = None
