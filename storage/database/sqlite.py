"""SQLite files, opened safely: pragmas set and read back, a process lock, a check for damage.

SQLAlchemy's async engine over aiosqlite, one thread per connection. SQLite before 3.51.3 can lose a commit
when two connections reset the write-ahead log at once, so ``data.db`` has one connection that writes and
checkpoints, readers that can do neither, and a lock that keeps other processes out. ``keys.db``
(:mod:`storage.keys.key_store`) has no write-ahead log at all.
"""

from __future__ import annotations

import asyncio
import fcntl
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

from storage.database.backend import LOG_WAIT_S, READ_CONNECTIONS, Reader, translated_errors
from storage.database.peers import NoPeers
from storage.errors import AlreadyOpen, DatabaseDamaged, DatabaseFailed, StorageError

T = TypeVar("T")

FILE = "data.db"
BUSY_TIMEOUT_S = 5.0

PRAGMAS: dict[str, str | int] = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL: a commit is on the disk before it is acknowledged
    "secure_delete": 1,  # deleted bytes are overwritten, not just unlinked
    "foreign_keys": 1,
    "temp_store": 2,  # nothing spills into temporary files
}
# Only the writer checkpoints.
READER_PRAGMAS = PRAGMAS | {"query_only": 1, "wal_autocheckpoint": 0}


class SqliteBackend:
    """``data.db`` in a folder that one process at a time may use."""

    what = FILE

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / FILE
        self.files = (self._path, folder / f"{FILE}-wal")

    async def open(self, stack: AsyncExitStack) -> None:
        """Hold the folder.

        Raises:
            AlreadyOpen: Another process, or another store of this one, holds it.
            StorageError: The folder cannot be made or written to.
        """
        stack.enter_context(folder_lock(self._folder))

    async def has_data(self) -> bool:
        """Whether the file is there and not empty."""
        return self._path.exists() and self._path.stat().st_size > 0

    async def connect_writer(self, stack: AsyncExitStack) -> AsyncConnection:
        """Open the only connection that writes and checkpoints, after reading every page once.

        Raises:
            DatabaseDamaged: The file is not a sound database.
            DatabaseFailed: The file cannot be written to.
        """
        try:
            engine = open_engine(self._path, connections=1, begin="BEGIN IMMEDIATE")
        except OSError as exc:
            raise DatabaseFailed(f"Expected to write to {self._path}: {exc}.") from exc
        stack.push_async_callback(engine.dispose)
        with translated_errors(str(self._path)):
            connection = await stack.enter_async_context(engine.connect())
            await connection.run_sync(check_sound, str(self._path))
        return connection

    def reader(self) -> Reader:
        """A pool of connections that neither write nor checkpoint."""
        return open_reader(self._path)

    def bulk_reader(self) -> SqliteBulkReader:
        """A reader in a thread of its own."""
        return SqliteBulkReader(self._path)

    def peers(self) -> NoPeers:
        """None: the folder is this process's."""
        return NoPeers()

    def before_writing(self, hook: Callable[[Connection], None]) -> None:
        """Nothing to do: nobody else writes."""

    @asynccontextmanager
    async def alone(self, connection: AsyncConnection) -> AsyncGenerator[None]:
        """Nothing to do: the folder is this process's, and there is one writer in it."""
        yield

    def empty_log(self, connection: Connection, wait_s: float = LOG_WAIT_S) -> bool:
        """See :func:`empty_log`."""
        return empty_log(connection, wait_s)


class SqliteBulkReader:
    """Runs queries of many rows in a thread of its own, on a plain connection that cannot write.

    aiosqlite passes every step of a query from thread to thread and makes its rows on the event loop; that
    suits a few rows and costs many times the reading of thousands.
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
        """Run ``query`` in one transaction, so that it sees one state of the data.

        Raises:
            DatabaseFailed: The database refused.
        """

        def work() -> T:
            with translated_errors(self._what), self._engine.connect() as connection:
                return query(connection)

        return await self.run_in_thread(work)

    async def run_in_thread(self, work: Callable[[], T]) -> T:
        """Do other blocking work in the same thread."""
        return await asyncio.wrap_future(self._thread.submit(work))

    async def close(self) -> None:
        """Finish what runs, then close the connection."""
        await self.run_in_thread(self._engine.dispose)
        self._thread.shutdown()


def open_reader(path: Path) -> Reader:
    """A pool of connections to ``path`` that neither write nor checkpoint."""
    engine = open_engine(path, connections=READ_CONNECTIONS, begin="BEGIN", pragmas=READER_PRAGMAS)
    return Reader(engine, path.name)


def open_engine(
    path: Path,
    *,
    connections: int,
    begin: Literal["BEGIN", "BEGIN IMMEDIATE"],
    pragmas: Mapping[str, str | int] = PRAGMAS,
) -> AsyncEngine:
    """An engine whose every connection has the pragmas, read back.

    Args:
        path: The database file; made with mode 0600 if absent.
        connections: Most connections at once.
        begin: ``IMMEDIATE`` takes the write lock at once, for a connection that always writes.
        pragmas: Name -> value; looked up at each connect.
    """
    # At DEBUG aiosqlite logs every statement with its values.
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
    """Have every connection set its pragmas, and every transaction say its own BEGIN."""

    def prepare(connection: Any, _record: object) -> None:
        try:
            _set_pragmas(connection, pragmas)
        except BaseException:
            connection.close()  # its thread would keep the process alive
            raise

    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", start)


def _set_pragmas(connection: Any, pragmas: Mapping[str, str | int]) -> None:
    connection.isolation_level = None  # the engine says BEGIN itself, so that DDL and savepoints are covered
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
    """Read every page once.

    Raises:
        DatabaseDamaged: SQLite found a fault.
    """
    (verdict,) = pragma(connection, "quick_check(1)")
    if verdict != "ok":
        raise DatabaseDamaged(f"{what} is damaged ({verdict}); restore it from a backup.")


def empty_log(connection: Connection, wait_s: float = LOG_WAIT_S) -> bool:
    """Move the write-ahead log into the database and cut it to nothing, so that no old page is left in it.

    Returns:
        Whether it is empty now; False when another program reads it for longer than ``wait_s`` seconds, or
        the disk refuses.
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
    """Let one process at a time make or upgrade the files of a folder that several use."""
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
    """Hold the folder for this process; the operating system lets go of it when the process ends.

    Raises:
        AlreadyOpen: Another process, or another store of this one, holds it.
        StorageError: The folder or its lock file cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(folder / "data.lock", os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as exc:
        raise StorageError(f"Expected a folder to write to at {folder}: {exc.strerror}.") from exc
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as exc:
        raise AlreadyOpen(
            f"Another process uses {folder}; stop it first, or give this one a folder of its own."
        ) from exc
    finally:
        os.close(handle)
