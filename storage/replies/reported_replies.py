"""Reported replies: which, since when, and how often for which reason; never by whom.

A report depends on a stored reply. It is deleted with the reply's messages, with the server, and when the
asker forgets or withdraws. Its reasons are sealed under the asker's key. A reply to a member who did not
agree is not stored, and neither is a report of it: :mod:`bot.moderation.report_queue` keeps that in memory.
The text is not copied; its location in Discord is opened when managers look. Reached as ``Store.reports``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database.backend import Reader
from storage.database.change_numbers import next_number
from storage.database.deletion_clock import DeletionClock, redate
from storage.database.schema import MemberStatus, members, messages, replies, reports
from storage.database.writer import Writer
from storage.errors import KeyMissing, SealBroken
from storage.keys.key_store import KeyStore
from storage.keys.sealing import Slot
from storage.records import MemberId, ReplyId
from storage.replies.impressions import place_slot

RETENTION = timedelta(days=30)
"""Time that an unhandled report is kept, from the first report on."""


@dataclass(frozen=True, slots=True)
class ReportedReply:
    """A reply that waits for a manager's decision.

    Attributes:
        reported_at: When it was first reported, aware UTC.
        reasons: Reason -> how often it was given.
        channel_id: Channel of the reply.
        message_ids: Messages of the reply, in order.
    """

    reply_id: ReplyId
    reported_at: datetime
    reasons: Mapping[str, int]
    channel_id: int
    message_ids: tuple[int, ...]


class Reports:
    """Reads and changes reports. Methods may raise the errors of :class:`storage.store.Store`."""

    def __init__(self, keys: KeyStore, reader: Reader, writer: Writer, clock: DeletionClock) -> None:
        self._keys, self._reader, self._writer, self._clock = keys, reader, writer, clock

    async def record(self, guild: bytes, message_id: int, reason: str) -> bool:
        """Count a report; return False, and store nothing, if this server has no such stored reply."""
        at = self._clock.now()
        return await self._writer.submit(lambda c: _record(c, self._keys, guild, message_id, reason, at))

    async def waiting(self, guild: bytes, limit: int) -> tuple[list[ReportedReply], int]:
        """Return a server's longest-waiting reports, and the number of all waiting ones."""
        return await self._reader.run(lambda c: _waiting(c, self._keys, guild, limit))

    async def of(self, guild: bytes, reply_id: ReplyId) -> ReportedReply | None:
        """Return the report of one reply of this server; None if it was handled or the reply is gone."""
        return await self._reader.run(lambda c: _of(c, self._keys, guild, reply_id))

    async def dismiss(self, guild: bytes, reply_id: ReplyId) -> bool:
        """Delete a report; return whether it existed in this server."""
        here = select(_here(guild).with_only_columns(reports.c.reply_id).subquery().c.reply_id)
        own = delete(reports).where(reports.c.reply_id == reply_id, reports.c.reply_id.in_(here))
        return await self._writer.submit(lambda c: c.execute(own).rowcount > 0)

    async def expire(self) -> int:
        """Delete reports older than :data:`RETENTION`; return their number."""

        def expire(connection: Connection) -> int:
            reading = self._clock.look(connection)
            redate(connection, reading, reports, reports.c.reported_at)
            old = delete(reports).where(reports.c.reported_at < reading.time - RETENTION)
            return connection.execute(old).rowcount

        async def job(connection: AsyncConnection) -> int:
            async with connection.begin():
                count = await connection.run_sync(expire)
            await self._writer.empty_log()
            return count

        return await self._writer.submit_alone(job)


def slot(reply_id: ReplyId, asker: MemberId, version: int) -> Slot:
    """Return the place of a report's sealed reasons."""
    return Slot("reports", "reasons", reply_id, asker, version)


def _here(guild: bytes) -> Select[Any]:
    """Select the reports of one server, with the askers."""
    return (
        select(reports, replies.c.member_id)
        .select_from(reports.join(replies).join(members))
        .where(members.c.guild == guild, members.c.standing == MemberStatus.AGREED)
    )


def _record(
    connection: Connection, keys: KeyStore, guild: bytes, message_id: int, reason: str, at: datetime
) -> bool:
    row = connection.execute(
        select(messages.c.reply_id, replies.c.member_id)
        .select_from(messages.join(replies).join(members))
        .where(messages.c.message == keys.pseudonyms.message(message_id))
        .where(members.c.guild == guild, members.c.standing == MemberStatus.AGREED)
    ).first()
    if row is None:
        return False
    before = connection.execute(
        select(reports, replies.c.member_id).join(replies).where(reports.c.reply_id == row.reply_id)
    ).first()
    reasons = {} if before is None else _reasons(keys, before)
    reasons[reason] = reasons.get(reason, 0) + 1
    version = next_number(connection)
    place = slot(row.reply_id, row.member_id, version)
    sealed = keys.key_of(row.member_id).seal(json.dumps(reasons, sort_keys=True).encode(), place)
    values = {"version": version, "reasons": sealed}
    if before is None:
        connection.execute(insert(reports).values(reply_id=row.reply_id, reported_at=at, **values))
    else:
        connection.execute(update(reports).where(reports.c.reply_id == row.reply_id).values(values))
    return True


def _waiting(
    connection: Connection, keys: KeyStore, guild: bytes, limit: int
) -> tuple[list[ReportedReply], int]:
    here = _here(guild)
    count = connection.execute(select(func.count()).select_from(here.subquery())).scalar_one()
    rows = connection.execute(here.order_by(reports.c.reported_at, reports.c.reply_id).limit(limit)).all()
    opened = [_opened(connection, keys, row) for row in rows]
    return [report for report in opened if report is not None], count


def _of(connection: Connection, keys: KeyStore, guild: bytes, reply_id: ReplyId) -> ReportedReply | None:
    row = connection.execute(_here(guild).where(reports.c.reply_id == reply_id)).first()
    return None if row is None else _opened(connection, keys, row)


def _opened(connection: Connection, keys: KeyStore, row: Row[Any]) -> ReportedReply | None:
    """Return the report in a row; None if it cannot be opened: one damaged row must not block the others."""
    chunks = connection.execute(
        select(messages).where(messages.c.reply_id == row.reply_id).order_by(messages.c.position)
    ).all()
    try:
        key = keys.key_of(row.member_id)
        places = [
            json.loads(key.open(chunk.place, place_slot(row.reply_id, chunk.position, row.member_id)))
            for chunk in chunks
        ]
        reasons = _reasons(keys, row)
    except (KeyMissing, SealBroken):
        return None
    if not places:
        return None
    return ReportedReply(
        reply_id=ReplyId(row.reply_id),
        reported_at=row.reported_at,
        reasons=reasons,
        channel_id=places[0][0],
        message_ids=tuple(place[1] for place in places),
    )


def _reasons(keys: KeyStore, row: Row[Any]) -> dict[str, int]:
    place = slot(row.reply_id, row.member_id, row.version)
    return json.loads(keys.key_of(row.member_id).open(row.reasons, place))
