"""Feedback on posted replies: reactions reported by Discord, ratings, and undo.

Each call reads the clock and queues its change before its first await, so changes are applied in the order of
the calls. The statements are in :mod:`storage.replies.apply_events` and :mod:`storage.replies.feedback`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from storage.database.backend import Reader
from storage.database.writer import Writer
from storage.keys.key_store import KeyStore
from storage.keys.sealing import UNOPENED_HINT
from storage.members.decision_times import DecisionTimes
from storage.records import (
    Applied,
    Arrival,
    Cleared,
    Deleted,
    DiscordEvent,
    FeedbackSummary,
    Reacted,
    ReplyId,
    Who,
)
from storage.replies import apply_events, feedback, summaries
from storage.wording import counted

log = logging.getLogger(__name__)


class FeedbackStore:
    """Records and reads members' feedback. Reached as ``Store.feedback``."""

    def __init__(
        self,
        keys: KeyStore,
        reader: Reader,
        writer: Writer,
        *,
        now: Callable[[], datetime],
        decided: DecisionTimes,
    ) -> None:
        self._keys, self._reader, self._writer, self._now = keys, reader, writer, now
        self._decided = decided
        self._deleted = False

    def arrival(self, sent_at: datetime | None = None) -> Arrival:
        """Return the time at which an act comes now, for :class:`storage.records.Who`. No I/O.

        Args:
            sent_at: Discord's own time of the act, where it has one.
        """
        return self._decided.arrival(sent_at)

    async def record_events(self, happened: Sequence[DiscordEvent]) -> Applied:
        """Apply events from Discord, in order, in one transaction."""
        now = self.arrival()
        applied = await self._writer.submit(
            lambda c: apply_events.record_events(c, self._keys, happened, now, self._decided)
        )
        self._deleted = self._deleted or any(isinstance(event, Deleted) for event in happened)
        if applied.n_unreadable:
            log.warning(
                "%s of feedback left unchanged: %s", counted(applied.n_unreadable, "row"), UNOPENED_HINT
            )
        return applied

    async def record_reaction(
        self, who: Who, message_id: int, emoji: str, *, added: bool, burst: bool = False
    ) -> bool:
        """Add or remove one reaction; return False, and store nothing, without consent or a stored reply."""
        applied = await self.record_events([Reacted(0, message_id, who, emoji, burst, added)])
        return applied.n_taken > 0

    async def record_clear(self, message_id: int, emoji: str | None = None) -> int:
        """Remove all reactions, or those of one emoji, from a message; return the number of members."""
        return len((await self.record_events([Cleared(0, message_id, emoji)])).members)

    async def record_deleted(self, message_ids: Sequence[int]) -> int:
        """Remove deleted messages and return the number of members affected.

        A reply without messages is deleted with its feedback.
        """
        return len((await self.record_events([Deleted(0, id_) for id_ in message_ids])).members)

    async def settle(self) -> None:
        """Empty the database's log after messages were deleted; call within a minute of a deletion."""
        if self._deleted:
            self._deleted = False
            await self._writer.submit_alone(lambda _: self._writer.empty_log())

    async def record_rating(self, who: Who, reply_id: ReplyId, rating: int | None) -> int | None:
        """Set a rating of 1 to 5, or remove it with None; return the earlier one.

        Raises:
            NoConsent: The member did not agree.
            LearningPaused: The member paused learning; removing a rating is still possible.
            UnknownReply: The reply is not stored, or belongs to another server.
            ValueError: The rating is not 1 to 5.
        """
        at = self._now()
        return await self._writer.submit(
            lambda c: feedback.record_rating(
                c, self._keys, who, reply_id, rating, at=at, decided=self._decided
            )
        )

    async def undo(self, who: Who, reply_id: ReplyId) -> bool:
        """Stop the member's feedback on one reply from counting; return whether that changed anything.

        Raises:
            NoConsent: The member did not agree.
        """
        at = self._now()
        return bool(await self._writer.submit(lambda c: feedback.undo(c, self._keys, who, reply_id, at)))

    async def summary(self, who: Who, newest: int = 10) -> FeedbackSummary:
        """Return what this member may see of their own feedback in this server."""
        return await self._reader.run(lambda c: summaries.feedback_summary(c, self._keys, who, newest))
