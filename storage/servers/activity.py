"""Learning activity of one server: true counts of members, each of whom counts once.

A true count shows what one person did, so no count leaves the process as it is: :mod:`bot.servers.published`
adds noise to it first. Reached as ``Store.activity``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from storage.database.backend import Reader
from storage.database.schema import MemberStatus, feedback, heads, members


@dataclass(frozen=True, slots=True)
class ServerActivity:
    """Learning activity in one server.

    Attributes:
        n_learning: Members with a learnt head.
        n_rating: Members whose feedback on at least one reply was last changed in the period.
    """

    n_learning: int
    n_rating: int


class Activity:
    """Counts activity. May raise :class:`~storage.errors.DatabaseFailed`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def of_server(self, guild: bytes, since: datetime, until: datetime) -> ServerActivity:
        """Count the learning activity in a server.

        Args:
            guild: Pseudonym of the server.
            since: Earliest time of feedback, aware UTC.
            until: Feedback and members from this moment on do not count, aware UTC.
        """
        return await self._reader.run(lambda c: _of_server(c, guild, since, until))


def _of_server(connection: Connection, guild: bytes, since: datetime, until: datetime) -> ServerActivity:
    here = (
        (members.c.guild == guild)
        & (members.c.standing == MemberStatus.AGREED)
        & (members.c.decided_at < until)
    )
    learning = select(func.count()).select_from(heads.join(members)).where(here)
    rating = (
        select(func.count(feedback.c.member_id.distinct()))
        .join(members, feedback.c.member_id == members.c.member_id)
        .where(here, feedback.c.changed_at >= since, feedback.c.changed_at < until)
    )
    return ServerActivity(
        n_learning=connection.execute(learning).scalar_one(),
        n_rating=connection.execute(rating).scalar_one(),
    )
