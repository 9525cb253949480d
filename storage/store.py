"""The store: opens data and keys together, and offers every domain as a sub-store.

Each sub-store is one attribute of :class:`Store`, defined in the room of its domain: ``store.consent``,
``store.replies``, ``store.feedback``, ``store.learning``, ``store.privacy`` and so on. ``bot`` and
``personalization`` use only this class, the records and the errors of storage.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Self

from storage.clock import utcnow
from storage.coordination import Coordination
from storage.database.backend import Backend, BulkReader, Reader
from storage.database.deletion_clock import DeletionClock
from storage.database.notes import Notes
from storage.database.peers import News
from storage.database.replacing import discard, followed
from storage.database.writer import Writer
from storage.identifies import Identifies
from storage.keys.key_files import KEYS, LEDGER
from storage.keys.key_store import KeyStore
from storage.learning.learning_records import LearningRecords
from storage.learning.outdated_features import OutdatedReplies
from storage.learning.past_choices import PastChoices
from storage.members.consent import Consents
from storage.members.decision_times import DecisionTimes
from storage.members.learning_pause import Pauses
from storage.members.wishes import Wishes
from storage.opening import backend_of, open_data, require_data
from storage.privacy import erasing
from storage.privacy.departures import Departures
from storage.privacy.erasure_jobs import ErasureJobs
from storage.privacy.member_rights import MemberRights
from storage.privacy.traces import HeldFiles
from storage.records import ForgetReceipt, MemberId, Who
from storage.replies.feedback_store import FeedbackStore
from storage.replies.posted_messages import PostedMessages
from storage.replies.preferences import Preferences
from storage.replies.remarks import Remarks
from storage.replies.reply_store import ReplyStore
from storage.replies.reported_replies import Reports
from storage.replies.taps import Taps
from storage.servers.activity import Activity
from storage.servers.faq import FaqEntries
from storage.servers.safety_rules import SafetyRules
from storage.servers.stored_settings import GuildRecords
from storage.settings import StorageSettings
from storage.tallies import Tallies


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Parts that all sub-stores share.

    Attributes:
        keys: Computes pseudonyms, opens and seals members' data.
        writer: Applies changes.
        reader: Runs queries of few rows.
        bulk: Runs queries of many rows.
        coordination: Other processes on the same data.
        tallies: Counts that are shared with them and never stored.
        clock: Dates new rows, and judges the age of stored ones.
        eraser: Forgets members.
        erased_at_start: Members whose erasure was finished or repeated while the store opened.
    """

    keys: KeyStore
    writer: Writer
    reader: Reader
    bulk: BulkReader
    coordination: Coordination
    tallies: Tallies
    clock: DeletionClock
    eraser: erasing.Eraser
    erased_at_start: ForgetReceipt


class Store:
    """Data and keys of one data folder. Created by :meth:`open`; usable with ``async with``.

    A change is committed when its call returns. Any call may raise :class:`~storage.errors.DatabaseFailed` or
    :class:`~storage.errors.SealBroken`. A change may also raise :class:`~storage.errors.WriterFull` or
    :class:`~storage.errors.StoreClosed`. Methods of the sub-stores name further errors.
    """

    def __init__(
        self,
        opened: Opened,
        *,
        retention: timedelta,
        cleanup: AsyncExitStack,
    ) -> None:
        keys, reader, writer, clock = opened.keys, opened.reader, opened.writer, opened.clock
        now, bulk, coordination = clock.now, opened.bulk, opened.coordination
        self._keys, self._reader, self._writer, self._bulk = keys, reader, writer, bulk
        self._cleanup = cleanup
        self.erased_at_start = opened.erased_at_start
        self.coordination, self.tallies = coordination, opened.tallies
        self.notes = Notes(reader, writer)
        self.identifies = Identifies(writer, clock)
        # members
        decided = DecisionTimes(now)
        self.consent = Consents(keys, reader, writer, now=now, decided=decided)
        self.pauses = Pauses(keys, reader, writer, now=now, decided=decided)
        self.wishes = Wishes(keys, reader, writer, now=now, decided=decided)
        # replies and feedback on them
        self.replies = ReplyStore(keys, reader, writer, clock=clock, retention=retention)
        self.posted = PostedMessages(keys, reader, bulk)
        self.feedback = FeedbackStore(keys, reader, writer, now=now, decided=decided)
        self.preferences = Preferences(keys, reader, bulk, writer=writer, now=now, decided=decided)
        self.taps = Taps(keys, reader, writer=writer, now=now, decided=decided)
        self.remarks = Remarks(keys, reader, writer, now=now, decided=decided)
        self.reports = Reports(keys, reader, writer, clock)
        # servers
        self.guild_settings = GuildRecords(keys, reader, writer, coordination)
        self.faq = FaqEntries(keys, reader, writer)
        self.safety = SafetyRules(keys, reader, writer)
        self.activity = Activity(reader)
        # learning
        self.learning = LearningRecords(
            keys, writer, reader, bulk, coordination=coordination, preferences=self.preferences, now=now
        )
        self.outdated = OutdatedReplies(keys, reader, writer)
        self.choices = PastChoices(keys, reader, bulk)
        # privacy
        erasures = ErasureJobs(writer, opened.eraser, coordination)
        self.privacy = MemberRights(keys, reader, bulk, erasures=erasures, now=now)
        self.departures = Departures(
            keys, reader, writer, erasures=erasures, clock=clock, coordination=coordination
        )

    @classmethod
    async def open(
        cls,
        settings: StorageSettings,
        *,
        now: Callable[[], datetime] = utcnow,
        may_create: bool = True,
        locked: bool = False,
    ) -> Self:
        """Open or create the database and its keys; finish erasures that a crash interrupted.

        Args:
            settings: Location of data and keys.
            now: The clock, aware UTC.
            may_create: Whether an empty store may be created.
            locked: Whether the caller holds the lock of a SQLite folder.

        Raises:
            AlreadyOpen: Another process uses the folder.
            StoreMissing: There is no store, and none may be created.
            KeyMissing: Data exists, but its keys do not.
            KeyUnreadable: A key is malformed, readable by other users, or belongs to other data.
            LedgerBehind: The erasure ledger is missing or older than the data.
            DatabaseDamaged: A file is damaged or not a database.
            DatabaseNewer: A file was written by a newer version.
            StorageError: A folder cannot be created or written to.
        """
        if not may_create:
            await require_data(settings)
        async with AsyncExitStack() as stack:
            backend = backend_of(settings)
            if not locked:
                await backend.open(stack)
            opened = await _open_parts(settings, backend, DeletionClock(now), stack)
            if not locked:  # else the caller still decides which files stay
                key_files = (followed(settings.key_dir / name) for name in (KEYS, LEDGER))
                for path in (*backend.files, *key_files):
                    discard(path)  # the files before a restore that was killed: the restored ones open
            return cls(opened, retention=timedelta(days=settings.retention_days), cleanup=stack.pop_all())

    async def close(self) -> None:
        """Write pending changes, then close files, threads and keys. Idempotent."""
        await self._cleanup.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def writes_waiting(self) -> int:
        """Number of changes in the writer's queue."""
        return len(self._writer)

    def member_id(self, who: Who) -> MemberId:
        """Return the pseudonym of one person in one server. No I/O."""
        return self._keys.pseudonyms.member(who)

    def guild_id(self, who: Who) -> bytes:
        """Return the pseudonym of a server; each person's direct messages count as a server. No I/O."""
        return self._keys.pseudonyms.guild(who)


async def _open_parts(
    settings: StorageSettings, backend: Backend, clock: DeletionClock, stack: AsyncExitStack
) -> Opened:
    """Open keys, writer and readers, in the order in which they need each other; finish erasures."""
    held = HeldFiles()
    stack.callback(held.close)  # after every connection is closed
    keys = await KeyStore.open(settings, data_exists=await backend.has_data(), quick=True)
    stack.push_async_callback(keys.close)
    connection = await open_data(backend, keys, stack)
    peers = backend.peers()
    stack.push_async_callback(peers.close)
    notify = partial(peers.notify, news=News.LEFT)
    eraser = erasing.Eraser(keys, [*backend.files, *keys.files], held, now=clock.now, notify=notify)
    erased = await eraser.finish_leftovers(connection, backend)
    reader = backend.reader()
    stack.push_async_callback(reader.close)
    await reader.run(clock.read)
    bulk = backend.bulk_reader()
    stack.push_async_callback(bulk.close)
    writer = Writer(connection, backend, wait_s=settings.group_commit_ms / 1000, before=keys.ask)
    stack.push_async_callback(writer.close)
    coordination = Coordination(peers, keys, reader, writer)
    backend.before_writing(coordination.notice_erasures)
    board = backend.board()
    stack.push_async_callback(board.close)
    await coordination.open()
    return Opened(
        keys=keys,
        writer=writer,
        reader=reader,
        bulk=bulk,
        coordination=coordination,
        tallies=Tallies(keys.pseudonyms.tally, clock.steady_s, board),
        clock=clock,
        eraser=eraser,
        erased_at_start=erased,
    )
