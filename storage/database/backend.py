"""Interface that SQLite and PostgreSQL implement, and readers on it.

:class:`Backend` lists the differences between the databases (:mod:`storage.database.sqlite`,
:mod:`storage.database.postgres`). Schema, migrations and queries are the same for both. Queries are plain
functions over a :class:`sqlalchemy.Connection`. They run through :meth:`AsyncConnection.run_sync`, in the
writer (:mod:`storage.database.writer`), in a :class:`Reader`, or for many rows in a :class:`BulkReader`.
"""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import ssl
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from enum import Enum, auto
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.database.peers import Peers
from storage.errors import DatabaseDamaged, DatabaseFailed, StorageError

T = TypeVar("T")

READ_CONNECTIONS = 4
LOG_WAIT_S = 5.0
"""Longest wait for programs that still read an old state, seconds."""

LIBRARY_ERRORS = (SQLAlchemyError, sqlite3.Error, OSError)
"""Exceptions of the database libraries. OSError: the server cannot be reached."""

_SQLITE_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_SQLITE_DAMAGE_SAID = {"unsupported file format"}
"""Damage of the header for which SQLite has no code of its own."""
_POSTGRES_DAMAGE = {"XX001", "XX002"}

_POSTGRES_ADVICE = {
    "28P01": "the password or the user is wrong; check the variable that [storage] password_env names, or"
    " key_password_env for key_url",
    "28000": "the server does not let this user in; check the user, TLS and pg_hba.conf",
    "3D000": "this database does not exist; create it, or correct its name",
    "42501": "the user lacks a right; grant it CONNECT on the database, CREATE and USAGE on the schema",
    "25006": "the server or the connection is read-only; use the primary server",
    "3F000": "the schema does not exist; create it, or correct search_path",
    "53100": "the disk of the server is full; free space there",
    "53200": "the server is out of memory",
    "53300": "the server has no free connection for this user; raise its limit or max_connections, or stop "
    "other clients",
    "55000": "the database takes no connections; allow them with ALTER DATABASE ... ALLOW_CONNECTIONS true",
    "57014": "the statement was cancelled; raise statement_timeout of this user or database, or set it to 0",
    "57P01": "the server closed the connection, as at a restart; try again in a minute",
    "57P03": "the server is starting or stopping; try again in a minute",
    "08003": "the server or a connection pooler closed the connection; use the server's direct address",
    "08P01": "the server or a connection pooler does not take our settings; use the server's direct address",
    "26000": "a prepared statement was lost, as behind a connection pooler; use the server's direct address",
}
"""What to do about PostgreSQL's SQLSTATE codes of a set-up that is wrong."""
_NO_TLS = "rejected SSL upgrade"
_CERTIFICATE_ADVICE = {
    9: "the certificate of the server is not valid yet; check the clocks of both machines",
    10: "the certificate of the server has expired; renew it there",
    62: "the certificate of the server is for another host; use its host name in [storage] url",
    64: "the certificate of the server is for another host; use its host name in [storage] url",
}
"""What to do about OpenSSL's codes of a certificate that does not pass."""


class Use(Enum):
    """How a process uses a database that other processes may use as well."""

    RUN = auto()
    """Beside other processes of the bot. A command that needs the bot stopped is refused meanwhile."""
    ALONE = auto()
    """Without any process of the bot: such a command."""
    LOOK = auto()
    """A check of the host, which runs beside both."""


class Backend(Protocol):
    """One kind of database. Created from the settings by :func:`storage.opening.backend_of`.

    Attributes:
        what: Name of the database in messages, without a password.
        files: Files in which a deleted row could leave a trace and which we can search.
    """

    what: str
    files: tuple[Path, ...]

    async def open(self, stack: AsyncExitStack) -> None:
        """Prepare for connections.

        Args:
            stack: Closes what is opened.

        Raises:
            AlreadyOpen: Another process uses a database that cannot be shared.
            StorageError: A folder cannot be created or written to.
        """
        ...

    async def has_data(self) -> bool:
        """Return whether this database was used before."""
        ...

    async def connect_writer(self, stack: AsyncExitStack) -> AsyncConnection:
        """Open the writer's connection.

        Each of its transactions is the only writing one, in all processes, from its beginning on.

        Args:
            stack: Closes the connection.

        Raises:
            DatabaseDamaged: The database is damaged.
        """
        ...

    def reader(self) -> Reader:
        """Return a pool of connections that cannot write."""
        ...

    def bulk_reader(self) -> BulkReader:
        """Return the reader for queries of many rows."""
        ...

    def peers(self) -> Peers:
        """Return the connection to the other processes on this database."""
        ...

    def board(self) -> Board:
        """Return what carries texts between the processes on this database without storing them."""
        ...

    def before_using(self, hook: Callable[[Connection], None]) -> None:
        """Call ``hook`` at the beginning of every transaction, also of readers, if others can write.

        Readers that are opened later call it.
        """
        ...

    def before_writing(self, hook: Callable[[Connection], None]) -> None:
        """Call ``hook`` at the beginning of every writing transaction, if other processes can write."""
        ...

    def alone(self, connection: AsyncConnection) -> AbstractAsyncContextManager[None]:
        """Exclude all other writers in every process, also between the transactions of ``connection``."""
        ...

    def empty_log(self, connection: Connection, wait_s: float = LOG_WAIT_S) -> bool:
        """Remove old pages from the database's log, if this process can do that.

        Args:
            connection: The writer's.
            wait_s: Longest wait for other readers, seconds.

        Returns:
            Whether the log is empty; False when another program reads it for longer than ``wait_s``.
        """
        ...


class Board(Protocol):
    """Carries short texts between processes; no table holds them."""

    async def open(
        self,
        hear: Callable[[str], None],
        to_tell: Callable[[], Sequence[str]],
        greeting: Callable[[], str],
        /,
    ) -> bool:
        """Begin to carry texts, and return whether there can be other processes.

        Args:
            hear: Called with each text, also with the own ones.
            to_tell: Returns the texts to send, after :meth:`wake`.
            greeting: Returns the first text of each connection; texts before it were missed.
        """
        ...

    def wake(self) -> None:
        """Send what is to tell, soon."""
        ...

    async def close(self) -> None:
        """Send what is to tell, then stop."""
        ...


class NoBoard:
    """Board of a database that belongs to this process alone."""

    async def open(self, *_: object) -> bool:
        """Return False: there is no other process."""
        return False

    def wake(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""


class BulkReader(Protocol):
    """Runs queries of many rows without blocking the event loop."""

    async def run(self, query: Callable[[Connection], T]) -> T:
        """Run ``query`` in one transaction, on a consistent snapshot.

        Raises:
            DatabaseFailed: The database refused.
        """
        ...

    async def run_in_thread(self, work: Callable[[], T]) -> T:
        """Run other blocking work in a thread."""
        ...

    async def close(self) -> None:
        """Finish running queries, then close the connection."""
        ...


class Reader:
    """Runs queries on a small pool of connections that cannot write."""

    def __init__(self, engine: AsyncEngine, what: str) -> None:
        self._engine = engine
        self._what = what
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, query: Callable[[Connection], T]) -> T:
        """Run ``query`` in one transaction, on a consistent snapshot.

        A caller that is cancelled leaves at once, and the query ends by itself: a cancelled query would leave
        its connection open outside of the pool.

        Raises:
            DatabaseFailed: The database refused.
        """
        task = asyncio.ensure_future(self._run(query))
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def _run(self, query: Callable[[Connection], T]) -> T:
        with translated_errors(self._what):
            async with self._engine.connect() as connection:
                return await connection.run_sync(query)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, because the caller may have left

    async def close(self) -> None:
        """Finish running queries, then close all connections."""
        if self._running:
            await asyncio.wait(self._running)
        await self._engine.dispose()


@contextmanager
def translated_errors(what: str) -> Generator[None]:
    """Translate the library's exceptions about ``what`` into errors of this package.

    Raises:
        DatabaseDamaged: The file is corrupt or not a database.
        DatabaseFailed: Any other refusal, such as a full disk.
        StorageError: Our own check of a new connection refused it.
    """
    own: StorageError | None = None
    try:
        yield
    except LIBRARY_ERRORS as exc:
        own = own_error(exc)
        if own is None:
            raise translated(exc, what) from exc
    if own is not None:
        raise own


def own_error(exc: object) -> StorageError | None:
    """Return the error of our own check of a connection that replaced a lost one, which SQLAlchemy wraps."""
    wrapped = exc.orig if isinstance(exc, StatementError) else None
    return wrapped if isinstance(wrapped, StorageError) else None


def translated(exc: Exception, what: str) -> DatabaseFailed:
    """Return this package's error for a library exception, without any stored value in it."""
    cause = exc.orig if isinstance(exc, DBAPIError) and exc.orig is not None else exc
    if isinstance(cause, sqlite3.Error):
        said = str(cause)
        damaged = (
            getattr(cause, "sqlite_errorcode", 0) & 0xFF in _SQLITE_DAMAGE or said in _SQLITE_DAMAGE_SAID
        )
    elif state := getattr(cause, "sqlstate", None):  # PostgreSQL's own message may quote a row
        damaged = state in _POSTGRES_DAMAGE
        told = getattr(cause, "driver_exception", cause)
        said = " ".join(filter(None, (type(told).__name__, getattr(told, "constraint_name", None), state)))
    else:
        damaged = False
        said = f"{type(cause).__name__}: {cause}" if isinstance(cause, OSError) else type(cause).__name__
    if damaged:
        return DatabaseDamaged(f"{what} is damaged or not a database ({said}); restore it from a backup.")
    return DatabaseFailed(f"{what} refused a read or write ({said}); {_advice_on(cause)}.")


def _advice_on(cause: BaseException) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _CERTIFICATE_ADVICE.get(
            cause.verify_code, "no authority in sslrootcert vouches for the server; check that file"
        )
    if isinstance(cause, ssl.SSLError):
        return "TLS failed; check sslmode, and the files of sslrootcert, sslcert and sslkey"
    if isinstance(cause, ConnectionError) and _NO_TLS in str(cause):
        return "the server offers no TLS; switch it on there, or change sslmode"
    if isinstance(cause, ConnectionError | TimeoutError | FileNotFoundError | socket.gaierror):
        return "check that the server runs, and its host, port and sslmode"
    if "target attribute requirement" in str(cause):
        return "no server of the address fits target_session_attrs; use the primary server"
    return _POSTGRES_ADVICE.get(
        str(getattr(cause, "sqlstate", "")), "check free space, permissions and the connection"
    )


def roll_back(connection: Connection) -> None:
    """Roll back the open transaction; SQLAlchemy does not when the commit itself failed."""
    if connection.invalidated:  # the connection was lost; SQLAlchemy reconnects on next use
        return
    try:
        connection.connection.rollback()
    except LIBRARY_ERRORS:
        connection.invalidate()
