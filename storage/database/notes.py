"""Notes of the program to itself, none about a member: the hash of the command tree, counters."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from storage.database.backend import Reader
from storage.database.schema import notes
from storage.database.writer import Writer


class Notes:
    """Reads and writes notes. Reached as ``Store.notes``."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader, self._writer = reader, writer

    async def of(self, key: str) -> str | None:
        """Return the note, or None."""
        return await self._reader.run(lambda c: note_of(c, key))

    async def put(self, key: str, value: str) -> None:
        """Write the note, replacing an older one."""
        await self._writer.submit(lambda c: put_note(c, key, value))


def note_of(connection: Connection, key: str) -> str | None:
    """Return the note, or None."""
    return connection.execute(select(notes.c.value).where(notes.c.key == key)).scalar()


def put_note(connection: Connection, key: str, value: str) -> None:
    """Write the note, replacing an older one."""
    connection.execute(delete(notes).where(notes.c.key == key))
    connection.execute(insert(notes).values(key=key, value=value))
