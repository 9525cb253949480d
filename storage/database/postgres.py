"""A PostgreSQL server, through asyncpg: the same data as in SQLite, for several processes of one bot.

What SQLite gives by being one file in one process is asked for here: one writer at a time over all processes
(an advisory lock at the beginning of every transaction that writes), a reader that sees one state
(REPEATABLE READ, READ ONLY), and a commit that is on the disk before it is acknowledged (read back after
connecting). After a row was deleted its old bytes stay in the server's files for a while; they are sealed,
and the destroyed key (:mod:`storage.keys.key_store`) is what makes a forget final.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, event, inspect, make_url, select, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from storage.database.backend import LOG_WAIT_S, READ_CONNECTIONS, Reader, translated_errors
from storage.database.postgres_peers import PostgresPeers
from storage.database.schema import origin
from storage.errors import DatabaseFailed, StorageError

T = TypeVar("T")

SETTINGS = {
    "application_name": "simpatico",
    "synchronous_commit": "on",  # a commit is on the disk before it is acknowledged
    "jit": "off",  # our queries are short; compiling one takes longer than running it
    "lock_timeout": "60s",  # another process that hangs must not hang this one for ever
    "idle_in_transaction_session_timeout": "60s",
}
READER_SETTINGS = SETTINGS | {"default_transaction_read_only": "on"}
# Of the server, not of the connection: we cannot set them, only refuse to run without them.
EXPECTED = {"synchronous_commit": "on", "fsync": "on", "full_page_writes": "on"}

COMMAND_TIMEOUT_S = 120.0
ADVISORY = 0x51A7
"""First half of every advisory lock of ours; locks are per database."""
WRITING = 1
"""Second half: who writes."""
TRAINING = 2
"""Second half: who trains."""
# A line that was cut must not keep the trainer's lock for hours.
KEEP_ALIVE = {"tcp_keepalives_idle": "15", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}


class PostgresBackend:
    """One database of a PostgreSQL server.

    Args:
        url: ``postgresql://user@host:port/database``, without a password; ``?sslmode=`` as in libpq.
        password_env: Environment variable with the password; unset: whatever the server accepts without one.

    Raises:
        StorageError: ``url`` is none, or holds a password.
    """

    files: tuple[Path, ...] = ()

    def __init__(self, url: str, password_env: str) -> None:
        self._url = _address(url, password_env)
        self._writing: AsyncEngine | None = None
        host = self._url.host or "this machine"
        self.what = f"PostgreSQL database {self._url.database} on {host}"

    async def open(self, stack: AsyncExitStack) -> None:
        """Make the engine that writes; nobody is kept out."""
        self._writing = _open_engine(self._url, 1, SETTINGS, "READ COMMITTED")
        event.listen(self._writing.sync_engine, "begin", _be_the_only_writer)
        stack.push_async_callback(self._writing.dispose)

    async def has_data(self) -> bool:
        """Whether somebody's keys are bound to this database.

        Raises:
            DatabaseFailed: The server cannot be reached, or refuses.
        """
        with translated_errors(self.what):
            async with self._engine.connect() as connection:
                return await connection.run_sync(_is_bound)

    async def connect_writer(self, stack: AsyncExitStack) -> AsyncConnection:
        """Open the connection for the writer.

        Raises:
            DatabaseFailed: The server cannot be reached, or does not keep what it acknowledges.
        """
        with translated_errors(self.what):
            return await stack.enter_async_context(self._engine.connect())

    def reader(self) -> Reader:
        """A pool of connections that cannot write; each query sees one state."""
        return Reader(self._open_reading(READ_CONNECTIONS), self.what)

    def bulk_reader(self) -> PostgresBulkReader:
        """A reader with a connection and a thread of its own."""
        return PostgresBulkReader(self._open_reading(1), self.what)

    def peers(self) -> PostgresPeers:
        """The other processes on this database."""
        engine = _open_engine(self._url, 1, SETTINGS | KEEP_ALIVE, "AUTOCOMMIT")
        return PostgresPeers(engine, self.what, (ADVISORY, TRAINING))

    def before_writing(self, hook: Callable[[Connection], None]) -> None:
        """Call ``hook`` once the transaction is the only one that writes."""
        event.listen(self._engine.sync_engine, "begin", hook)

    @asynccontextmanager
    async def alone(self, connection: AsyncConnection) -> AsyncGenerator[None]:
        """Hold the writers' lock for longer than one transaction."""
        async with connection.begin():  # nobody may hold it for a session while another is at work
            await connection.execute(_lock("pg_advisory_lock"))
        try:
            yield
        finally:
            await self._let_others_write(connection)

    def empty_log(self, connection: Connection, wait_s: float = LOG_WAIT_S) -> bool:
        """Nothing can be done from here: the log is the server's, and other programs may need it."""
        return True

    async def _let_others_write(self, connection: AsyncConnection) -> None:
        if connection.invalidated:  # it was lost, and the server has let go of the lock
            return
        try:
            async with connection.begin():
                await connection.execute(_lock("pg_advisory_unlock"))
        except BaseException:
            await connection.invalidate()  # so that the server lets go
            raise

    @property
    def _engine(self) -> AsyncEngine:
        assert self._writing is not None, "open() comes first"
        return self._writing

    def _open_reading(self, connections: int) -> AsyncEngine:
        return _open_engine(self._url, connections, READER_SETTINGS, "REPEATABLE READ")


class PostgresBulkReader(Reader):
    """Reads on a connection of its own and does other blocking work in a thread of its own."""

    def __init__(self, engine: AsyncEngine, what: str) -> None:
        super().__init__(engine, what)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="storage-bulk")

    async def run_in_thread(self, work: Callable[[], T]) -> T:
        """Do other blocking work in a thread."""
        return await asyncio.wrap_future(self._thread.submit(work))

    async def close(self) -> None:
        """Finish what runs, then close the connection."""
        await super().close()
        self._thread.shutdown()


def _address(url: str, password_env: str) -> URL:
    """Read the address and add the password from the environment.

    Raises:
        StorageError: It is none, or holds a password.
    """
    expected = "Expected [storage] url to be postgresql://user@host:port/database"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as exc:
        raise StorageError(f"{expected}, found something else.") from exc
    if parsed.drivername not in ("postgresql", "postgres"):
        raise StorageError(f"{expected}, found {parsed.drivername}://.")
    if parsed.password or "password" in parsed.query:
        raise StorageError(f"{expected}, found a password in it; put that into the variable {password_env}.")
    query = dict(parsed.query)
    if mode := query.pop("sslmode", None):
        query["ssl"] = mode  # asyncpg's name for it
    password = os.environ.get(password_env, "").strip() or None
    return parsed.set(drivername="postgresql+asyncpg", password=password, query=query)


def _open_engine(url: URL, connections: int, settings: dict[str, str], isolation: Any) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_pre_ping=True,  # after a restart of the server, connect anew instead of failing once
        hide_parameters=True,
        isolation_level=isolation,
        connect_args={"server_settings": settings, "command_timeout": COMMAND_TIMEOUT_S},
    )
    event.listen(engine.sync_engine, "connect", _check_settings)
    return engine


def _check_settings(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for name, wanted in EXPECTED.items():
        cursor.execute(f"SHOW {name}")
        (found,) = cursor.fetchone()
        if found != wanted:
            raise DatabaseFailed(
                f"Expected the PostgreSQL setting {name} = {wanted}, found {found}: what was acknowledged "
                "could be lost."
            )
    cursor.close()


def _is_bound(connection: Connection) -> bool:
    if not inspect(connection).has_table(origin.name):
        return False
    return connection.execute(select(origin.c.key_check)).first() is not None


def _be_the_only_writer(connection: Connection) -> None:
    connection.execute(_lock("pg_advisory_xact_lock"))


def _lock(function: str) -> Any:
    return text(f"SELECT {function}({ADVISORY}, {WRITING})")
