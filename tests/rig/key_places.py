"""Both places of key store and erasure ledger, for tests that run on each: files, and PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from typing import Any

import pytest

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
