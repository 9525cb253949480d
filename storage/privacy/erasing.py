"""Leaving: to forget a person everywhere, or to withdraw in one server.

The order makes the promise hold however it is cut short: the ledger names the keys that will go, so that no
backup brings them back; the parting is written into the data, from where nothing of the member is read any
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
from storage.database.schema import Standing, feedback, heads, members, preferences, remarks, replies, wishes
from storage.failpoints import failpoint
from storage.keys.erasure_ledger import Decision
from storage.keys.key_store import KeyStore
from storage.members.consent import decided, put_standing, standing_of
from storage.privacy.restored_backups import delete_orphans, drop_old_prior, mark_old_heads, number_keys
from storage.privacy.traces import can_search, needles_of, traces_in_files, traces_in_tables
from storage.records import ForgetReceipt, MemberId, Who

log = logging.getLogger(__name__)

LEDGER_NOTE = "ledger"
"""How much of the erasure ledger these data have seen."""

_on_the_way = members.c.standing.in_([Standing.FORGETTING, Standing.REFUSING])
_leaving = select(members.c.member_id).where(_on_the_way)


class Parting(NamedTuple):
    """Who leaves.

    Attributes:
        note: Write into the ledger which keys go and who says no; give the numbers of those keys.
        mark: Write into the data that these members are on the way out.
    """

    note: Callable[[Connection], list[bytes]]
    mark: Callable[[Connection], None]


def forgetting(keys: KeyStore, person: bytes) -> Parting:
    """This person leaves every server. What they said no to stays a no."""
    own = and_(members.c.person == person, members.c.standing != Standing.REFUSED)

    def note(connection: Connection) -> list[bytes]:
        key_ids = sorted({*_key_ids(connection, own), *keys.numbers_of(person)})
        keys.ledger.record(key_ids)
        return key_ids

    def mark(connection: Connection) -> None:
        agreed = and_(own, members.c.standing == Standing.AGREED)
        connection.execute(update(members).where(agreed).values(standing=Standing.FORGETTING))

    return Parting(note, mark)


def refusing(keys: KeyStore, who: Who, at: datetime) -> Parting:
    """This member says no in this server, or withdraws; final at once where nothing is kept."""
    decision = decided(keys, who, at)

    def note(connection: Connection) -> list[bytes]:
        own = members.c.member_id == decision.member_id
        key_ids = sorted({*_key_ids(connection, own), *keys.numbers([decision.member_id]).values()})
        keys.ledger.record(key_ids, [decision])
        return key_ids

    def mark(connection: Connection) -> None:
        nothing_kept = standing_of(connection, decision.member_id) in (None, Standing.REFUSED)
        standing = Standing.REFUSED if nothing_kept else Standing.REFUSING
        put_standing(connection, decision, standing)

    return Parting(note, mark)


def returning(keys: KeyStore) -> Parting:
    """Whoever should be gone: a leaving was cut short, or a backup from before brought them back."""

    def note(connection: Connection) -> list[bytes]:
        keys.ledger.require(int(note_of(connection, LEDGER_NOTE) or 0))
        number_keys(connection, keys)
        refused = select(members.c.member_id, members.c.person, members.c.guild, members.c.decided_at).where(
            members.c.standing.in_([Standing.REFUSED, Standing.REFUSING])
        )
        known = {refusal.member_id for refusal in keys.ledger.refusals()}
        new = [row for row in map(Decision._make, connection.execute(refused)) if row.member_id not in known]
        keys.ledger.record(_key_ids(connection, _on_the_way), new)
        return sorted(keys.ledger.named({*_key_ids(connection), *keys.numbers_of(None)}))

    def mark(connection: Connection) -> None:
        delete_orphans(connection)
        drop_old_prior(connection, keys)
        mark_old_heads(connection)
        for page in pages(sorted(keys.ledger.named(_key_ids(connection)))):
            named = and_(members.c.key_id.in_(page), members.c.standing == Standing.AGREED)
            connection.execute(update(members).where(named).values(standing=Standing.FORGETTING))
        for refusal in keys.ledger.refusals():
            standing = standing_of(connection, refusal.member_id)
            if standing in (Standing.AGREED, Standing.FORGETTING):
                put_standing(connection, refusal, Standing.REFUSING)
            elif standing is None:
                put_standing(connection, refusal, Standing.REFUSED)

    return Parting(note, mark)


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
        tell: Callable[[Connection], None],
    ) -> None:
        self._keys, self._files, self._now, self._tell = keys, files, now, tell

    async def carry_out(
        self,
        connection: AsyncConnection,
        parting: Parting,
        *,
        empty_log: Callable[[], Awaitable[object]],
        let_go: Callable[[Sequence[MemberId]], None] = lambda _: None,
    ) -> ForgetReceipt:
        """Erase whom the parting names, and whoever was left over from before. Runs alone in the writer.

        Args:
            connection: The writer's.
            parting: Who leaves.
            empty_log: Empties the write-ahead log of the data.
            let_go: Told which members leave once nothing of them is read any more, so that memory follows.

        Raises:
            DatabaseFailed: Another program reads the key store; repeat when it does not.
        """
        async with connection.begin():
            key_ids = await connection.run_sync(parting.note)
        failpoint("forget.after-ledger")
        async with connection.begin():
            await connection.run_sync(parting.mark)
            member_ids = await connection.run_sync(leaving)
            if member_ids:
                await connection.run_sync(self._tell)
        failpoint("forget.after-mark")
        let_go(member_ids)
        failpoint("forget.after-memory")
        if key_ids:
            await connection.run_sync(lambda _: self._keys.destroy(key_ids))
        failpoint("forget.after-keys")
        async with connection.begin():
            receipt = await connection.run_sync(_erase_rows, self._keys, self._now())
            if receipt.member_ids:
                await connection.run_sync(self._tell)
            failpoint("forget.before-rows-commit")
        failpoint("forget.after-rows")
        await empty_log()
        failpoint("forget.after-checkpoint")
        return await self._looked_after(connection, replace(receipt, n_keys=len(key_ids)), key_ids)

    async def _looked_after(
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


def see_ledger(connection: Connection, keys: KeyStore) -> None:
    """Note how much of the erasure ledger these data have seen."""
    put_note(connection, LEDGER_NOTE, str(keys.ledger.changes()))


def leaving(connection: Connection) -> list[MemberId]:
    """Everybody who is on the way out, also those whose leaving was cut short."""
    return [MemberId(m) for m in connection.execute(_leaving).scalars()]


def _key_ids(connection: Connection, which: ColumnElement[bool] | None = None) -> list[bytes]:
    """The numbers of the keys that these members' data are sealed under; of all members by default."""
    numbered = select(members.c.key_id).where(
        members.c.key_id.is_not(None), true() if which is None else which
    )
    return list(connection.execute(numbered).scalars())


def _erase_rows(connection: Connection, keys: KeyStore, at: datetime) -> ForgetReceipt:
    """Delete all rows of everybody who is leaving, and what rests on them."""
    member_ids = tuple(leaving(connection))
    own_replies = select(replies.c.reply_id).where(replies.c.member_id.in_(_leaving))
    given = feedback.c.member_id.in_(_leaving)
    received = feedback.c.reply_id.in_(own_replies)
    others = connection.execute(select(feedback.c.member_id).where(received, ~given).distinct()).scalars()
    affected = tuple(sorted(MemberId(m) for m in others))

    told = [
        connection.execute(delete(table).where(table.c.member_id.in_(_leaving))).rowcount
        for table in (preferences, remarks)
    ]
    n_feedback = connection.execute(delete(feedback).where(or_(given, received))).rowcount
    n_replies = connection.execute(delete(replies).where(replies.c.member_id.in_(_leaving))).rowcount
    n_heads = connection.execute(delete(heads).where(heads.c.member_id.in_(_leaving))).rowcount
    connection.execute(delete(wishes).where(wishes.c.member_id.in_(_leaving)))
    connection.execute(delete(members).where(members.c.standing == Standing.FORGETTING))
    connection.execute(
        update(members)
        .where(members.c.standing == Standing.REFUSING)
        .values(standing=Standing.REFUSED, changed_seq=None, key_id=None, paused=False, resumed_at=None)
    )
    if member_ids:
        mark_due(connection, affected)
        drop_prior(connection)  # it may have learnt from them
        count_erasure(connection)
    see_ledger(connection, keys)
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
