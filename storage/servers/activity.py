"""How much is learnt in one server, for those who run it: counts over many members, or nothing at all.

A number over few people is a number about a person, so every count is given only from ``fewest`` members on,
and a day only when so many gave labels on it. Reached as ``Store.activity``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import BigInteger, Connection, func, select, type_coerce

from storage.database.backend import Reader
from storage.database.schema import EPOCH, MemberStatus, feedback, heads, members, rounds

_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class ServerActivity:
    """What was learnt in one server.

    Attributes:
        n_learning: Members whose head was learnt; None when fewer than ``fewest``.
        labels: (day in UTC, replies with a label last given or changed on it), oldest first; only days on
            which at least ``fewest`` members did so.
        n_days_withheld: Days with labels of fewer members.
    """

    n_learning: int | None
    labels: Sequence[tuple[date, int]]
    n_days_withheld: int


@dataclass(frozen=True, slots=True)
class RoundActivity:
    """What the rounds of the whole bot did.

    Attributes:
        n_rounds: Rounds that learnt something.
        seconds: How long one took, on average; 0.0 without any.
    """

    n_rounds: int
    seconds: float


class Activity:
    """Counts. May raise :class:`~storage.errors.DatabaseFailed`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def of_server(self, guild: bytes, since: datetime, fewest: int) -> ServerActivity:
        """Count what was learnt in a server.

        Args:
            guild: Its pseudonym.
            since: Labels from then on, aware UTC.
            fewest: Members below which nothing is told.
        """
        return await self._reader.run(lambda c: _of_server(c, guild, since, fewest))

    async def of_rounds(self, since: datetime) -> RoundActivity:
        """Count the rounds of all servers together."""
        return await self._reader.run(lambda c: _of_rounds(c, since))


def _of_server(connection: Connection, guild: bytes, since: datetime, fewest: int) -> ServerActivity:
    here = (members.c.guild == guild) & (members.c.standing == MemberStatus.AGREED)
    learning = select(func.count()).select_from(heads.join(members)).where(here)
    n_learning = connection.execute(learning).scalar_one()
    day = type_coerce(feedback.c.changed_at, BigInteger) // _DAY_US
    given = (
        select(
            day.label("day"),
            func.count().label("n"),
            func.count(feedback.c.member_id.distinct()).label("who"),
        )
        .join(members, feedback.c.member_id == members.c.member_id)
        .where(here, feedback.c.changed_at >= since)
        .group_by(day)
        .order_by(day)
    )
    rows = connection.execute(given).all()
    return ServerActivity(
        n_learning=n_learning if n_learning >= fewest else None,
        labels=[((EPOCH + timedelta(days=row.day)).date(), row.n) for row in rows if row.who >= fewest],
        n_days_withheld=sum(row.who < fewest for row in rows),
    )


def _of_rounds(connection: Connection, since: datetime) -> RoundActivity:
    took = type_coerce(rounds.c.finished_at, BigInteger) - type_coerce(rounds.c.started_at, BigInteger)
    counted = select(func.count(), func.coalesce(func.sum(took), 0)).where(rounds.c.started_at >= since)
    n_rounds, microseconds = connection.execute(counted).one()
    return RoundActivity(n_rounds, float(microseconds) / 1e6 / n_rounds if n_rounds else 0.0)
