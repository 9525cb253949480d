"""Counter of erasures, kept as a note in the database.

Heads and priors learnt before an erasure carry an older count, so they are not stored after it.
"""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from storage.database.notes import note_of, put_note
from storage.database.schema import (
    rounds,
)

ERASED_NOTE = "erased_version"
"""The last round before somebody left: heads up to it may know them."""


def erasures_of(connection: Connection) -> int:
    """How often somebody left."""
    return int(note_of(connection, ERASURES_NOTE) or 0)


def count_erasure(connection: Connection) -> None:
    """Note that somebody left: what was learnt before does not count as new any more."""
    n_erasures = erasures_of(connection) + 1
    latest = connection.execute(select(func.max(rounds.c.version))).scalar() or 0
    put_note(connection, ERASURES_NOTE, str(n_erasures))
    put_note(connection, ERASED_NOTE, str(latest))


ERASURES_NOTE = "erasures"
"""How often somebody left; a prior is bound to it, so that one from before does not open."""
