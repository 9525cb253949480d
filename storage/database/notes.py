"""Small notes of the program to itself, about nobody."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from storage.database.schema import notes


def note_of(connection: Connection, key: str) -> str | None:
    """The note, or None."""
    return connection.execute(select(notes.c.value).where(notes.c.key == key)).scalar()


def put_note(connection: Connection, key: str, value: str) -> None:
    """Write the note, over an older one."""
    connection.execute(delete(notes).where(notes.c.key == key))
    connection.execute(insert(notes).values(key=key, value=value))
