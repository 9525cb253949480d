"""Reported replies as managers see them: those that are stored, and, in memory alone, those that are not.

A reply to somebody who did not agree is stored nowhere, so a report of it must not be either: nobody's forget
could find it. It waits in this process's memory until it is handled, the message goes, or the process ends.
Of whoever reports, memory remembers a keyed hash, so that one person counts once for a reply, and storage
nothing at all. Knows nothing of Discord.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from cachetools import FIFOCache

from bot.messages.queues import Claims
from storage.records import ReplyId, Who
from storage.replies.reported_replies import RETENTION
from storage.store import Store

MOST_UNSTORED = 500
"""Reports that wait in memory at once; the oldest goes first."""


class Reason(StrEnum):
    """Why somebody reports a reply; the words that are stored."""

    RUDE = "rude"
    WRONG = "wrong"
    UNSAFE = "unsafe"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Report:
    """A reply that waits for a manager's decision.

    Attributes:
        reply_id: Where it is stored; None: it is not.
        channel_id: Where it stands.
        message_ids: Its messages.
        reported_at: When it was reported first, aware UTC.
        reasons: Reason -> how often.
    """

    reply_id: ReplyId | None
    channel_id: int
    message_ids: tuple[int, ...]
    reported_at: datetime
    reasons: Mapping[str, int]


@dataclass(slots=True)
class _Unstored:
    guild_id: int
    channel_id: int
    reported_at: datetime
    reasons: Counter[str] = field(default_factory=Counter[str])


class ReportQueue:
    """Takes reports and shows them. Methods may raise what those of the store do."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._unstored: FIFOCache[int, _Unstored] = FIFOCache(MOST_UNSTORED)
        self._reporters = Claims()

    async def take(self, who: Who, channel_id: int, message_id: int, reason: Reason) -> bool:
        """Count a report; False when this person has reported this message already.

        Args:
            who: Who reports.
            channel_id: Where the message stands.
            message_id: A message of the bot.
            reason: Why.
        """
        claim = (message_id, self._store.member_id(who))
        if not self._reporters.claim(claim):
            return False
        guild = self._store.guild_id(who)
        try:
            stored = await self._store.reports.record(guild, message_id, reason.value)
        except Exception:
            self._reporters.release(claim)
            raise
        if not stored:
            new = _Unstored(who.guild_id, channel_id, datetime.now(UTC))
            self._unstored.setdefault(message_id, new).reasons[reason.value] += 1
        return True

    async def waiting(self, who: Who, limit: int) -> tuple[Sequence[Report], int]:
        """The reports in a server that wait the longest, and how many wait in all; ``who`` looks."""
        stored, n_stored = await self._store.reports.waiting(self._store.guild_id(who), limit)
        reports = [
            Report(one.reply_id, one.channel_id, one.message_ids, one.reported_at, one.reasons)
            for one in stored
        ]
        self._expire()
        unstored = [
            Report(None, one.channel_id, (message_id,), one.reported_at, dict(one.reasons))
            for message_id, one in self._unstored.items()
            if one.guild_id == who.guild_id
        ]
        both = sorted([*reports, *unstored], key=lambda report: report.reported_at)
        return both[:limit], n_stored + len(unstored)

    async def of_reply(self, who: Who, reply_id: ReplyId) -> Report | None:
        """The report of a stored reply in this server; None when it is handled."""
        one = await self._store.reports.of(self._store.guild_id(who), reply_id)
        if one is None:
            return None
        return Report(one.reply_id, one.channel_id, one.message_ids, one.reported_at, one.reasons)

    def of_message(self, who: Who, message_id: int) -> Report | None:
        """The report of a message of no stored reply in this server; None when it is handled."""
        one = self._unstored.get(message_id)
        if one is None or one.guild_id != who.guild_id:
            return None
        return Report(None, one.channel_id, (message_id,), one.reported_at, dict(one.reasons))

    async def dismiss(self, who: Who, report: Report) -> None:
        """Let go of a report in this server."""
        if report.reply_id is not None:
            await self._store.reports.dismiss(self._store.guild_id(who), report.reply_id)
        for message_id in report.message_ids:
            self.drop(message_id)

    def drop(self, message_id: int) -> None:
        """Let go of what memory holds of a message that is gone; stored reports go with the reply."""
        self._unstored.pop(message_id, None)

    def drop_server(self, guild_id: int) -> None:
        """Let go of what memory holds of a server that the bot left."""
        for message_id in [m for m, one in self._unstored.items() if one.guild_id == guild_id]:
            del self._unstored[message_id]

    def _expire(self) -> None:
        limit = datetime.now(UTC) - RETENTION
        for message_id in [m for m, one in self._unstored.items() if one.reported_at < limit]:
            del self._unstored[message_id]
