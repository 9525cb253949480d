"""Claims of sessions with Discord, so that all processes of a bot respect its pace together.

A claim reads and writes two times in one writing transaction. On PostgreSQL such a transaction holds the
advisory lock of the one writer, so two processes never claim at once; the times are those of the server's
clock. A clock that was set back delays a claim by one interval at most.
"""

from __future__ import annotations

from sqlalchemy import Connection

from storage.database.deletion_clock import DeletionClock
from storage.database.notes import note_of, put_note
from storage.database.writer import Writer

_NOTE = "identify"


class Identifies:
    """Claims of sessions. Reached as ``Store.identifies``.

    Args:
        writer: Applies changes.
        clock: Reads the wall clock.
    """

    def __init__(self, writer: Writer, clock: DeletionClock) -> None:
        self._writer, self._clock = writer, clock

    async def claim(self, bucket: int, *, apart_s: float, all_apart_s: float) -> float:
        """Claim a session.

        Args:
            bucket: Bucket of the shard.
            apart_s: Seconds between two sessions of one bucket.
            all_apart_s: Seconds between any two sessions.

        Returns:
            Seconds to wait before the next try; 0: the session is claimed.
        """

        def take(connection: Connection) -> float:
            now_s = self._clock.wall(connection).timestamp()
            own = f"{_NOTE} {bucket}"
            wait_s = max(_left(connection, own, now_s, apart_s), _left(connection, _NOTE, now_s, all_apart_s))
            if wait_s <= 0:
                for key in (own, _NOTE):
                    put_note(connection, key, repr(now_s))
            return wait_s

        return await self._writer.submit(take)


def _left(connection: Connection, key: str, now_s: float, apart_s: float) -> float:
    """Return how long the interval since the noted time still lasts, seconds."""
    last = note_of(connection, key)
    return 0.0 if last is None else min(apart_s, float(last) + apart_s - now_s)
