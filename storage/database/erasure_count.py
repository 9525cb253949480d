"""Counter of erasures, stored as a note in the database.

Heads and priors learnt before an erasure carry an older count, so they are not stored after it.
"""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from storage.database.notes import note_of, put_note
from storage.database.schema import rounds

ERASED_NOTE = "erased_version"
"""Last round before an erasure. Heads up to this version may contain the erased member's influence."""


def erasures_of(connection: Connection) -> int:
    """Return the number of erasures."""
    return int(note_of(connection, ERASURES_NOTE) or 0)


def count_erasure(connection: Connection) -> None:
    """Increase the counter, and note the last round: everything learnt before is stale."""
    n_erasures = erasures_of(connection) + 1
    latest = connection.execute(select(func.max(rounds.c.version))).scalar() or 0
    put_note(connection, ERASURES_NOTE, str(n_erasures))
    put_note(connection, ERASED_NOTE, str(latest))


ERASURES_NOTE = "erasures"
"""Number of erasures. A stored prior is bound to it, so a prior from before an erasure does not open."""
