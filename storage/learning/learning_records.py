"""Records of learning: changed members, feedback to learn from, heads, rounds and the prior.

Implements the protocol :class:`personalization.rounds.store_protocol.LearningStore`. The statements are in
:mod:`storage.learning.queries`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Connection

from storage.coordination import Coordination
from storage.database.backend import BulkReader, Reader
from storage.database.erasure_count import erasures_of
from storage.database.writer import Writer
from storage.keys.key_store import KeyStore
from storage.keys.sealing import UNOPENED_HINT
from storage.learning import queries
from storage.records import (
    ChangedMember,
    FeedbackRow,
    HeadRecord,
    MemberId,
    NewHead,
    PriorRecord,
    RoundRecord,
    Who,
)
from storage.replies import feedback
from storage.replies.choice_rows import delete_choices
from storage.replies.preferences import Preferences
from storage.servers.stored_settings import emoji_of_guilds
from storage.wording import counted

log = logging.getLogger(__name__)


class LearningRecords:
    """Reads and writes the data of learning. Reached as ``Store.learning``.

    Args:
        keys: Opens and seals.
        writer: Applies changes.
        reader: Runs queries of few rows.
        bulk: Runs queries of many rows.
        coordination: Other processes on the same data.
        preferences: Members' choices between two replies.
        now: The clock, aware UTC.
    """

    def __init__(
        self,
        keys: KeyStore,
        writer: Writer,
        reader: Reader,
        bulk: BulkReader,
        *,
        coordination: Coordination,
        preferences: Preferences,
        now: Callable[[], datetime],
    ) -> None:
        self._keys = keys
        self._writer = writer
        self._reader = reader
        self._bulk = bulk
        self._coordination = coordination
        self._now = now
        self.preferences = preferences

    @property
    def erasures(self) -> int:
        """Counter of erasures; see :meth:`record_round` and :meth:`record_prior`. No I/O."""
        return self._coordination.erasures

    async def cursor(self) -> int:
        """Return the number of the last change that a round processed."""
        return await self._reader.run(queries.cursor)

    async def changed_after(self, cursor: int, limit: int) -> list[ChangedMember]:
        """Return members due for a round, the longest waiting first."""
        return await self._reader.run(lambda c: queries.changed_after(c, cursor, limit))

    async def count_changed_after(self, cursor: int) -> int:
        """Return the number of members due."""
        return await self._reader.run(lambda c: queries.count_changed_after(c, cursor))

    async def feedback_of(
        self, member_ids: Sequence[MemberId], newest: int = 1000
    ) -> dict[MemberId, list[FeedbackRow]]:
        """Return each member's feedback on their ``newest`` replies, oldest reply first.

        Read and opened in a thread. Rows that cannot be opened, because a key was lost or a row is damaged,
        are left out and counted in the log: one member must not block the learning of all.
        """
        before = self._coordination.erasures
        sealed = await self._bulk.run(lambda c: queries.sealed_feedback(c, member_ids, newest))
        keys = await self._reader.run(lambda _: self._keys.usable_keys_of(sealed.owners()))
        opened, n_unreadable = await self._bulk.run_in_thread(lambda: sealed.open(keys))
        if n_unreadable and await self._reader.run(erasures_of) != before:
            log.info(
                "%s of feedback left out: a member was erased during the read", counted(n_unreadable, "row")
            )
        elif n_unreadable:
            log.warning("%s of feedback left out: %s", counted(n_unreadable, "row"), UNOPENED_HINT)
        return opened

    async def feedback_counts(self, member_ids: Sequence[MemberId]) -> dict[MemberId, int]:
        """Return the number of replies with each member's feedback; members without any are left out."""
        return await self._bulk.run(lambda c: queries.feedback_counts(c, member_ids))

    async def members_with_feedback(
        self, after: MemberId | None, limit: int, agreed_before: datetime | None = None
    ) -> list[MemberId]:
        """Return one page of the members who gave feedback; ``after`` is the last of the page before.

        With ``agreed_before``, only members who have agreed since then or longer.
        """
        return await self._reader.run(lambda c: queries.members_with_feedback(c, after, limit, agreed_before))

    async def emoji_of_guilds(self) -> dict[bytes, dict[str, float]]:
        """Return the meaning of emoji in each server that sets any: server -> emoji -> -1 to 1; 0: none."""
        return await self._reader.run(lambda c: emoji_of_guilds(c, self._keys))

    async def head_of(self, member_id: MemberId) -> HeadRecord | None:
        """Return the member's published head, or None."""
        return await self._reader.run(lambda c: queries.head_of(c, self._keys, member_id))

    async def record_round(
        self, record: RoundRecord, heads: Sequence[NewHead], *, erasures: int | None = None
    ) -> int | None:
        """Store heads, cursor and round in one transaction.

        Args:
            record: The round.
            heads: The learnt heads; members who do not exist any more are skipped.
            erasures: :attr:`erasures` from before the labels behind these heads were read.

        Returns:
            The version. None, and nothing is stored, if a member was erased since then: a head learnt from
                erased data
            must not be stored, even if the member has agreed again.

        Raises:
            NotTrainer: Another process is the trainer.
        """

        def unit(connection: Connection) -> int | None:
            fence = self._coordination.require_lead(connection)
            if not self._coordination.no_erasure_since(connection, erasures):
                return None
            version = queries.record_round(connection, self._keys, record, heads, fence)
            self._coordination.notify_heads(connection)
            return version

        return await self._writer.submit(unit)

    async def record_prior(self, record: PriorRecord, *, erasures: int | None = None) -> bool:
        """Replace the learnt prior; every member with feedback becomes due.

        Args:
            record: The prior.
            erasures: :attr:`erasures` from before the labels behind the prior were read.

        Returns:
            Whether it was stored; False if a member was erased since then, because the prior may contain
                their influence.

        Raises:
            NotTrainer: Another process is the trainer.
        """

        def unit(connection: Connection) -> bool:
            self._coordination.require_lead(connection)
            if not self._coordination.no_erasure_since(connection, erasures):
                return False
            self._coordination.notify_prior(connection)
            queries.record_prior(connection, self._keys, record)
            return True

        return await self._writer.submit(unit)

    async def prior(self) -> PriorRecord | None:
        """Return the learnt prior; None before the first one."""
        return await self._reader.run(lambda c: queries.learnt_prior(c, self._keys))

    async def latest_round(self) -> RoundRecord | None:
        """Return the last round, or None."""
        return await self._reader.run(queries.latest_round)

    async def start_over(self, who: Who) -> int:
        """Stop all of the member's feedback in this server from counting, and delete their head.

        Their choices between replies are deleted.

        Returns:
            The number of replies with feedback that counted, plus the number of choices.

        Raises:
            NoConsent: The member did not agree.
        """
        at, member_id = self._now(), self._keys.pseudonyms.member(who)

        def unit(connection: Connection) -> int:
            queries.drop_head(connection, member_id)
            n_undone = feedback.undo(connection, self._keys, who, None, at)
            return n_undone + delete_choices(connection, member_id)

        return await self._writer.submit(unit)
