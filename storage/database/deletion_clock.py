"""Deletion clock: the time by which stored data get old.

A wall clock that jumps must not delete anything. So the deletion clock advances from the last trusted time by
the steady clock. It follows the wall clock while both agree. After a disagreement, a wall clock that runs
evenly for :data:`SETTLE` is trusted again: the host was off for long, or its clock was corrected. The last
trusted time is kept in a note, so that the check reaches over restarts. On PostgreSQL the wall clock is the
database server's.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Column, ColumnElement, Connection, Table, func, select, update

from storage.clock import steady_of, utcnow
from storage.database.notes import note_of, put_note
from storage.database.schema import replies

log = logging.getLogger(__name__)

TOLERANCE = timedelta(minutes=5)
"""Difference between the wall clock and the steady clock that is followed: drift, leap seconds, a restart."""
SETTLE = timedelta(days=1)
"""Time for which a wall clock that disagreed must run evenly before it is trusted."""
SHORT_STOP = timedelta(days=7)
"""A stop of the bot up to this length does not start the wait of :data:`SETTLE` again.

A host that is off every night, or over the weekend, would otherwise wait for ever.
"""
TOLD_FROM = timedelta(hours=1)
"""Disagreements from this size on are logged."""
NOTE = "clock"
"""The note with the last trusted time, the disagreement and how long it has lasted."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A time for deletions.

    Attributes:
        time: Never ahead of the wall clock, nor of the trusted time; aware UTC.
        agrees: Whether the wall clock agrees with the trusted time.
    """

    time: datetime
    agrees: bool


@dataclass(frozen=True, slots=True)
class _Gap:
    """A disagreement: how far the wall clock is ahead, and since when, on the steady clock."""

    ahead: timedelta
    since_s: float


class DeletionClock:
    """Judges the wall clock by the steady clock and by the last trusted time.

    Args:
        now: The wall clock, aware UTC. Its method ``steady``, if any, replaces the host's steady clock.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now, self.steady_s = now, steady_of(now)
        self._trusted: tuple[datetime, float] | None = None
        self._gap: _Gap | None = None

    def now(self) -> datetime:
        """Return the time to date new rows with: the wall clock's, unless that was set back. No I/O."""
        wall, trusted = self._now(), self._progressed(self.steady_s())
        return wall if trusted is None or wall >= trusted - TOLERANCE else trusted

    def read(self, connection: Connection) -> Reading:
        """Compare the wall clock with the steady clock and with the stored note. Writes nothing."""
        wall, steady_s = self.wall(connection), self.steady_s()
        note = json.loads(note_of(connection, NOTE) or "{}")
        starts = self._trusted is None
        trusted = self._progressed(steady_s) or _newest(connection) or wall
        if note:
            seen = datetime.fromtimestamp(note["trusted_s"], UTC)
            trusted = seen if starts else max(trusted, seen)
        ahead = wall - trusted
        if abs(ahead) > TOLERANCE:
            if starts and "ahead_s" in note:
                self._gap = _same_gap(ahead, timedelta(seconds=note["ahead_s"]), steady_s - note["waited_s"])
            self._wait(ahead, steady_s)
        else:
            self._gap = None
        agrees = self._gap is None
        self._trusted = (wall if agrees else trusted, steady_s)
        return Reading(min(wall, self._trusted[0]), agrees)

    def look(self, connection: Connection) -> Reading:
        """Return the time for deletions, and store it. Inside the caller's transaction."""
        reading = self.read(connection)
        assert self._trusted is not None, "read() sets it"
        trusted, steady_s = self._trusted
        note = {"trusted_s": trusted.timestamp()}
        if self._gap is not None:
            note |= {"ahead_s": self._gap.ahead.total_seconds(), "waited_s": steady_s - self._gap.since_s}
        put_note(connection, NOTE, json.dumps(note))
        return reading

    def _wait(self, ahead: timedelta, steady_s: float) -> None:
        """Begin, continue or end the wait for a wall clock that disagrees."""
        if self._gap is None or abs(ahead - self._gap.ahead) > TOLERANCE:
            self._gap = _Gap(ahead, steady_s)
            if abs(ahead) >= TOLD_FROM:
                log.warning(
                    "the clock is %+.1f hours from the last trusted time; deletions by age wait until it has"
                    " run evenly for %.0f h; check the clock of the host",
                    ahead.total_seconds() / 3600,
                    SETTLE.total_seconds() / 3600,
                )
        elif steady_s - self._gap.since_s >= SETTLE.total_seconds():
            self._gap = None
            log.info("the clock has run evenly; deletions by age go on by it")

    def wall(self, connection: Connection) -> datetime:
        """Return the time of the wall clock; on PostgreSQL, of the database server's."""
        # A clock that was passed in replaces the server's too.
        if self._now is utcnow and connection.dialect.name == "postgresql":
            return connection.execute(select(func.clock_timestamp())).scalar_one().astimezone(UTC)
        return self._now()

    def _progressed(self, steady_s: float) -> datetime | None:
        """Return the trusted time; None before the first look."""
        if self._trusted is None:
            return None
        time, at_s = self._trusted
        return time + timedelta(seconds=steady_s - at_s)


def redate(
    connection: Connection,
    reading: Reading,
    table: Table,
    column: Column[datetime],
    *which: ColumnElement[bool],
) -> None:
    """Date rows from the future as now, so that they get old; only if the clock agrees.

    A clock that was ahead dated them. Inside the caller's transaction.
    """
    if reading.agrees:
        ahead = column > reading.time + TOLERANCE
        connection.execute(update(table).where(ahead, *which).values({column.name: reading.time}))


def _newest(connection: Connection) -> datetime | None:
    """Return when the newest reply with texts was stored: the last trusted time before the first note."""
    return connection.execute(
        select(func.max(replies.c.created_at)).where(replies.c.texts.is_not(None))
    ).scalar()


def _same_gap(ahead: timedelta, before: timedelta, since_s: float) -> _Gap | None:
    """Return the stored disagreement if it is the same one after a short stop of the bot."""
    same = -TOLERANCE <= ahead - before <= SHORT_STOP
    return _Gap(ahead, since_s) if same else None
