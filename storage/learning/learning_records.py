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
from storage.replies.preferences import Preferences, delete_choices
from storage.servers.stored_settings import emoji_of_guilds

log = logging.getLogger(__name__)


class LearningRecords:
    """Reads and writes what is learnt. Reached as ``Store.learning``.

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
        """Counter of erased members; see :meth:`record_round` and :meth:`record_prior`. No I/O."""
        return self._coordination.erasures

    async def cursor(self) -> int:
        """Number of the last change that a round took in."""
        return await self._reader.run(queries.cursor)

    async def changed_after(self, cursor: int, limit: int) -> list[ChangedMember]:
        """Members due for a round, the longest waiting first."""
        return await self._reader.run(lambda c: queries.changed_after(c, cursor, limit))

    async def count_changed_after(self, cursor: int) -> int:
        """How many members are due."""
        return await self._reader.run(lambda c: queries.count_changed_after(c, cursor))

    async def feedback_of(
        self, member_ids: Sequence[MemberId], newest: int = 1000
    ) -> dict[MemberId, list[FeedbackRow]]:
        """Each of these members' feedback on their ``newest`` replies, oldest reply first.

        Read and opened in a thread. Rows that do not open, because a key was lost or a row damaged, are left
        out and counted in the log: one member must not stop the learning of all.
        """
        before = self._coordination.erasures
        sealed = await self._bulk.run(lambda c: queries.sealed_feedback(c, member_ids, newest))
        keys = await self._reader.run(lambda _: self._keys.usable_keys_of(sealed.owners()))
        opened, n_unreadable = await self._bulk.run_in_thread(lambda: sealed.open(keys))
        if n_unreadable and await self._reader.run(erasures_of) != before:
            log.info("%d rows of feedback were left out: somebody left while they were read", n_unreadable)
        elif n_unreadable:
            log.warning("%d rows of feedback were left out: %s", n_unreadable, UNOPENED_HINT)
        return opened

    async def feedback_counts(self, member_ids: Sequence[MemberId]) -> dict[MemberId, int]:
        """How many replies each of these members gave feedback on; those without any are left out."""
        return await self._bulk.run(lambda c: queries.feedback_counts(c, member_ids))

    async def members_with_feedback(
        self, after: MemberId | None, limit: int, agreed_before: datetime | None = None
    ) -> list[MemberId]:
        """One page of the members who gave feedback; ``after`` is the last of the page before.

        With ``agreed_before`` only those who have agreed since then or longer.
        """
        return await self._reader.run(lambda c: queries.members_with_feedback(c, after, limit, agreed_before))

    async def emoji_of_guilds(self) -> dict[bytes, dict[str, float]]:
        """What emoji mean in each server that says so: server -> emoji -> -1 to 1, 0: nothing."""
        return await self._reader.run(lambda c: emoji_of_guilds(c, self._keys))

    async def head_of(self, member_id: MemberId) -> HeadRecord | None:
        """The member's published head."""
        return await self._reader.run(lambda c: queries.head_of(c, self._keys, member_id))

    async def record_round(
        self, record: RoundRecord, heads: Sequence[NewHead], *, erasures: int | None = None
    ) -> int | None:
        """Store heads, cursor and round in one transaction.

        Args:
            record: The round.
            heads: What it learnt; members who are not there any more are passed over.
            erasures: :attr:`erasures` as it was before the labels behind these heads were read.

        Returns:
            The version; None when a member left since then: they may have agreed again meanwhile, and a head
            learnt from what was forgotten is not stored.

        Raises:
            NotTrainer: Another process trains.
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
        """Replace the learnt prior; every member with feedback is due again.

        False when a member left since ``erasures`` was read, before the labels were: the prior may hold
        traces of them and was not stored.

        Raises:
            NotTrainer: Another process trains.
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
        """The learnt prior; None before there is one."""
        return await self._reader.run(lambda c: queries.learnt_prior(c, self._keys))

    async def latest_round(self) -> RoundRecord | None:
        """The last round."""
        return await self._reader.run(queries.latest_round)

    async def start_over(self, who: Who) -> int:
        """Stop all of the member's feedback in this server from counting, and drop their head.

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
