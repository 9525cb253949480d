"""Leaving: to forget a person everywhere, or to withdraw in one server.

The order makes the promise hold however it is cut short: the ledger names the keys that will go, so that no
backup brings them back; the scope is written into the data, from where nothing of the member is read any
more; memory lets go; the keys are destroyed, so that nothing sealed can be read, wherever a copy lies; the
rows go in one transaction with the heads and the prior that learnt from them; the write-ahead log is emptied;
and then somebody looks whether all is gone. What was cut short is finished when the store opens, and so is
what an older backup brought back. Every step may be repeated.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, delete, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database.change_numbers import drop_prior, mark_due, pages
from storage.database.erasure_count import count_erasure
from storage.database.notes import note_of, put_note
from storage.database.schema import (
    MemberStatus,
    feedback,
    heads,
    members,
    preferences,
    remarks,
    replies,
    wishes,
)
from storage.failpoints import failpoint
from storage.keys.erasure_ledger import Decision
from storage.keys.key_store import KeyStore
from storage.members.consent import decision_of, put_status, status_of
from storage.privacy.restored_backups import delete_orphans, drop_old_prior, fill_key_ids, mark_old_heads
from storage.privacy.traces import can_search, needles_of, traces_in_files, traces_in_tables
from storage.records import ForgetReceipt, MemberId, Who

log = logging.getLogger(__name__)

LEDGER_NOTE = "ledger"
"""How much of the erasure ledger these data have seen."""

_erasure_pending = members.c.standing.in_([MemberStatus.FORGETTING, MemberStatus.REFUSING])
_to_erase = select(members.c.member_id).where(_erasure_pending)


class ErasureScope(NamedTuple):
    """Who leaves.

    Attributes:
        note: Write into the ledger which keys go and who says no; give the numbers of those keys.
        mark: Write into the data that these members are on the way out.
    """

    note: Callable[[Connection], list[bytes]]
    mark: Callable[[Connection], None]


def forget_scope(keys: KeyStore, person: bytes) -> ErasureScope:
    """This person leaves every server. What they said no to stays a no."""
    own = and_(members.c.person == person, members.c.standing != MemberStatus.REFUSED)

    def note(connection: Connection) -> list[bytes]:
        key_ids = sorted({*_key_ids(connection, own), *keys.key_ids_of_person(person)})
        keys.ledger.record(key_ids)
        return key_ids

    def mark(connection: Connection) -> None:
        agreed = and_(own, members.c.standing == MemberStatus.AGREED)
        connection.execute(update(members).where(agreed).values(standing=MemberStatus.FORGETTING))

    return ErasureScope(note, mark)


def refusal_scope(keys: KeyStore, who: Who, at: datetime) -> ErasureScope:
    """This member says no in this server, or withdraws; final at once where nothing is kept."""
    decision = decision_of(keys, who, at)

    def note(connection: Connection) -> list[bytes]:
        own = members.c.member_id == decision.member_id
        key_ids = sorted({*_key_ids(connection, own), *keys.key_ids_of([decision.member_id]).values()})
        keys.ledger.record(key_ids, [decision])
        return key_ids

    def mark(connection: Connection) -> None:
        nothing_kept = status_of(connection, decision.member_id) in (None, MemberStatus.REFUSED)
        standing = MemberStatus.REFUSED if nothing_kept else MemberStatus.REFUSING
        put_status(connection, decision, standing)

    return ErasureScope(note, mark)


def leftover_scope(keys: KeyStore) -> ErasureScope:
    """Whoever should be gone: a leaving was cut short, or a backup from before brought them back."""

    def note(connection: Connection) -> list[bytes]:
        keys.ledger.require(int(note_of(connection, LEDGER_NOTE) or 0))
        fill_key_ids(connection, keys)
        refused = select(members.c.member_id, members.c.person, members.c.guild, members.c.decided_at).where(
            members.c.standing.in_([MemberStatus.REFUSED, MemberStatus.REFUSING])
        )
        known = {refusal.member_id for refusal in keys.ledger.refusals()}
        new = [row for row in map(Decision._make, connection.execute(refused)) if row.member_id not in known]
        keys.ledger.record(_key_ids(connection, _erasure_pending), new)
        return sorted(keys.ledger.named({*_key_ids(connection), *keys.key_ids_of_person(None)}))

    def mark(connection: Connection) -> None:
        delete_orphans(connection)
        drop_old_prior(connection, keys)
        mark_old_heads(connection)
        for page in pages(sorted(keys.ledger.named(_key_ids(connection)))):
            named = and_(members.c.key_id.in_(page), members.c.standing == MemberStatus.AGREED)
            connection.execute(update(members).where(named).values(standing=MemberStatus.FORGETTING))
        for refusal in keys.ledger.refusals():
            standing = status_of(connection, refusal.member_id)
            if standing in (MemberStatus.AGREED, MemberStatus.FORGETTING):
                put_status(connection, refusal, MemberStatus.REFUSING)
            elif standing is None:
                put_status(connection, refusal, MemberStatus.REFUSED)

    return ErasureScope(note, mark)


class Eraser:
    """Carries out partings.

    Args:
        keys: Keys and ledger.
        files: Where traces could be left.
        now: The clock, aware UTC.
        tell: Tells other processes that somebody leaves, in the transaction that says so.
    """

    def __init__(
        self,
        keys: KeyStore,
        files: Sequence[Path],
        now: Callable[[], datetime],
        notify: Callable[[Connection], None],
    ) -> None:
        self._keys, self._files, self._now, self._notify = keys, files, now, notify

    async def carry_out(
        self,
        connection: AsyncConnection,
        scope: ErasureScope,
        *,
        empty_log: Callable[[], Awaitable[object]],
        evict: Callable[[Sequence[MemberId]], None] = lambda _: None,
    ) -> ForgetReceipt:
        """Erase whom the scope names, and whoever was left over from before. Runs alone in the writer.

        Args:
            connection: The writer's.
            scope: Who leaves.
            empty_log: Empties the write-ahead log of the data.
            evict: Told which members leave once nothing of them is read any more, so that memory follows.

        Raises:
            DatabaseFailed: Another program reads the key store; repeat when it does not.
        """
        async with connection.begin():
            key_ids = await connection.run_sync(scope.note)
        failpoint("forget.after-ledger")
        async with connection.begin():
            await connection.run_sync(scope.mark)
            member_ids = await connection.run_sync(members_to_erase)
            if member_ids:
                await connection.run_sync(self._notify)
        failpoint("forget.after-mark")
        evict(member_ids)
        failpoint("forget.after-memory")
        if key_ids:
            await connection.run_sync(lambda _: self._keys.destroy(key_ids))
        failpoint("forget.after-keys")
        async with connection.begin():
            receipt = await connection.run_sync(_erase_rows, self._keys, self._now())
            if receipt.member_ids:
                await connection.run_sync(self._notify)
            failpoint("forget.before-rows-commit")
        failpoint("forget.after-rows")
        await empty_log()
        failpoint("forget.after-checkpoint")
        return await self._verify(connection, replace(receipt, n_keys=len(key_ids)), key_ids)

    async def _verify(
        self, connection: AsyncConnection, receipt: ForgetReceipt, key_ids: Sequence[bytes]
    ) -> ForgetReceipt:
        """Look for what should be gone, and say so in the receipt."""
        async with connection.begin():
            needles = await connection.run_sync(needles_of, key_ids, receipt.member_ids)
            n_traces = await connection.run_sync(traces_in_tables, self._keys, receipt.member_ids)
        searched = can_search(self._files, needles)
        if searched:
            with ThreadPoolExecutor(1, thread_name_prefix="storage-look") as thread:
                look = thread.submit(traces_in_files, self._files, needles)
                n_traces += await asyncio.wrap_future(look)
        if n_traces:
            log.warning("%d traces were left after a forget; does another program read the files?", n_traces)
        return replace(receipt, n_traces=n_traces, files_searched=searched)


def note_ledger_changes(connection: Connection, keys: KeyStore) -> None:
    """Note how much of the erasure ledger these data have seen."""
    put_note(connection, LEDGER_NOTE, str(keys.ledger.changes()))


def members_to_erase(connection: Connection) -> list[MemberId]:
    """Everybody who is on the way out, also those whose leaving was cut short."""
    return [MemberId(m) for m in connection.execute(_to_erase).scalars()]


def _key_ids(connection: Connection, which: ColumnElement[bool] | None = None) -> list[bytes]:
    """The numbers of the keys that these members' data are sealed under; of all members by default."""
    numbered = select(members.c.key_id).where(
        members.c.key_id.is_not(None), true() if which is None else which
    )
    return list(connection.execute(numbered).scalars())


def _erase_rows(connection: Connection, keys: KeyStore, at: datetime) -> ForgetReceipt:
    """Delete all rows of everybody who is leaving, and what rests on them."""
    member_ids = tuple(members_to_erase(connection))
    own_replies = select(replies.c.reply_id).where(replies.c.member_id.in_(_to_erase))
    given = feedback.c.member_id.in_(_to_erase)
    received = feedback.c.reply_id.in_(own_replies)
    others = connection.execute(select(feedback.c.member_id).where(received, ~given).distinct()).scalars()
    affected = tuple(sorted(MemberId(m) for m in others))

    told = [
        connection.execute(delete(table).where(table.c.member_id.in_(_to_erase))).rowcount
        for table in (preferences, remarks)
    ]
    n_feedback = connection.execute(delete(feedback).where(or_(given, received))).rowcount
    n_replies = connection.execute(delete(replies).where(replies.c.member_id.in_(_to_erase))).rowcount
    n_heads = connection.execute(delete(heads).where(heads.c.member_id.in_(_to_erase))).rowcount
    connection.execute(delete(wishes).where(wishes.c.member_id.in_(_to_erase)))
    connection.execute(delete(members).where(members.c.standing == MemberStatus.FORGETTING))
    connection.execute(
        update(members)
        .where(members.c.standing == MemberStatus.REFUSING)
        .values(standing=MemberStatus.REFUSED, changed_seq=None, key_id=None, paused=False, resumed_at=None)
    )
    if member_ids:
        mark_due(connection, affected)
        drop_prior(connection)  # it may have learnt from them
        count_erasure(connection)
    note_ledger_changes(connection, keys)
    n_preferences, n_remarks = told
    return ForgetReceipt(
        member_ids,
        affected,
        n_replies,
        n_feedback,
        n_heads,
        finished_at=at,
        n_preferences=n_preferences,
        n_remarks=n_remarks,
    )
