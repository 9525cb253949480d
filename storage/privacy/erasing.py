"""Erasure: forgets a person everywhere, or removes a member's data in one server on withdrawal.

The order of the steps keeps the promise even if they are interrupted:

1. the ledger records the keys to destroy, so that no backup restores them;
2. the members are marked in the data; from then on nothing of theirs is read;
3. caches evict the members;
4. the keys are destroyed, so that nothing sealed can be read in any copy;
5. the rows are deleted in one transaction with the heads and the prior that learnt from them;
6. the write-ahead log is emptied;
7. a search verifies that nothing is left.

When the store opens, it finishes interrupted erasures and repeats those that an older backup undid. Every
step is idempotent.
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

from storage.database.backend import Backend, translated_errors
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
from storage.privacy.restored_backups import (
    delete_orphans,
    drop_old_prior,
    fill_key_ids,
    keep_newer_consents,
    log_spare_keys,
    mark_old_heads,
)
from storage.privacy.traces import HeldFiles, can_search, needles_of, traces_in_files, traces_in_tables
from storage.records import ForgetReceipt, MemberId, Who
from storage.replies.coarse import blank_stored

log = logging.getLogger(__name__)

LEDGER_NOTE = "ledger"
"""Number of changes of the erasure ledger that these data saw last."""

_erasure_pending = members.c.standing.in_([MemberStatus.FORGETTING, MemberStatus.REFUSING])
_to_erase = select(members.c.member_id).where(_erasure_pending)


class ErasureScope(NamedTuple):
    """Selection of the members to erase.

    Attributes:
        note: Records keys to destroy and refusals in the ledger; returns the numbers of those keys.
        mark: Marks these members for erasure in the data.
        announced: Whether other processes hear of it although nothing was stored: their memory may hold
            something of a member who never agreed.
    """

    note: Callable[[Connection], list[bytes]]
    mark: Callable[[Connection], None]
    announced: bool = False


def forget_scope(keys: KeyStore, person: bytes) -> ErasureScope:
    """Return the scope that erases this person in every server. Refusals are kept."""
    own = and_(members.c.person == person, members.c.standing != MemberStatus.REFUSED)

    def note(connection: Connection) -> list[bytes]:
        key_ids = sorted({*_key_ids(connection, own), *keys.key_ids_of_person(person)})
        keys.ledger.record(key_ids)
        return key_ids

    def mark(connection: Connection) -> None:
        agreed = and_(own, members.c.standing == MemberStatus.AGREED)
        connection.execute(update(members).where(agreed).values(standing=MemberStatus.FORGETTING))

    return ErasureScope(note, mark, announced=True)


def refusal_scope(keys: KeyStore, who: Who, at: datetime) -> ErasureScope:
    """Return the scope of a refusal or withdrawal in one server; final at once if nothing is stored."""
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

    return ErasureScope(note, mark, announced=True)


def leftover_scope(keys: KeyStore) -> ErasureScope:
    """Return the scope of unfinished erasures, and of erasures that a restored backup undid."""

    def note(connection: Connection) -> list[bytes]:
        keys.ledger.require(int(note_of(connection, LEDGER_NOTE) or 0))
        fill_key_ids(connection, keys)
        refused = select(members.c.member_id, members.c.person, members.c.guild, members.c.decided_at).where(
            members.c.standing.in_([MemberStatus.REFUSED, MemberStatus.REFUSING])
        )
        known = {refusal.member_id for refusal in keys.ledger.refusals()}
        new = [row for row in map(Decision._make, connection.execute(refused)) if row.member_id not in known]
        # A key of a member who refused: they agreed after the restored copy. The copy's no stays.
        unwanted = keys.key_ids_of([row.member_id for row in new]).values()
        keys.ledger.record([*_key_ids(connection, _erasure_pending), *unwanted], new)
        numbered, existing = set(_key_ids(connection)), set(keys.key_ids_of_person(None))
        named = keys.ledger.named(numbered | existing)
        log_spare_keys(len(existing - numbered - named))
        return sorted(named)

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
    """Carries out erasures.

    Args:
        keys: Keys and ledger.
        files: Files in which traces could be left.
        held: Keeps those files open between searches.
        now: The clock, aware UTC.
        notify: Notifies other processes of an erasure, within the transaction of the change.
    """

    def __init__(
        self,
        keys: KeyStore,
        files: Sequence[Path],
        held: HeldFiles,
        *,
        now: Callable[[], datetime],
        notify: Callable[[Connection], None],
    ) -> None:
        self._keys, self._files, self._held = keys, files, held
        self._now, self._notify = now, notify

    async def carry_out(
        self,
        connection: AsyncConnection,
        scope: ErasureScope,
        *,
        empty_log: Callable[[], Awaitable[object]],
        evict: Callable[[Sequence[MemberId]], None] = lambda _: None,
    ) -> ForgetReceipt:
        """Erase the members in the scope, and any left over from before. Runs alone in the writer.

        Args:
            connection: The writer's.
            scope: The members to erase.
            empty_log: Empties the write-ahead log of the data.
            evict: Called with the members once nothing of theirs is read any more, so that caches evict them.

        Raises:
            DatabaseFailed: Another program reads the key store; repeat once it does not.
        """
        async with connection.begin():
            key_ids = await connection.run_sync(scope.note)
        failpoint("forget.after-ledger")
        async with connection.begin():
            await connection.run_sync(scope.mark)
            member_ids = await connection.run_sync(members_to_erase)
            if member_ids or scope.announced:
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

    async def finish_leftovers(self, connection: AsyncConnection, backend: Backend) -> ForgetReceipt:
        """Finish interrupted erasures, and repeat those that older data undid. When the store opens.

        Raises:
            LedgerBehind: The erasure ledger is older than the data.
            DatabaseFailed: The database or a file of the keys refused.
        """
        with translated_errors(backend.what):
            async with backend.alone(connection):
                erased = await self.carry_out(
                    connection,
                    leftover_scope(self._keys),
                    empty_log=lambda: connection.run_sync(backend.empty_log),
                )
        if erased.member_ids:
            log.warning(
                "%d members were erased again: an erasure was interrupted, or older data were restored; "
                "%d of them agreed again since, and their consent stays",
                len(erased.member_ids),
                len(erased.returned),
            )
        return erased

    async def _verify(
        self, connection: AsyncConnection, receipt: ForgetReceipt, key_ids: Sequence[bytes]
    ) -> ForgetReceipt:
        """Search for traces of the erased members, and add the result to the receipt."""
        async with connection.begin():
            gone = [member_id for member_id in receipt.member_ids if member_id not in receipt.returned]
            needles = await connection.run_sync(needles_of, key_ids, gone)
            n_traces = await connection.run_sync(traces_in_tables, self._keys, gone)
        searched = can_search(self._files, needles)
        if searched:
            with ThreadPoolExecutor(1, thread_name_prefix="storage-look") as thread:
                look = thread.submit(traces_in_files, self._files, needles, self._held)
                n_traces += await asyncio.wrap_future(look)
        if n_traces:
            log.warning("%d traces remain after an erasure; does another program read the files?", n_traces)
        return replace(receipt, n_traces=n_traces, files_searched=searched)


def note_ledger_changes(connection: Connection, keys: KeyStore) -> None:
    """Store how many changes of the erasure ledger these data have seen."""
    put_note(connection, LEDGER_NOTE, str(keys.ledger.changes()))


def members_to_erase(connection: Connection) -> list[MemberId]:
    """Return all members marked for erasure, including interrupted erasures."""
    return [MemberId(m) for m in connection.execute(_to_erase).scalars()]


def _key_ids(connection: Connection, which: ColumnElement[bool] | None = None) -> list[bytes]:
    """Return the numbers of these members' keys; of all members by default."""
    numbered = select(members.c.key_id).where(
        members.c.key_id.is_not(None), true() if which is None else which
    )
    return list(connection.execute(numbered).scalars())


def _erase_rows(connection: Connection, keys: KeyStore, at: datetime) -> ForgetReceipt:
    """Delete all rows of marked members, and everything learnt from them."""
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
    returned = keep_newer_consents(connection, keys, member_ids, at)
    connection.execute(delete(members).where(members.c.standing == MemberStatus.FORGETTING))
    connection.execute(
        update(members)
        .where(members.c.standing == MemberStatus.REFUSING)
        .values(standing=MemberStatus.REFUSED, changed_seq=None, key_id=None, paused=False, resumed_at=None)
    )
    if member_ids:
        mark_due(connection, affected)
        drop_prior(connection)  # it may have learnt from them
        blank_stored(connection, keys)  # choices would still tell what the prior was
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
        returned=returned,
    )
