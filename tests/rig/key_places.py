"""Both places of key store and erasure ledger, for tests that run on each: files, and PostgreSQL.

Processes with keys in files share one host. With keys in a database each has a host of its own: a folder
without a shared file, except a copy of the master key.
"""

from __future__ import annotations

import base64
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import create_async_engine

from storage.maintenance.key_copies import TABLES, Rows, rows_of
from storage.settings import StorageSettings
from tests.rig.postgres import PostgresServer

FILES, DATABASE = "files", "database"
PLACES = [FILES, pytest.param(DATABASE, marks=pytest.mark.slow)]


@dataclass(frozen=True)
class KeysAt:
    """One place of the keys.

    Attributes:
        settings: Name it.
        server: The server of the database; None for files.
        name: The database.
    """

    settings: StorageSettings
    server: PostgresServer | None = None
    name: str = ""

    async def sql(self, statement: str, *values: object, part: str = "keys.db") -> list[tuple[Any, ...]]:
        """Run a statement with ``?`` for values, past the product, and return its rows."""
        if self.server is None:
            with closing(sqlite3.connect(self.settings.key_dir / part)) as raw, raw:
                return raw.execute(statement, values).fetchall()
        for number in range(1, len(values) + 1):
            statement = statement.replace("?", f"${number}", 1)
        connection = await self.server.connect(self.name)
        try:
            return [tuple(row) for row in await connection.fetch(statement, *values)]
        finally:
            await connection.close()

    async def dump(self) -> Rows:
        """Return all rows of a database, as pg_dump does."""
        return await rows_of(self.settings)

    async def put_back(self, rows: Rows, *, without: tuple[str, ...] = ()) -> None:
        """Replace all rows of a database, as pg_restore does: the product is not asked.

        Args:
            rows: The dump.
            without: Tables that stay as they are.
        """
        engine = create_async_engine(self.settings.key_url.replace("://", "+asyncpg://"))
        async with engine.begin() as connection:
            for table in TABLES:
                if table.name not in without:
                    await connection.execute(table.delete())
                    if rows[table.name]:
                        await connection.execute(insert(table), rows[table.name])
        await engine.dispose()

    async def remove(self) -> None:
        """Lose the place with everything in it."""
        if self.server is None:
            (self.settings.key_dir / "keys.db").unlink()
        else:
            await self.sql("DROP TABLE system_keys, member_keys")


@asynccontextmanager
async def keys_at(place: str, settings: StorageSettings, server: Any) -> AsyncIterator[KeysAt]:
    """Yield an empty place.

    Args:
        place: :data:`FILES` or :data:`DATABASE`.
        settings: Where data and files are.
        server: Returns the running server, when it is needed.
    """
    if place == FILES:
        yield KeysAt(settings)
        return
    running = server()
    name = await running.fresh(migrated=False)
    yield KeysAt(replace(settings, key_url=running.url(name)), running, name)
    await running.drop(name)


def host(folder: Path, at: KeysAt, master: bytes = b"m" * 32) -> StorageSettings:
    """Return the settings of another host on the same keys: its own folder, a copy of the master key."""
    own = replace(at.settings, data_dir=folder / "data", key_dir=folder / "keys")
    own.key_dir.mkdir(parents=True, mode=0o700)
    theirs = at.settings.key_dir / "master.key"
    if theirs.exists():
        shutil.copy2(theirs, own.key_dir)
    else:
        mine = own.key_dir / "master.key"
        mine.write_bytes(base64.b64encode(master))
        mine.chmod(0o600)
    return own


@asynccontextmanager
async def processes(
    place: str, settings: StorageSettings, server: Any
) -> AsyncIterator[list[StorageSettings]]:
    """Yield the settings of two processes: on one host, or on two hosts that share no file."""
    async with keys_at(place, settings, server) as at:
        if place == FILES:
            yield [settings, settings]
        else:
            yield [host(settings.key_dir.parent / name, at) for name in ("here", "there")]
