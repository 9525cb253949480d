"""Copies of key store and erasure ledger as two files, from either place, and back into a database.

A copy holds wrapped keys only; without the master key it opens nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, NullPool, Table, create_engine, delete, insert, select

from storage.database.backend import translated_errors
from storage.errors import StoreMissing
from storage.failpoints import failpoint
from storage.keys import erasure_ledger as ledger
from storage.keys import wrapping
from storage.keys.key_database import KeyDatabase
from storage.keys.key_files import KEYS, LEDGER
from storage.keys.key_place import add_missing, check_version, lock_for_writing, put_version
from storage.keys.key_store import place_of
from storage.maintenance.copying import snapshot
from storage.settings import StorageSettings

Rows = dict[str, list[dict[str, Any]]]
"""Table -> its rows, of both parts."""
_PARTS: tuple[tuple[str, str, int, MetaData], ...] = (
    (KEYS, wrapping.PART, wrapping.SCHEMA, wrapping.metadata),
    (LEDGER, ledger.PART, ledger.SCHEMA, ledger.metadata),
)
TABLES: Sequence[Table] = [table for *_, metadata in _PARTS for table in metadata.sorted_tables]


async def snapshot_keys(settings: StorageSettings, folder: Path) -> None:
    """Write consistent copies of key store and ledger into a folder, as ``keys.db`` and ``ledger.db``.

    Raises:
        StoreMissing: There is no key store.
        DatabaseNewer: A newer version wrote it.
        DatabaseFailed: Reading or writing failed.
    """
    if not settings.key_url:
        for name in (KEYS, LEDGER):
            if name == KEYS or (settings.key_dir / name).exists():
                snapshot(settings.key_dir / name, folder / name)
        return
    rows = await rows_of(settings)
    await asyncio.to_thread(_write_files, folder, rows)


async def rows_of(settings: StorageSettings) -> Rows:
    """Return all rows of both parts from their database, as one snapshot.

    Raises:
        StoreMissing: The database holds no keys.
        DatabaseNewer: A newer version wrote it.
        DatabaseFailed: The server cannot be reached, or refuses.
    """
    place = place_of(settings)
    if not await place.is_there():
        raise StoreMissing(f"Expected a key store in {place.what}, found none; check [storage].")

    def work(connection: Connection) -> Rows:
        for _, part, newest, _ in _PARTS:
            check_version(connection, part, newest, place.what)
        return _rows(connection, TABLES)

    async with AsyncExitStack() as stack:
        return await place.open_keys(stack).run(work)


def rows_in(folder: Path) -> Rows:
    """Return all rows of both files in a folder. Blocks.

    Raises:
        DatabaseFailed: A file cannot be read.
    """
    found: Rows = {}
    for name, *_, metadata in _PARTS:
        engine = _engine(folder / name)
        with translated_errors(str(folder / name)), engine.connect() as connection:
            found |= _rows(connection, metadata.sorted_tables)
    return found


async def put_into_database(settings: StorageSettings, rows: Rows) -> None:
    """Replace what the database of the keys holds, in one transaction. No entry of its ledger is deleted.

    Raises:
        DatabaseNewer: A newer version wrote it.
        DatabaseFailed: The server cannot be reached, or refuses.
        StorageError: It is the database of the data.
    """
    place = KeyDatabase(settings)
    await place.require_apart()

    def work(connection: Connection) -> None:
        for _, part, newest, metadata in _PARTS:
            check_version(connection, part, newest, place.what)
            metadata.create_all(connection)
            put_version(connection, part, newest)
        for table in (wrapping.system_keys, ledger.ledger_origin):
            lock_for_writing(connection, table)
        for table in TABLES:
            if table is not ledger.erased_keys:
                connection.execute(delete(table))
            add_missing(connection, table, rows[table.name])
        failpoint("restore.before-replace")

    async with AsyncExitStack() as stack:
        await place.open_keys(stack).run(work)
    failpoint("restore.after-replace")


def _write_files(folder: Path, rows: Rows) -> None:
    for name, _, schema, metadata in _PARTS:
        os.close(os.open(folder / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with translated_errors(str(folder / name)), _engine(folder / name).begin() as connection:
            metadata.create_all(connection)
            connection.exec_driver_sql(f"PRAGMA user_version = {schema}")
            for table in metadata.sorted_tables:
                if rows[table.name]:
                    connection.execute(insert(table), rows[table.name])


def _rows(connection: Connection, tables: Sequence[Table]) -> Rows:
    return {
        table.name: [dict(row) for row in connection.execute(select(table)).mappings()] for table in tables
    }


def _engine(path: Path) -> Engine:
    return create_engine(f"sqlite:///{path}", poolclass=NullPool, hide_parameters=True)
