"""Learning activity of one server, for its managers: counts over many members, or no count.

A number about few people is a number about a person. So every count requires at least ``fewest`` members, and
a day is listed only if that many members gave labels on it. Reached as ``Store.activity``.
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
    """Learning activity in one server.

    Attributes:
        n_learning: Members with a learnt head; None if fewer than ``fewest``.
        labels: (day in UTC, replies whose label was last given or changed on it), oldest first; only days on
            which at least ``fewest`` members did so.
        n_days_withheld: Days with labels of fewer members.
    """

    n_learning: int | None
    labels: Sequence[tuple[date, int]]
    n_days_withheld: int


@dataclass(frozen=True, slots=True)
class RoundActivity:
    """Rounds of the whole bot.

    Attributes:
        n_rounds: Rounds that learnt something.
        seconds: Average duration of a round; 0.0 without any.
    """

    n_rounds: int
    seconds: float


class Activity:
    """Counts activity. May raise :class:`~storage.errors.DatabaseFailed`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def of_server(self, guild: bytes, since: datetime, fewest: int) -> ServerActivity:
        """Count the learning activity in a server.

        Args:
            guild: Pseudonym of the server.
            since: Earliest time of a label, aware UTC.
            fewest: Minimum number of members behind a count.
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
