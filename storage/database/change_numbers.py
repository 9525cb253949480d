"""The one sequence of the database. It numbers replies and changes, and tells which members are due.

A member is due while ``members.changed_seq`` is above the cursor of the last round. Numbers only grow and are
never reused, not even after deletions. All functions run inside a unit of the writer.

Members see some of their numbers, in the ids of buttons and in ``/my-data``. A plain counter would tell them
how much all other members did between two of their own acts. So a number is the time in microseconds. It is
one more than the last number only where that is greater: within a microsecond, or after the clock was set
back.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select, update

from storage.database.schema import feedback, members, origin, preferences, prior
from storage.records import MemberId

T = TypeVar("T")

PAGE = 500


def pages(ids: Sequence[T]) -> Iterator[Sequence[T]]:
    """Split a long list into pages that fit one ``IN``."""
    return (ids[start : start + PAGE] for start in range(0, len(ids), PAGE))


def microseconds() -> int:
    """Return the Unix time in microseconds."""
    return time.time_ns() // 1000


def next_number(connection: Connection, count: int = 1) -> int:
    """Reserve ``count`` numbers and return the last of them."""
    least, now = origin.c.last_number + count, microseconds()
    number = case((least > now, least), else_=now)
    taken = update(origin).values(last_number=number).returning(origin.c.last_number)
    return connection.execute(taken).scalar_one()


def mark_due(connection: Connection, member_ids: Collection[MemberId]) -> None:
    """Give each member a new change number."""
    for page in pages(sorted(member_ids)):
        _renumber(connection, members.c.member_id.in_(page), len(page))


def drop_prior(connection: Connection) -> None:
    """Delete the learnt prior, and mark every member due whose head rests on it."""
    if connection.execute(prior.delete()).rowcount:
        mark_all_due(connection)


def mark_all_due(connection: Connection) -> None:
    """Mark every member due who gave feedback or chose between replies."""
    teaches = or_(*(members.c.member_id.in_(select(told.c.member_id)) for told in (feedback, preferences)))
    _renumber(connection, teaches, connection.execute(select(func.count()).where(teaches)).scalar_one())


def mark_guild_due(connection: Connection, guild: bytes) -> int:
    """Mark every member of a server due who gave feedback; return their number."""
    teaches = and_(members.c.guild == guild, members.c.member_id.in_(select(feedback.c.member_id)))
    count = connection.execute(select(func.count()).where(teaches)).scalar_one()
    _renumber(connection, teaches, count)
    return count


def _renumber(connection: Connection, which: ColumnElement[bool], count: int) -> None:
    first = next_number(connection, count) - count
    rank = func.row_number().over(order_by=members.c.member_id)
    numbered = select(members.c.member_id, rank.label("rank")).where(which).subquery()
    connection.execute(
        update(members)
        .values(changed_seq=first + numbered.c.rank)
        .where(members.c.member_id == numbered.c.member_id)
    )
