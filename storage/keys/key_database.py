"""Key store and erasure ledger as tables of a PostgreSQL database of their own, for bots on several hosts.

The database is another one than that of the data: keys beside the data protect nothing. So a copy, a dump or
a log of one server is useless without the other and without the master key.

PostgreSQL does not overwrite a deleted row at once. What is left of a destroyed key in its files, log and
backups is wrapped by the master key, which is never there. The next rotation of the master key makes it
useless for good.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.database.backend import translated_errors
from storage.database.postgres import ADVISORY, CHANGING_KEYS, OPENING_KEYS, PostgresBackend
from storage.errors import AlreadyOpen, DatabaseFailed, StorageError
from storage.keys.key_answers import ANSWER_S, Answers, ServerPart
from storage.keys.key_files import KEYS
from storage.keys.key_place import Part
from storage.settings import StorageSettings

CONNECTIONS = 4
"""Size of the pool. A query of the data that needs keys waits for a free connection."""
_ISOLATION = "REPEATABLE READ"
"""One snapshot for each transaction: a wrapped key is read together with the keys that tell what wraps it."""
_SAME_PLACE = (
    "[storage] key_url names the database of the data: keys beside the data protect nothing. Create another"
    " database, best on another server, and name it there."
)


class KeyDatabase:
    """Tables of a PostgreSQL database.

    Args:
        settings: Name the database of the keys, that of the data, and the folder of this host's master key.
        quick: Whether a server that does not answer within seconds fails, as for a bot. Commands wait longer.

    Raises:
        StorageError: ``key_url`` is no address of PostgreSQL, or holds a password.
    """

    files: tuple[Path, ...] = ()

    def __init__(self, settings: StorageSettings, *, quick: bool = False) -> None:
        self._settings = settings
        self._limit_s = ANSWER_S if quick else None
        self._answers: Answers | None = None
        self._server = PostgresBackend(settings.key_url, settings.key_password_env, "key_url")
        self._engine: AsyncEngine | None = None
        self.what = f"the {self._server.what} ([storage] key_url)"

    async def is_there(self) -> bool:
        """Return whether the tables hold the keys of a bot.

        Raises:
            DatabaseFailed: The server cannot be reached, or refuses.
        """
        async with self._connected() as engine, engine.connect() as connection:
            return await connection.run_sync(_holds_keys)

    @asynccontextmanager
    async def opening(self) -> AsyncGenerator[None]:
        """Exclude other processes of every host that open it; create this host's folder for the master key.

        Raises:
            DatabaseFailed: The server cannot be reached, or refuses.
            StorageError: The database holds data, or this host still has a key store in files.
        """
        folder = self._settings.key_dir
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as exc:
            raise DatabaseFailed(
                f"Cannot write to the folder {folder} ({exc}); check its permissions."
            ) from exc
        self.require_no_files()
        await self.require_apart()
        engine = self._server.engine(1, _ISOLATION)
        try:
            with translated_errors(self.what):
                connection = await engine.connect()
                await connection.execute(text(f"SELECT pg_advisory_lock({ADVISORY}, {OPENING_KEYS})"))
                await connection.commit()
            try:
                yield
            finally:
                await connection.invalidate()  # so that the server releases the lock
                await connection.close()
        finally:
            await engine.dispose()

    @asynccontextmanager
    async def changing(self) -> AsyncGenerator[None]:
        """Exclude other commands of every host that replace these keys or what wraps them.

        Raises:
            AlreadyOpen: Another such command is in progress.
            DatabaseFailed: The server cannot be reached, or refuses.
        """
        async with self._connected("AUTOCOMMIT") as engine, engine.connect() as connection:
            lock = text(f"SELECT pg_try_advisory_lock({ADVISORY}, {CHANGING_KEYS})")
            if not (await connection.execute(lock)).scalar_one():
                raise AlreadyOpen(f"Another command changes the keys in {self.what}; wait until it ends.")
            try:
                yield
            finally:
                await connection.invalidate()  # so that the server releases the lock

    def open_keys(self, stack: AsyncExitStack) -> Part:
        """Open the tables of the key store."""
        return self._part(stack)

    def open_ledger(self, stack: AsyncExitStack) -> Part:
        """Open the tables of the erasure ledger, on the same connections."""
        return self._part(stack)

    async def require_apart(self) -> None:
        """Check that this is not the database of the data, whatever the two addresses look like.

        An advisory lock is visible in its own database only.

        Raises:
            DatabaseFailed: A server cannot be reached, or refuses.
            StorageError: It is.
        """
        async with self._connected() as engine, engine.connect() as connection:
            if await connection.run_sync(_holds_data):
                raise StorageError(_SAME_PLACE)
            if not self._settings.url:
                return
            probe = text("SELECT pg_try_advisory_lock(:number)").bindparams(number=secrets.randbits(62))
            await connection.execute(probe)
            data = PostgresBackend(self._settings.url, self._settings.password_env)
            beside = data.engine(1, _ISOLATION)
            try:
                with translated_errors(data.what):
                    async with beside.connect() as other:
                        is_apart = (await other.execute(probe)).scalar_one()
            finally:
                await beside.dispose()
        if not is_apart:
            raise StorageError(_SAME_PLACE)

    def require_no_files(self) -> None:
        """Check that this host has no key store in files any more.

        Raises:
            StorageError: It has one, as after a move that was interrupted.
        """
        left = self._settings.key_dir / KEYS
        if left.exists():
            raise StorageError(
                f"Expected the keys in {self.what} only, found {left} too: it would keep the keys of members"
                " who are forgotten from now on. Finish `simpatico move --keys-to`, or delete that file if"
                " the database holds these keys."
            )

    def _part(self, stack: AsyncExitStack) -> Part:
        if self._engine is None:
            self._engine = self._server.engine(CONNECTIONS, _ISOLATION, limit_s=self._limit_s)
            stack.push_async_callback(self._engine.dispose)
        if self._limit_s is None:
            return Part(self._engine, self.what)
        if self._answers is None:
            self._answers = Answers(self._engine, self.what)
            stack.push_async_callback(self._answers.close)
        return ServerPart(self._engine, self.what, self._answers)

    @asynccontextmanager
    async def _connected(self, isolation: str = _ISOLATION) -> AsyncGenerator[AsyncEngine]:
        engine = self._server.engine(1, isolation, limit_s=self._limit_s)
        try:
            with translated_errors(self.what):
                yield engine
        finally:
            await engine.dispose()


def _holds_keys(connection: Connection) -> bool:
    if not inspect(connection).has_table("system_keys"):
        return False
    return connection.execute(text("SELECT 1 FROM system_keys LIMIT 1")).first() is not None


def _holds_data(connection: Connection) -> bool:
    """Return whether any schema of this database holds the tables of a bot's data."""
    tables = text(
        "SELECT 1 FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p')"
        " AND relname IN ('origin', 'members', 'feedback') GROUP BY relnamespace HAVING count(*) = 3"
    )
    return connection.execute(tables).first() is not None
