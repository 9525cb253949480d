"""PostgreSQL backend, through asyncpg: the same data as in SQLite, shared by several processes of one bot.

SQLite provides some guarantees because it is one file in one process. Here they are set up explicitly:

* one writer at a time over all processes: an advisory lock at the beginning of every writing transaction;
* a reader that sees one snapshot: REPEATABLE READ, READ ONLY;
* a commit that is on disk before it is acknowledged: settings read back after connecting.

The bytes of a deleted row stay in the server's files for a while. They are sealed, and the destroyed key
(:mod:`storage.keys.key_store`) makes an erasure final.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, event, inspect, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from storage.database.backend import LOG_WAIT_S, READ_CONNECTIONS, Reader, Use, translated_errors
from storage.database.postgres_address import address
from storage.database.postgres_board import PostgresBoard
from storage.database.postgres_peers import CONNECTIONS, PostgresPeers
from storage.database.schema import origin
from storage.errors import AlreadyOpen, DatabaseFailed

T = TypeVar("T")

# A broken connection must not keep a lock for hours.
KEEP_ALIVE = {"tcp_keepalives_idle": "15", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}
SETTINGS = KEEP_ALIVE | {
    "application_name": "simpatico",
    "synchronous_commit": "on",  # a commit is on the disk before it is acknowledged
    "jit": "off",  # our queries are short; compiling one takes longer than running it
    "statement_timeout": "0",  # a limit of the user or the database could cut off a migration
    "lock_timeout": "60s",  # a hanging process must not block this one forever
    "idle_in_transaction_session_timeout": "60s",
}
LOCK_TIMEOUT_SHOWN = "1min"
"""How the server shows our ``lock_timeout``."""
READ_ONLY = "default_transaction_read_only"
READER_SETTINGS = SETTINGS | {READ_ONLY: "on"}
# Settings of the server, not of the connection: we cannot set them, only refuse to run without them.
EXPECTED = {"synchronous_commit": "on", "fsync": "on", "full_page_writes": "on"}

COMMAND_TIMEOUT_S = 120.0
POOL_WAIT_S = 30.0
"""Longest wait for a free connection of a pool, seconds."""
ADVISORY = 0x51A7
"""First half of each of our advisory locks; locks are per database."""
WRITING = 1
"""Second half of the writer's lock."""
TRAINING = 2
"""Second half of the trainer's lock."""
OPENING_KEYS = 3
"""Second half of the lock in a database of keys, held while its tables are created or checked."""
RUNNING = 4
"""Second half of the lock of each connection to the data. Bots share it; some commands take it alone."""
ONLY_TRAINS = 5
"""Second half of the lock that the processes which do nothing but train share."""
CHANGING_KEYS = 6
"""Second half of the lock in a database of keys, held by a command that replaces keys or what wraps them."""
_RUNNING_WAITS_S = (0.0, 0.2, 0.8, 2.0)
"""Waits before each try for that lock: the server frees the locks of a closed connection a moment later."""


class PostgresBackend:
    """One database of a PostgreSQL server.

    Args:
        url: ``postgresql://user@host:port/database``, without a password; options as in libpq.
        password_env: Environment variable with the password; if unset, connect without one.
        option: Name of the setting that holds ``url``, for messages.
        read_connections: Size of the pool of :meth:`reader`.
        use: Whether its connections run beside other processes of the bot, keep them out, or only look.

    Raises:
        StorageError: ``url`` is not such an address, or holds a password.
    """

    files: tuple[Path, ...] = ()

    def __init__(
        self,
        url: str,
        password_env: str,
        option: str = "url",
        *,
        read_connections: int = READ_CONNECTIONS,
        use: Use = Use.RUN,
    ) -> None:
        self._read_connections = read_connections
        self._use = use
        self._url, self._arguments, self._settings = address(url, password_env, option)
        self._writing: AsyncEngine | None = None
        self._checks: list[Callable[[Connection], None]] = []
        host = self._url.host or "this machine"
        self.what = f"PostgreSQL database {self._url.database} on {host}"

    async def open(self, stack: AsyncExitStack) -> None:
        """Create the writing engine. Other processes may use the database at the same time.

        Each connection of a bot takes :data:`RUNNING` before anything else, also after a loss. So no process
        uses the data while a command excludes it, and none counts as stopped while it has a connection.
        """
        self._writing = self._taking_part(self.engine(1, "READ COMMITTED"))
        event.listen(self._writing.sync_engine, "begin", _be_the_only_writer)
        stack.push_async_callback(self._writing.dispose)

    async def has_data(self) -> bool:
        """Return whether this database is bound to a key store.

        Raises:
            AlreadyOpen: A command excludes bots, or a bot runs that this command excludes.
            DatabaseFailed: The server cannot be reached, or refuses.
        """
        with translated_errors(self.what):
            async with self._engine.connect() as connection:
                return await connection.run_sync(_is_bound)

    async def connect_writer(self, stack: AsyncExitStack) -> AsyncConnection:
        """Open the writer's connection.

        Raises:
            AlreadyOpen: A command excludes bots, or a bot runs that this command excludes.
            DatabaseFailed: The server cannot be reached, or does not guarantee durable commits.
        """
        with translated_errors(self.what):
            return await stack.enter_async_context(self._engine.connect())

    def reader(self) -> Reader:
        """Return a pool of connections that cannot write; each query sees one snapshot."""
        return Reader(self._open_reading(self._read_connections), self.what)

    def bulk_reader(self) -> PostgresBulkReader:
        """Return a reader with its own connection and thread."""
        return PostgresBulkReader(self._open_reading(1), self.what)

    def peers(self) -> PostgresPeers:
        """Return the connection to the other processes on this database."""
        engine = self._taking_part(self.engine(CONNECTIONS, "AUTOCOMMIT"))
        return PostgresPeers(
            engine, self.what, training=(ADVISORY, TRAINING), only_trains=(ADVISORY, ONLY_TRAINS)
        )

    def board(self) -> PostgresBoard:
        """Return a board with its own connection."""
        return PostgresBoard(self._taking_part(self.engine(1, "AUTOCOMMIT")))

    def before_using(self, hook: Callable[[Connection], None]) -> None:
        """Call ``hook`` first in each transaction, also of readers that are opened later."""
        self._checks.append(hook)
        self.before_writing(hook)

    def before_writing(self, hook: Callable[[Connection], None]) -> None:
        """Call ``hook`` once the transaction holds the writers' lock."""
        event.listen(self._engine.sync_engine, "begin", hook)

    @asynccontextmanager
    async def alone(self, connection: AsyncConnection) -> AsyncGenerator[None]:
        """Hold the writers' lock for longer than one transaction."""
        async with connection.begin():  # take the session lock while holding the transaction's lock
            await connection.execute(_lock("pg_advisory_lock"))
        try:
            yield
        finally:
            await self._let_others_write(connection)

    def empty_log(self, connection: Connection, wait_s: float = LOG_WAIT_S) -> bool:
        """Return True: the log belongs to the server, and this process cannot empty it."""
        return True

    def _taking_part(self, engine: AsyncEngine) -> AsyncEngine:
        if self._use is not Use.LOOK:
            event.listen(engine.sync_engine, "connect", self._take_part)
        return engine

    def _take_part(self, connection: Any, _record: object) -> None:
        """Take :data:`RUNNING` on a new connection to the data.

        Raises:
            AlreadyOpen: Another process holds it in a way that excludes this one.
        """
        function = "pg_try_advisory_lock" if self._use is Use.ALONE else "pg_try_advisory_lock_shared"
        cursor = connection.cursor()
        for wait_s in _RUNNING_WAITS_S:
            cursor.execute(f"SELECT pg_sleep({wait_s})")
            cursor.execute(f"SELECT {function}({ADVISORY}, {RUNNING})")
            (taken,) = cursor.fetchone()
            if taken:
                connection.rollback()  # the lock stays; an open transaction would end with the idle timeout
                return
        if self._use is Use.ALONE:
            raise AlreadyOpen(
                f"Another process uses {self.what}: stop the bot first, with every process of it."
            )
        raise AlreadyOpen(
            f"A command that needs the bot stopped uses {self.what} (move, restore-keys or rotate-key); start"
            " again when it has ended."
        )

    async def _let_others_write(self, connection: AsyncConnection) -> None:
        if connection.invalidated:  # the connection was lost, and with it the lock
            return
        try:
            async with connection.begin():
                await connection.execute(_lock("pg_advisory_unlock"))
        except BaseException:
            await connection.invalidate()  # so that the server releases the lock
            raise

    def engine(self, connections: int, isolation: Any, *, limit_s: float | None = None) -> AsyncEngine:
        """Return a pool of connections that can write, apart from the writer's.

        Args:
            connections: Size of the pool.
            isolation: Isolation level of each transaction.
            limit_s: Longest wait for a connection and for each statement, seconds; None: a minute or two.
        """
        return self._engine_with(connections, SETTINGS, isolation, limit_s)

    @property
    def _engine(self) -> AsyncEngine:
        assert self._writing is not None, "open() comes first"
        return self._writing

    def _open_reading(self, connections: int) -> AsyncEngine:
        engine = self._taking_part(self._engine_with(connections, READER_SETTINGS, "REPEATABLE READ"))
        for check in self._checks:
            event.listen(engine.sync_engine, "begin", check)
        return engine

    def _engine_with(
        self, connections: int, settings: dict[str, str], isolation: Any, limit_s: float | None = None
    ) -> AsyncEngine:
        limits = {} if limit_s is None else {"timeout": limit_s, "command_timeout": limit_s}
        arguments = {"command_timeout": COMMAND_TIMEOUT_S, **limits, **self._arguments}
        wait_s = limit_s or POOL_WAIT_S
        return _open_engine(self._url, connections, settings | self._settings, isolation, arguments, wait_s)


class PostgresBulkReader(Reader):
    """Reads on its own connection, and runs other blocking work in its own thread."""

    def __init__(self, engine: AsyncEngine, what: str) -> None:
        super().__init__(engine, what)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="storage-bulk")

    async def run_in_thread(self, work: Callable[[], T]) -> T:
        """Run other blocking work in the thread."""
        return await asyncio.wrap_future(self._thread.submit(work))

    async def close(self) -> None:
        """Finish running queries, then close the connection."""
        await super().close()
        self._thread.shutdown()


def _open_engine(
    url: URL,
    connections: int,
    settings: dict[str, str],
    isolation: Any,
    arguments: dict[str, Any],
    wait_s: float,
) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_pre_ping=True,  # reconnect after a restart of the server instead of failing once
        hide_parameters=True,
        isolation_level=isolation,
        pool_timeout=wait_s,
        connect_args={"server_settings": settings, **arguments},
    )
    event.listen(engine.sync_engine, "connect", _check_settings)
    if settings.get(READ_ONLY) != "on":
        event.listen(engine.sync_engine, "connect", _refuse_read_only)
    return engine


def _refuse_read_only(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("SHOW transaction_read_only")
    (found,) = cursor.fetchone()
    cursor.close()
    if found != "off":
        raise DatabaseFailed(
            "Expected a PostgreSQL database that can be written to, found a read-only one: a standby, or one "
            f"with {READ_ONLY} = on. Use the address of the primary server, or change that setting."
        )


def _check_settings(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    _refuse_pooler(connection, cursor)
    for name, wanted in EXPECTED.items():
        cursor.execute(f"SHOW {name}")
        (found,) = cursor.fetchone()
        if found != wanted:
            raise DatabaseFailed(
                f"Expected the PostgreSQL setting {name} = {wanted}, found {found}: acknowledged changes "
                "could be lost. Change it on the server."
            )
    cursor.close()


def _refuse_pooler(connection: Any, cursor: Any) -> None:
    """Compare with what a direct connection was told at log-in: the server's process, and our settings.

    Raises:
        DatabaseFailed: A pooler answered the log-in.
    """
    cursor.execute("SELECT pg_backend_pid(), current_setting('lock_timeout')")
    process, lock_timeout = cursor.fetchone()
    if process != connection.driver_connection.get_server_pid() or lock_timeout != LOCK_TIMEOUT_SHOWN:
        raise DatabaseFailed(
            "Expected a direct connection to PostgreSQL, found a connection pooler: locks, settings and "
            "notifications do not last there. Use the server's direct address in [storage]."
        )


def _is_bound(connection: Connection) -> bool:
    if not inspect(connection).has_table(origin.name):
        return False
    return connection.execute(select(origin.c.key_check)).first() is not None


def _be_the_only_writer(connection: Connection) -> None:
    connection.execute(_lock("pg_advisory_xact_lock"))


def _lock(function: str) -> Any:
    return text(f"SELECT {function}({ADVISORY}, {WRITING})")
