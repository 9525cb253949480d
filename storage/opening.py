"""Opening the database: choose it, check it, bring it to the newest schema, make sure of its keys."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial

from sqlalchemy import Connection, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database.backend import Backend, translated_errors
from storage.database.migrations import upgrade
from storage.database.schema import origin
from storage.database.sqlite import SqliteBackend
from storage.errors import KeyUnreadable
from storage.keys.key_store import KeyStore
from storage.settings import StorageSettings


def backend_of(settings: StorageSettings) -> Backend:
    """The database that the settings name.

    Raises:
        StorageError: ``url`` is none, or holds a password.
    """
    if not settings.url:
        return SqliteBackend(settings.data_dir)
    from storage.database.postgres import PostgresBackend  # asyncpg is read only by those who use it

    return PostgresBackend(settings.url, settings.password_env)


async def open_data(backend: Backend, keys: KeyStore, stack: AsyncExitStack) -> AsyncConnection:
    """The connection for the writer; closing it is pushed on ``stack``.

    Raises:
        DatabaseDamaged: The database is not sound.
        DatabaseNewer: The database was written by a newer version.
        DatabaseFailed: The database cannot be written to.
        KeyUnreadable: The database was written under other keys.
    """
    connection = await backend.connect_writer(stack)
    with translated_errors(backend.what):
        async with connection.begin():
            await connection.run_sync(upgrade)
            await connection.run_sync(partial(_bind, keys=keys, what=backend.what))
    return connection


def _bind(connection: Connection, *, keys: KeyStore, what: str) -> None:
    """Write into a new database which keys it belongs to, and check an old one."""
    expected = keys.pseudonyms.check()
    found = connection.execute(select(origin.c.key_check)).scalar()
    if found is None:
        connection.execute(insert(origin).values(id=1, key_check=expected, last_number=0))
    elif found != expected:
        raise KeyUnreadable(
            f"The key store opens, but {what} was written under another one; restore the two as a pair."
        )
