"""What every database offers to the rest of this package, whichever it is: SQLite or PostgreSQL.

:class:`Backend` is the small list of what differs (:mod:`storage.database.sqlite`,
:mod:`storage.database.postgres`); the schema, the migrations and all queries are the same. Queries are
plain functions over a :class:`sqlalchemy.Connection`; they run through :meth:`AsyncConnection.run_sync`,
either in the writer (:mod:`storage.database.writer`) or in a :class:`Reader` here, and those of many rows
in a :class:`BulkReader`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.database.peers import Peers
from storage.errors import DatabaseDamaged, DatabaseFailed

T = TypeVar("T")

READ_CONNECTIONS = 4
LOG_WAIT_S = 5.0
"""How long to wait for others who still read an old state, seconds."""

LIBRARY_ERRORS = (SQLAlchemyError, sqlite3.Error, OSError)
"""How a database says no. OSError: a server that cannot be reached."""

_SQLITE_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_POSTGRES_DAMAGE = {"XX001", "XX002"}


class Backend(Protocol):
    """One kind of database. Made from the settings by :func:`storage.opening.backend_of`.

    Attributes:
        what: The database in messages, without a password.
        files: Where a deleted row could leave a trace and we can look for it.
    """

    what: str
    files: tuple[Path, ...]

    async def open(self, stack: AsyncExitStack) -> None:
        """Make ready to connect; what must be closed is pushed on ``stack``.

        Raises:
            AlreadyOpen: Another process uses a database that cannot be shared.
            StorageError: A folder cannot be made or written to.
        """
        ...

    async def has_data(self) -> bool:
        """Whether somebody has used this database before."""
        ...

    async def connect_writer(self, stack: AsyncExitStack) -> AsyncConnection:
        """Open the connection for the writer; closing it is pushed on ``stack``.

        Every transaction on it is the only one that writes, in all processes, from its beginning on.

        Raises:
            DatabaseDamaged: The database is not sound.
        """
        ...

    def reader(self) -> Reader:
        """A pool of connections that cannot write."""
        ...

    def bulk_reader(self) -> BulkReader:
        """The reader for queries of many rows."""
        ...

    def peers(self) -> Peers:
        """The other processes on this database."""
        ...

    def before_writing(self, hook: Callable[[Connection], None]) -> None:
        """Call ``hook`` at the beginning of every transaction that writes, if others may have written."""
        ...

    def alone(self, connection: AsyncConnection) -> AbstractAsyncContextManager[None]:
        """Let nobody else write in any process meanwhile, also between the transactions of ``connection``."""
        ...

    def empty_log(self, connection: Connection, wait_s: float = LOG_WAIT_S) -> bool:
        """Leave no old page in the database's log, where that can be done.

        Returns:
            Whether it is done; False when another program reads it for longer than ``wait_s`` seconds.
        """
        ...


class BulkReader(Protocol):
    """Runs queries of many rows without stalling the event loop."""

    async def run(self, query: Callable[[Connection], T]) -> T:
        """Run ``query`` in one transaction, so that it sees one state of the data.

        Raises:
            DatabaseFailed: The database refused.
        """
        ...

    async def run_in_thread(self, work: Callable[[], T]) -> T:
        """Do other blocking work in a thread."""
        ...

    async def close(self) -> None:
        """Finish what runs, then close the connection."""
        ...


class Reader:
    """Runs queries on a small pool of connections that cannot write."""

    def __init__(self, engine: AsyncEngine, what: str) -> None:
        self._engine = engine
        self._what = what

    async def run(self, query: Callable[[Connection], T]) -> T:
        """Run ``query`` in one transaction, so that it sees one state of the data.

        Raises:
            DatabaseFailed: The database refused.
        """
        with translated_errors(self._what):
            async with self._engine.connect() as connection:
                return await connection.run_sync(query)

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


@contextmanager
def translated_errors(what: str) -> Generator[None]:
    """Turn the library's errors about ``what`` into this package's.

    Raises:
        DatabaseDamaged: The database says that it is corrupt or none.
        DatabaseFailed: Any other refusal, such as a full disk.
    """
    try:
        yield
    except LIBRARY_ERRORS as exc:
        raise translated(exc, what) from exc


def translated(exc: Exception, what: str) -> DatabaseFailed:
    """The error of this package that says the same, without any stored value in it."""
    cause = exc.orig if isinstance(exc, DBAPIError) and exc.orig is not None else exc
    if isinstance(cause, sqlite3.Error):
        damaged = getattr(cause, "sqlite_errorcode", 0) & 0xFF in _SQLITE_DAMAGE
        said = str(cause)
    elif state := getattr(cause, "sqlstate", None):  # PostgreSQL's own words may quote a row
        damaged = state in _POSTGRES_DAMAGE
        told = getattr(cause, "driver_exception", cause)
        said = " ".join(filter(None, (type(told).__name__, getattr(told, "constraint_name", None), state)))
    else:
        damaged = False
        said = f"{type(cause).__name__}: {cause}" if isinstance(cause, OSError) else type(cause).__name__
    if damaged:
        return DatabaseDamaged(f"{what} is damaged or no database ({said}); restore it from a backup.")
    return DatabaseFailed(
        f"{what} refused a read or write ({said}); look at free space and permissions there, and whether "
        "it can be reached."
    )


def roll_back(connection: Connection) -> None:
    """Roll back whatever is open; SQLAlchemy does not when the commit itself failed."""
    if connection.invalidated:  # it was lost, and is made anew when it is next needed
        return
    try:
        connection.connection.rollback()
    except LIBRARY_ERRORS:
        connection.invalidate()
