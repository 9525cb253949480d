"""Queue of reported replies for managers: those of this process from memory, earlier ones from the database.

A reply to a member without consent is not stored. A report of it must not be stored either, because
``/forget-me`` could not find it. So every report is in memory until it is handled, its message is deleted, or
the process ends. A report of a stored reply is stored as well, and outlives the process. Managers see the
report in memory where there is one; otherwise they would notice when the asker forgets. Of the reporter,
memory holds only a keyed hash, so that each person counts once per reply in all processes
(:mod:`storage.tallies`); the database holds nothing.
No discord import here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from cachetools import FIFOCache

from storage.clock import steady_s, utcnow
from storage.errors import StorageError
from storage.records import NOWHERE, ReplyId, Who
from storage.replies.reported_replies import RETENTION, ReportedReply
from storage.store import Store
from storage.tallies import SharedClaims

MOST_REMEMBERED = 500
"""Maximum number of reports in memory; the oldest is evicted first."""
MOST_READ = 500
"""Maximum number of stored reports of a server that are read at once; the newest are left out."""


class Reason(StrEnum):
    """Reason of a report; the values are stored."""

    RUDE = "rude"
    WRONG = "wrong"
    UNSAFE = "unsafe"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Report:
    """A reply that waits for a manager's decision.

    Attributes:
        reply_id: Stored reply; None: the report comes from memory.
        channel_id: Channel of its messages.
        message_ids: Its messages.
        reported_at: Time of the first report, aware UTC.
        reasons: Reason -> number of reports.
    """

    reply_id: ReplyId | None
    channel_id: int
    message_ids: tuple[int, ...]
    reported_at: datetime
    reasons: Mapping[str, int]


@dataclass(slots=True)
class _Remembered:
    guild_id: int
    channel_id: int
    reported_at: datetime
    reported_s: float
    reasons: Counter[str] = field(default_factory=Counter[str])


class ReportQueue:
    """Records and lists reports. Its methods raise ``StorageError`` as the store does."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._remembered: FIFOCache[int, _Remembered] = FIFOCache(MOST_REMEMBERED)
        self._reporters = SharedClaims(store.tallies, "reported", RETENTION.total_seconds())

    async def take(self, who: Who, channel_id: int, message_id: int, reason: Reason) -> bool:
        """Record a report; return False if this member has already reported this message.

        Args:
            who: The reporter.
            channel_id: Channel of the message.
            message_id: A message of the bot.
            reason: Why it is reported.

        Raises:
            StorageError: The report could not be stored; the member may report again.
        """
        claim = message_id.to_bytes(8) + self._store.member_id(who)
        if not self._reporters.claim(claim):
            return False
        guild = self._store.guild_id(who)
        try:
            earlier = await self._from_earlier(guild, message_id)
            await self._store.reports.record(guild, message_id, reason.value)
        except StorageError:
            self._reporters.release(claim)
            raise
        new = _Remembered(who.guild_id, channel_id, utcnow(), steady_s())
        if earlier is not None:
            new.reported_at, new.reasons = earlier.reported_at, Counter(earlier.reasons)
        self._remembered.setdefault(message_id, new).reasons[reason.value] += 1
        return True

    async def _from_earlier(self, guild: bytes, message_id: int) -> ReportedReply | None:
        """Return the report of this reply that an earlier process stored."""
        reply_id = await self._store.replies.of_message(message_id)
        stored = await self._store.reports.of(guild, NOWHERE if reply_id is None else reply_id)
        return None if stored is None or self._knows(stored) else stored

    def _knows(self, stored: ReportedReply) -> bool:
        return any(message_id in self._remembered for message_id in stored.message_ids)

    async def waiting(self, who: Who, limit: int) -> tuple[Sequence[Report], int]:
        """Return the oldest open reports in the server of ``who``, and the number of all open ones."""
        stored, n_stored = await self._store.reports.waiting(self._store.guild_id(who), MOST_READ)
        self._expire()
        reports = [
            Report(one.reply_id, one.channel_id, one.message_ids, one.reported_at, one.reasons)
            for one in stored
            if not self._knows(one)
        ]
        remembered = [
            Report(None, one.channel_id, (message_id,), one.reported_at, dict(one.reasons))
            for message_id, one in self._remembered.items()
            if one.guild_id == who.guild_id
        ]
        both = sorted([*reports, *remembered], key=lambda report: report.reported_at)
        return both[:limit], n_stored - (len(stored) - len(reports)) + len(remembered)

    async def of_message(self, who: Who, message_id: int) -> Report | None:
        """Return the report of a reply in this server by one of its messages; None if it was handled."""
        one = self._remembered.get(message_id)
        if one is not None and one.guild_id == who.guild_id:
            return Report(None, one.channel_id, (message_id,), one.reported_at, dict(one.reasons))
        reply_id = await self._store.replies.of_message(message_id)
        stored = None
        if reply_id is not None:
            stored = await self._store.reports.of(self._store.guild_id(who), reply_id)
        if stored is None:
            return None
        return Report(
            stored.reply_id, stored.channel_id, stored.message_ids, stored.reported_at, stored.reasons
        )

    async def dismiss(self, who: Who, report: Report) -> None:
        """Close a report in this server without further action."""
        for message_id in report.message_ids:
            reply_id = await self._store.replies.of_message(message_id)
            if reply_id is not None:
                await self._store.reports.dismiss(self._store.guild_id(who), reply_id)
            self.drop(message_id)

    def drop(self, message_id: int) -> None:
        """Drop the report in memory of a deleted message; stored reports are deleted with their reply."""
        self._remembered.pop(message_id, None)

    def drop_server(self, guild_id: int) -> None:
        """Drop all reports in memory of a server that the bot left."""
        for message_id in [m for m, one in self._remembered.items() if one.guild_id == guild_id]:
            del self._remembered[message_id]

    def _expire(self) -> None:
        limit = steady_s() - RETENTION.total_seconds()
        for message_id in [m for m, one in self._remembered.items() if one.reported_s < limit]:
            del self._remembered[message_id]
