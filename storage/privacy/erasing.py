"""Erasure: forgets a person everywhere, or removes a member's data in one server on withdrawal.

The order of the steps keeps the promise even if they are interrupted:

1. the ledger records the keys to destroy, so that no backup restores them;
2. the members are marked in the data; from then on nothing of theirs is read;
3. caches evict the members;
4. the keys are destroyed, so that nothing sealed can be read in any copy;
5. choices that were made under a prior with them are blanked, piece by piece;
6. the rows are deleted in one transaction with the heads and the prior that learnt from them;
7. the write-ahead log is emptied;
8. a search verifies that nothing is left.

When the store opens, it finishes interrupted erasures and repeats those that an older backup undid. Every
step is idempotent. :mod:`storage.privacy.erasure_scopes` selects the members.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database.backend import Backend, translated_errors
from storage.database.change_numbers import drop_prior, mark_due
from storage.database.erasure_count import count_erasure
from storage.database.notes import put_note
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
from storage.keys.key_store import KeyStore
from storage.privacy.erasure_scopes import ERASURE_PENDING, LEDGER_NOTE, ErasureScope, leftover_scope
from storage.privacy.restored_backups import (
    keep_newer_consents,
)
from storage.privacy.traces import HeldFiles, can_search, needles_of, traces_in_files, traces_in_tables
from storage.records import ForgetReceipt, MemberId
from storage.replies.coarse import ROWS_AT_ONCE, blank_stored
from storage.wording import counted

log = logging.getLogger(__name__)


class Begun(NamedTuple):
    """An erasure whose members are marked and have no keys any more.

    Attributes:
        key_ids: Numbers of the keys that were destroyed.
        any_stored: Whether the data hold anything of the members.
        own: Condition of the members.
    """

    key_ids: tuple[bytes, ...]
    any_stored: bool
    own: ColumnElement[bool]


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
        """Erase the members in the scope without a pause between the steps.

        Args:
            connection: The writer's.
            scope: The members to erase.
            empty_log: Empties the write-ahead log of the data.
            evict: Called with the members once nothing of theirs is read any more, so that caches evict them.

        Raises:
            DatabaseFailed: Another program reads the key store; repeat once it does not.
        """
        begun = await self.begin(connection, scope, evict=evict)
        while await self.blank(connection, begun):
            pass
        return await self.finish(connection, begun, empty_log=empty_log)

    async def begin(
        self,
        connection: AsyncConnection,
        scope: ErasureScope,
        *,
        evict: Callable[[Sequence[MemberId]], None] = lambda _: None,
    ) -> Begun:
        """Mark the members and destroy their keys, so that nothing sealed can be read any more.

        Runs alone in the writer, as do the other two parts. Between the parts other units may run. An
        erasure that ends after this part is finished when the store opens, or by the next of this process.

        Args:
            connection: The writer's.
            scope: The members to erase.
            evict: As in :meth:`carry_out`.

        Raises:
            DatabaseFailed: Another program reads the key store; repeat once it does not.
        """
        async with connection.begin():
            key_ids = await connection.run_sync(scope.note)
        failpoint("forget.after-ledger")
        async with connection.begin():
            own = await connection.run_sync(scope.mark)
            member_ids = await connection.run_sync(_members_in, own)
            if member_ids or scope.announced:
                await connection.run_sync(self._notify)
        failpoint("forget.after-mark")
        evict(member_ids)
        failpoint("forget.after-memory")
        if key_ids:
            await connection.run_sync(lambda _: self._keys.destroy(key_ids))
        failpoint("forget.after-keys")
        return Begun(tuple(key_ids), bool(member_ids), own)

    async def blank(self, connection: AsyncConnection, begun: Begun) -> bool:
        """Blank a piece of the choices that still tell what the prior was; return whether more are left."""
        if not begun.any_stored:
            return False
        async with connection.begin():
            return await connection.run_sync(partial(blank_stored, keys=self._keys, most=ROWS_AT_ONCE))

    async def finish(
        self,
        connection: AsyncConnection,
        begun: Begun,
        *,
        empty_log: Callable[[], Awaitable[object]],
    ) -> ForgetReceipt:
        """Delete the rows and what was learnt from them, empty the log, and search for traces.

        Args:
            connection: The writer's.
            begun: The result of :meth:`begin`.
            empty_log: Empties the write-ahead log of the data.
        """
        async with connection.begin():
            receipt = await connection.run_sync(_erase_rows, begun.own, self._keys, self._now())
            if receipt.member_ids:
                await connection.run_sync(self._notify)
            failpoint("forget.before-rows-commit")
        failpoint("forget.after-rows")
        await empty_log()
        failpoint("forget.after-checkpoint")
        return await self._verify(connection, replace(receipt, n_keys=len(begun.key_ids)), begun.key_ids)

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
                "%s erased again: an erasure was interrupted, or older data were restored; agreed again"
                " since, so that the consent stays: %d",
                counted(len(erased.member_ids), "member was", "members were"),
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
            log.warning(
                "traces that remain after an erasure: %d; does another program read the files?", n_traces
            )
        return replace(receipt, n_traces=n_traces, files_searched=searched)


def note_ledger_changes(connection: Connection, keys: KeyStore) -> None:
    """Store how many changes of the erasure ledger these data have seen."""
    put_note(connection, LEDGER_NOTE, str(keys.ledger.changes()))


def _marked(own: ColumnElement[bool]) -> Select[Any]:
    return select(members.c.member_id).where(ERASURE_PENDING, own)


def _members_in(connection: Connection, own: ColumnElement[bool]) -> list[MemberId]:
    """Return the members that meet the condition and are marked for erasure."""
    return [MemberId(m) for m in connection.execute(_marked(own)).scalars()]


def _erase_rows(
    connection: Connection, own: ColumnElement[bool], keys: KeyStore, at: datetime
) -> ForgetReceipt:
    """Delete all rows of the marked members that meet the condition, and everything learnt from them."""
    member_ids, to_erase = tuple(_members_in(connection, own)), _marked(own)
    own_replies = select(replies.c.reply_id).where(replies.c.member_id.in_(to_erase))
    given = feedback.c.member_id.in_(to_erase)
    received = feedback.c.reply_id.in_(own_replies)
    others = connection.execute(select(feedback.c.member_id).where(received, ~given).distinct()).scalars()
    affected = tuple(sorted(MemberId(m) for m in others))

    told = [
        connection.execute(delete(table).where(table.c.member_id.in_(to_erase))).rowcount
        for table in (preferences, remarks)
    ]
    n_feedback = connection.execute(delete(feedback).where(or_(given, received))).rowcount
    n_replies = connection.execute(delete(replies).where(replies.c.member_id.in_(to_erase))).rowcount
    n_heads = connection.execute(delete(heads).where(heads.c.member_id.in_(to_erase))).rowcount
    connection.execute(delete(wishes).where(wishes.c.member_id.in_(to_erase)))
    returned = keep_newer_consents(connection, keys, member_ids, at)
    connection.execute(delete(members).where(members.c.standing == MemberStatus.FORGETTING, own))
    connection.execute(
        update(members)
        .where(members.c.standing == MemberStatus.REFUSING, own)
        .values(standing=MemberStatus.REFUSED, changed_seq=None, key_id=None, paused=False, resumed_at=None)
    )
    if member_ids:
        mark_due(connection, affected)
        drop_prior(connection)  # it may have learnt from them
        blank_stored(connection, keys)  # those since the last piece
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
