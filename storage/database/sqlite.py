"""SQLite backend: opens files with verified pragmas, a process lock, and a check for damage.

It uses SQLAlchemy's async engine over aiosqlite, one thread per connection. SQLite before 3.51.3 can lose a
commit when two connections reset the write-ahead log at once. Therefore ``data.db`` has one connection that
writes and checkpoints, readers that can do neither, and a lock that keeps other processes out. ``keys.db``
(:mod:`storage.keys.key_store`) has no write-ahead log.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from storage.database.backend import (
    LIBRARY_ERRORS,
    LOG_WAIT_S,
    READ_CONNECTIONS,
    NoBoard,
    Reader,
    translated_errors,
)
from storage.database.peers import NoPeers
from storage.database.replacing import followed, settle
from storage.errors import AlreadyOpen, DatabaseDamaged, DatabaseFailed, StorageError

T = TypeVar("T")

FILE = "data.db"
BUSY_TIMEOUT_S = 5.0

PRAGMAS: dict[str, str | int] = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL: a commit is on disk before it is acknowledged
    "secure_delete": 1,  # deleted bytes are overwritten, not just unlinked
    "foreign_keys": 1,
    "temp_store": 2,  # nothing spills into temporary files
}
# Only the writer checkpoints.
READER_PRAGMAS = PRAGMAS | {"query_only": 1, "wal_autocheckpoint": 0}


class SqliteBackend:
    """``data.db`` in a folder that one process at a time may use."""

    what = FILE

    def __init__(self, folder: Path, read_connections: int = READ_CONNECTIONS) -> None:
        self._folder = folder
        self._read_connections = read_connections
        self._path = followed(folder / FILE)
        self.files = (self._path, self._path.with_name(f"{self._path.name}-wal"))

    async def open(self, stack: AsyncExitStack) -> None:
        """Lock the folder, and settle a restore that was killed.

        Raises:
            AlreadyOpen: Another process, or another store of this process, holds the lock.
            StorageError: The folder cannot be created or written to.
        """
        stack.enter_context(folder_lock(self._folder))
        settle(self._path)

    async def has_data(self) -> bool:
        """Return whether the file exists and is not empty."""
        return self._path.exists() and self._path.stat().st_size > 0

    async def connect_writer(self, stack: AsyncExitStack) -> AsyncConnection:
        """Check the file, and open the only connection that writes and checkpoints.

        Reads every page once.

        Raises:
            DatabaseDamaged: The file is damaged or not a database.
            DatabaseFailed: The file cannot be written to.
        """
        try:
            engine = open_engine(self._path, connections=1, begin="BEGIN IMMEDIATE")
        except OSError as exc:
            raise DatabaseFailed(f"Cannot write to {self._path} ({exc}); check its permissions.") from exc
        stack.push_async_callback(engine.dispose)
        with translated_errors(str(self._path)):
            connection = await stack.enter_async_context(engine.connect())
            await connection.run_sync(check_sound, str(self._path))
        return connection

    def reader(self) -> Reader:
        """Return a pool of connections that neither write nor checkpoint."""
        return open_reader(self._path, self._read_connections)

    def bulk_reader(self) -> SqliteBulkReader:
        """Return a reader in its own thread."""
        return SqliteBulkReader(self._path)

    def peers(self) -> NoPeers:
        """Return no peers: the folder belongs to this process."""
        return NoPeers()

    def board(self) -> NoBoard:
        """Return no board: the folder belongs to this process."""
        return NoBoard()

    def before_using(self, hook: Callable[[Connection], None]) -> None:
        """Do nothing: there are no other writers."""

    def before_writing(self, hook: Callable[[Connection], None]) -> None:
        """Do nothing: there are no other writers."""

    @asynccontextmanager
    async def alone(self, connection: AsyncConnection) -> AsyncGenerator[None]:
        """Do nothing: the folder belongs to this process, and it has one writer."""
        yield

    def empty_log(self, connection: Connection, wait_s: float = LOG_WAIT_S) -> bool:
        """Empty the write-ahead log; see :func:`empty_log`."""
        return empty_log(connection, wait_s)


class SqliteBulkReader:
    """Runs queries of many rows in its own thread, on a plain connection that cannot write.

    aiosqlite passes every step of a query between threads and builds its rows on the event loop. That suits a
    few rows; for thousands it costs many times the reading itself.
    """

    def __init__(self, path: Path) -> None:
        self._what = path.name
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="storage-bulk")
        self._engine = create_engine(
            URL.create("sqlite+pysqlite", database=str(path)),
            pool_size=1,
            max_overflow=0,
            hide_parameters=True,
            connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
        )
        _register_events(self._engine, READER_PRAGMAS, "BEGIN")

    async def run(self, query: Callable[[Connection], T]) -> T:
        """Run ``query`` in one transaction, on a consistent snapshot.

        Raises:
            DatabaseFailed: The database refused.
        """

        def work() -> T:
            with translated_errors(self._what), self._engine.connect() as connection:
                return query(connection)

        return await self.run_in_thread(work)

    async def run_in_thread(self, work: Callable[[], T]) -> T:
        """Run other blocking work in the same thread."""
        return await asyncio.wrap_future(self._thread.submit(work))

    async def close(self) -> None:
        """Finish running queries, then close the connection."""
        await self.run_in_thread(self._engine.dispose)
        self._thread.shutdown()


def open_reader(path: Path, connections: int = READ_CONNECTIONS) -> Reader:
    """Return a pool of connections to ``path`` that neither write nor checkpoint."""
    engine = open_engine(path, connections=connections, begin="BEGIN", pragmas=READER_PRAGMAS)
    return Reader(engine, path.name)


def open_engine(
    path: Path,
    *,
    connections: int,
    begin: Literal["BEGIN", "BEGIN IMMEDIATE"],
    pragmas: Mapping[str, str | int] = PRAGMAS,
) -> AsyncEngine:
    """Return an engine that sets and verifies the pragmas on every connection.

    Args:
        path: The database file; created with mode 0600 if absent.
        connections: Size of the pool.
        begin: ``BEGIN IMMEDIATE`` takes the write lock at once, for a connection that always writes.
        pragmas: Name -> value; looked up at each connect.
    """
    # At level DEBUG, aiosqlite logs every statement with its values.
    logging.getLogger("aiosqlite").setLevel(logging.INFO)
    if "query_only" not in pragmas:
        path.touch(mode=0o600)
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        pool_size=connections,
        max_overflow=0,
        hide_parameters=True,
        connect_args={"timeout": BUSY_TIMEOUT_S},
    )
    _register_events(engine.sync_engine, pragmas, begin)
    return engine


def _register_events(engine: Engine, pragmas: Mapping[str, str | int], begin: str) -> None:
    """Set the pragmas on every new connection, and begin every transaction explicitly."""

    def prepare(connection: Any, _record: object) -> None:
        try:
            _set_pragmas(connection, pragmas)
        except BaseException:
            connection.close()  # an open connection's thread would keep the process alive
            raise

    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", start)
    event.listen(engine, "checkin", _roll_back_unfinished)


def _roll_back_unfinished(connection: Any, record: Any) -> None:
    """Roll back a transaction whose commit failed; SQLAlchemy believes that it ended.

    Otherwise the connection would keep its locks, and the next user of it could not begin.
    """
    if connection is None:  # it was invalidated
        return
    try:
        if record.driver_connection.in_transaction:
            connection.rollback()
    except LIBRARY_ERRORS:
        record.invalidate()


def _set_pragmas(connection: Any, pragmas: Mapping[str, str | int]) -> None:
    connection.isolation_level = None  # the engine sends BEGIN, so that DDL and savepoints are covered
    cursor = connection.cursor()
    for name, wanted in pragmas.items():
        cursor.execute(f"PRAGMA {name} = {wanted}")
        cursor.execute(f"PRAGMA {name}")
        (found,) = cursor.fetchone()
        if found != wanted:
            raise DatabaseFailed(
                f"Expected PRAGMA {name} = {wanted}, found {found}; use another SQLite build."
            )
    cursor.close()


def pragma(connection: Connection, text: str) -> tuple[Any, ...]:
    """Run one pragma outside of any transaction and return its first row."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(f"PRAGMA {text}")
        return tuple(cursor.fetchone() or ())
    finally:
        cursor.close()


def check_sound(connection: Connection, what: str) -> None:
    """Check the database by reading every page once.

    Raises:
        DatabaseDamaged: SQLite found damage.
    """
    (verdict,) = pragma(connection, "quick_check(1)")
    if verdict != "ok":
        raise DatabaseDamaged(f"{what} is damaged ({verdict}); restore it from a backup.")


def empty_log(connection: Connection, wait_s: float = LOG_WAIT_S) -> bool:
    """Move the write-ahead log into the database and truncate it, so that it holds no old page.

    Args:
        connection: The writer's.
        wait_s: Longest wait for other readers, seconds.

    Returns:
        Whether the log is empty; False when another program reads it for longer than ``wait_s``, or the disk
        refuses.
    """
    pragma(connection, f"busy_timeout = {round(wait_s * 1000)}")
    try:
        (busy, *_) = pragma(connection, "wal_checkpoint(TRUNCATE)")
    except sqlite3.Error:
        busy = True
    pragma(connection, f"busy_timeout = {round(BUSY_TIMEOUT_S * 1000)}")
    return not busy


@asynccontextmanager
async def opening_lock(folder: Path) -> AsyncGenerator[None]:
    """Allow one process at a time to create or upgrade the files of a shared folder."""
    import fcntl  # POSIX only; imported here, so that a command on another system says what is missing

    handle = os.open(folder, os.O_RDONLY)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(0.02)
        yield
    finally:
        os.close(handle)


@contextmanager
def folder_lock(folder: Path) -> Generator[None]:
    """Lock the folder for this process; the operating system releases the lock when the process ends.

    Raises:
        AlreadyOpen: Another process, or another store of this process, holds the lock.
        StorageError: The folder or its lock file cannot be created.
    """
    import fcntl

    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(folder / "data.lock", os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as exc:
        raise StorageError(
            f"Cannot write to the folder {folder} ({exc.strerror}); check its permissions."
        ) from exc
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as exc:
        raise AlreadyOpen(f"Another process uses {folder}; stop it first, or use another folder.") from exc
    finally:
        os.close(handle)
