"""The store: the one door to everything kept, in domain words.

Opens data and keys together, runs every change through the one writer and every question through the readers.
What a call does stands in the modules named by domain: consent, exchanges, feedback, learning, summaries,
rights. ``bot`` and ``personalization`` know nothing of storage but this class, the records and the errors.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Self

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.coordination import Company
from storage.database import notes
from storage.database.backend import BulkReader, Reader
from storage.database.peers import News
from storage.database.writer import Writer
from storage.keys.key_store import KeyStore
from storage.learning import queries as learning
from storage.learning.learning_records import SHUT
from storage.learning.outdated_features import OutdatedReplies
from storage.learning.past_choices import PastChoices
from storage.members import consent
from storage.members.learning_pause import Pauses
from storage.members.wishes import Wishes
from storage.opening import backend_of, open_data
from storage.privacy import erasing as rights
from storage.privacy.erasure_calls import Farewells
from storage.privacy.export import Exported, beside_the_data, members_of, sealed_data
from storage.records import (
    Applied,
    Cleared,
    Consent,
    DataSummary,
    Deleted,
    DiscordEvent,
    FeedbackSummary,
    ForgetReceipt,
    Impression,
    MemberId,
    Place,
    Reacted,
    ReplyId,
    ReplyReason,
    ReplySummary,
    Who,
)
from storage.replies import apply_events as events
from storage.replies import feedback, summaries
from storage.replies import impressions as exchanges
from storage.replies.posted_messages import PostedMessages
from storage.replies.preferences import Preferences, put_aside
from storage.replies.remarks import Remarks
from storage.replies.reported_replies import Reports
from storage.servers.activity import Activity
from storage.servers.faq import FaqEntries
from storage.servers.safety_rules import SafetyRules
from storage.servers.stored_settings import GuildRecords
from storage.settings import StorageSettings

log = logging.getLogger(__name__)


def utcnow() -> datetime:
    """The time now, aware UTC."""
    return datetime.now(UTC)


class Store(Farewells):
    """Data and keys of one data folder. Made by :meth:`open`; usable with ``async with``.

    What is awaited has been committed. Any call may raise :class:`~storage.errors.DatabaseFailed` or
    :class:`~storage.errors.SealBroken`, a change also :class:`~storage.errors.WriterFull` or
    :class:`~storage.errors.StoreClosed`; further errors are named at each method.
    """

    def __init__(
        self,
        *,
        keys: KeyStore,
        writer: Writer,
        reader: Reader,
        bulk: BulkReader,
        retention: timedelta,
        now: Callable[[], datetime],
        eraser: rights.Eraser,
        erased_at_start: ForgetReceipt,
        company: Company,
        cleanup: AsyncExitStack,
    ) -> None:
        super().__init__(keys, writer, reader, bulk, company, now=now, eraser=eraser)
        self._retention = retention
        self.erased_at_start = erased_at_start
        self._deleted = False
        self._cleanup = cleanup
        self.outdated = OutdatedReplies(keys, reader, writer)
        self.choices = PastChoices(keys, reader, bulk)
        self.posted = PostedMessages(keys, reader, bulk)
        self.activity = Activity(reader)
        self.preferences = Preferences(keys, reader, bulk, writer=writer, now=now)
        self.remarks = Remarks(keys, reader, writer, now=now)
        self.pauses = Pauses(keys, reader, writer, now=now)
        self.wishes = Wishes(keys, reader, writer, now)
        self.guild_settings = GuildRecords(keys, reader, writer, company)
        self.faq = FaqEntries(keys, reader, writer)
        self.safety = SafetyRules(keys, reader, writer)
        self.reports = Reports(keys, reader, writer, now)

    @classmethod
    async def open(cls, settings: StorageSettings, *, now: Callable[[], datetime] = utcnow) -> Self:
        """Open the database and its keys, or make them; finish what a crash cut short.

        Raises:
            AlreadyOpen: Another process uses the folder.
            KeyMissing: Data exists, but not its keys.
            KeyUnreadable: A key is malformed, readable by others, or belongs to other data.
            DatabaseDamaged: A file is not a sound database.
            DatabaseNewer: A file was written by a newer version.
            StorageError: A folder cannot be made or written to.
        """
        async with AsyncExitStack() as stack:
            backend = backend_of(settings)
            await backend.open(stack)
            keys = await KeyStore.open(settings, data_exists=await backend.has_data())
            stack.push_async_callback(keys.close)
            connection = await open_data(backend, keys, stack)
            neighbours = backend.neighbours()
            stack.push_async_callback(neighbours.close)
            tell = partial(neighbours.tell, news=News.LEFT)
            eraser = rights.Eraser(keys, [*backend.files, *keys.files], now, tell)
            async with backend.alone(connection):
                erased = await eraser.carry_out(
                    connection,
                    rights.returning(keys),
                    empty_log=lambda: connection.run_sync(backend.empty_log),
                )
            reader = backend.reader()
            stack.push_async_callback(reader.close)
            bulk = backend.bulk_reader()
            stack.push_async_callback(bulk.close)
            writer = Writer(connection, backend, wait_s=settings.group_commit_ms / 1000)
            stack.push_async_callback(writer.close)
            company = Company(neighbours, keys, writer)
            backend.before_writing(company.catch_up)
            await company.open()
            return cls(
                keys=keys,
                writer=writer,
                reader=reader,
                bulk=bulk,
                retention=timedelta(days=settings.retention_days),
                now=now,
                eraser=eraser,
                erased_at_start=erased,
                company=company,
                cleanup=stack.pop_all(),
            )

    async def close(self) -> None:
        """Write what waits, then let go of files, threads and keys. Idempotent."""
        await self._cleanup.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def writes_waiting(self) -> int:
        """Changes that wait for the writer."""
        return len(self._writer)

    def member_id(self, who: Who) -> MemberId:
        """The pseudonym of one person in one server. No I/O."""
        return self._keys.pseudonyms.member(who)

    def guild_id(self, who: Who) -> bytes:
        """The pseudonym of a server; direct messages with one person are one. No I/O, nothing is stored."""
        return self._keys.pseudonyms.guild(who)

    @property
    def erasures(self) -> int:
        """Grows whenever a member leaves; see :meth:`record_round` and :meth:`record_prior`."""
        return self.company.erasures

    # --- consent -------------------------------------------------------------------------------------------

    async def consent_of(self, who: Who) -> Consent:
        """What this member decided."""
        return await self._reader.run(lambda c: consent.consent_of(c, self.member_id(who)))

    async def record_consent(self, who: Who) -> MemberId:
        """Record that this member agrees, after making the data key. Idempotent."""
        return await self._change(lambda c: consent.agree(c, self._keys, who, self._now()))

    # --- exchanges -----------------------------------------------------------------------------------------

    async def record_impression(self, who: Who, place: Place, impression: Impression) -> ReplyId:
        """Store a posted reply.

        Raises:
            NoConsent: The asker did not agree.
        """
        return await self._change(
            lambda c: exchanges.record_impression(c, self._keys, who, place, impression, self._now())
        )

    async def reply_of_message(self, message_id: int) -> ReplyId | None:
        """The stored reply that this message is a chunk of."""
        return await self._reader.run(lambda c: exchanges.reply_of_message(c, self._keys, message_id))

    async def latest_reply(self, who: Who, channel_id: int | None = None) -> ReplySummary | None:
        """The newest reply to this member, in one channel or anywhere in the server."""
        return await self._reader.run(lambda c: summaries.latest_reply(c, self._keys, who, channel_id))

    async def reply_summary(self, who: Who, reply_id: ReplyId) -> ReplySummary | None:
        """A stored reply of this member's server, with the member's own feedback."""
        return await self._reader.run(lambda c: summaries.reply_summary(c, self._keys, who, reply_id))

    async def reason_of(self, who: Who, reply_id: ReplyId) -> ReplyReason | None:
        """Why a reply to this very member was chosen; None for everybody else, and for what is not stored."""
        return await self._reader.run(lambda c: exchanges.reason_of(c, self._keys, who, reply_id))

    async def expire_texts(self) -> int:
        """Delete candidate texts older than the retention time; return how many replies lost theirs."""

        async def job(connection: AsyncConnection) -> int:
            async with connection.begin():
                count = await connection.run_sync(exchanges.expire_texts, self._now() - self._retention)
            await self._writer.empty_log()
            return count

        return await self._writer.submit_alone(job)

    # --- feedback: queued before the first await, so calls made in order are applied in order -------------

    async def record_events(self, happened: Sequence[DiscordEvent]) -> Applied:
        """Apply what happened in Discord, in order, all in one transaction."""
        at = self._now()
        applied = await self._change(lambda c: events.record_events(c, self._keys, happened, at))
        self._deleted = self._deleted or any(isinstance(event, Deleted) for event in happened)
        if applied.n_shut:
            log.warning("%d feedbacks were left as they are: %s", applied.n_shut, SHUT)
        return applied

    async def record_reaction(
        self, who: Who, message_id: int, emoji: str, *, added: bool, burst: bool = False
    ) -> bool:
        """Add or take back one reaction. False: not agreed or no such reply, nothing stored."""
        applied = await self.record_events([Reacted(0, message_id, who, emoji, burst, added)])
        return applied.n_taken > 0

    async def record_clear(self, message_id: int, emoji: str | None = None) -> int:
        """Take everybody's reactions, or those of one emoji, off a message; return members affected."""
        return len((await self.record_events([Cleared(0, message_id, emoji)])).members)

    async def record_deleted(self, message_ids: Sequence[int]) -> int:
        """Take deleted messages out; a reply without messages goes with its feedback. Members affected."""
        return len((await self.record_events([Deleted(0, id_) for id_ in message_ids])).members)

    async def settle(self) -> None:
        """Leave nothing of deleted messages in the database's log; call within a minute of a deletion."""
        if self._deleted:
            self._deleted = False
            await self._writer.submit_alone(lambda _: self._writer.empty_log())

    async def record_rating(self, who: Who, reply_id: ReplyId, rating: int | None) -> int | None:
        """Set a rating of 1 to 5, or take it back with None; return the one before.

        Raises:
            NoConsent: The member did not agree.
            UnknownReply: Not stored, or of another server.
            ValueError: Not 1 to 5.
        """
        at = self._now()
        return await self._change(lambda c: feedback.record_rating(c, self._keys, who, reply_id, rating, at))

    async def undo_feedback(self, who: Who, reply_id: ReplyId) -> bool:
        """Let the member's feedback on one reply say nothing any more; whether that changed anything.

        Raises:
            NoConsent: The member did not agree.
        """
        at = self._now()
        return bool(await self._change(lambda c: feedback.undo(c, self._keys, who, reply_id, at)))

    async def start_over(self, who: Who) -> int:
        """Let all of the member's feedback in this server say nothing any more, and drop their head.

        Their choices between replies are deleted.

        Returns:
            On how many replies they had given feedback that counted, and how often they had chosen.

        Raises:
            NoConsent: The member did not agree.
        """
        at = self._now()

        def unit(connection: Connection) -> int:
            learning.drop_head(connection, self.member_id(who))
            n_undone = feedback.undo(connection, self._keys, who, None, at)
            return n_undone + put_aside(connection, self.member_id(who))

        return await self._change(unit)

    async def feedback_summary(self, who: Who, newest: int = 10) -> FeedbackSummary:
        """What this member may be shown of their own feedback in this server."""
        return await self._reader.run(lambda c: summaries.feedback_summary(c, self._keys, who, newest))

    # --- rights --------------------------------------------------------------------------------------------

    async def summary_of(self, who: Who) -> DataSummary:
        """How much is kept about this member in this server."""
        return await self._reader.run(lambda c: summaries.data_summary(c, self._keys, who))

    async def export(self, who: Who) -> list[tuple[MemberId, Exported]]:
        """Everything kept of this person, opened, one entry for each server; this server's first."""
        person, here = self._keys.pseudonyms.person(who.user_id), self.member_id(who)
        member_ids = await self._reader.run(lambda c: members_of(c, person))
        keys = await self._reader.run(lambda _: self._keys.found_of(member_ids))
        found: list[tuple[MemberId, Exported]] = []
        for member_id in sorted(member_ids, key=lambda m: m != here):
            sealed = await self._bulk.run(lambda c, m=member_id: sealed_data(c, m))
            key = keys.get(member_id)
            opened = await self._bulk.aside(lambda s=sealed, k=key: s.open(k))
            beside = await self._reader.run(lambda _, m=member_id: beside_the_data(self._keys, [m]))
            found.append((member_id, opened | beside))
        return found

    # --- notes ---------------------------------------------------------------------------------------------

    async def meta(self, key: str) -> str | None:
        """A note that is about nobody, such as the hash of the command tree."""
        return await self._reader.run(lambda c: notes.note_of(c, key))

    async def set_meta(self, key: str, value: str) -> None:
        """Keep a note that is about nobody."""
        await self._change(lambda c: notes.put_note(c, key, value))
