"""Place of the key store and the erasure ledger: the interface that both kinds implement.

:mod:`storage.keys.key_files` keeps them as two files in a folder, for the processes of one host.
:mod:`storage.keys.key_database` keeps them as tables of a PostgreSQL database, for several hosts. Tables and
queries are the same in both. Queries run inside :meth:`AsyncConnection.run_sync`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.database.backend import translated_errors
from storage.database.sqlite import check_sound, pragma
from storage.errors import DatabaseNewer

T = TypeVar("T")

SERVER = "postgresql"
"""Name of PostgreSQL in SQLAlchemy. SQLite stores the version of a file in its header instead."""
versions = Table(
    "key_schema",
    MetaData(),
    Column("part", String, primary_key=True),
    Column("version", Integer, nullable=False),
)


class Part:
    """The key store or the erasure ledger in its place.

    Args:
        engine: Source of connections.
        what: Its name in messages.
    """

    def __init__(self, engine: AsyncEngine, what: str) -> None:
        self.engine, self.what = engine, what

    @contextmanager
    def connected(self) -> Generator[Connection]:
        """Yield a connection, inside :meth:`AsyncConnection.run_sync`.

        Commits are the caller's; without one, the transaction is rolled back.

        Raises:
            DatabaseFailed: It refused; the message names this part, not the data.
        """
        with translated_errors(self.what), self.engine.sync_engine.connect() as connection:
            yield connection

    async def ask(self) -> None:
        """Find out whether a server answers, before a lock is held that others wait for. Files always do."""

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in one transaction, and commit it.

        Raises:
            DatabaseFailed: It refused.
        """
        with translated_errors(self.what):
            async with self.engine.begin() as connection:
                return await connection.run_sync(work)


class KeyPlace(Protocol):
    """One kind of place. Created from the settings by :func:`storage.keys.key_store.place_of`.

    Attributes:
        what: Name of the key store in messages.
        files: Files in which a destroyed key could leave a trace, and which we can search.
    """

    what: str
    files: tuple[Path, ...]

    async def is_there(self) -> bool:
        """Return whether it holds a key store.

        Raises:
            DatabaseFailed: The server cannot be reached.
        """
        ...

    def opening(self) -> AbstractAsyncContextManager[None]:
        """Exclude other processes that create or upgrade the parts, and prepare the place.

        Raises:
            DatabaseFailed: The place refuses.
            StorageError: The place must not hold the keys of these data.
        """
        ...

    def open_keys(self, stack: AsyncExitStack) -> Part:
        """Open the key store, or create an empty one. Inside :meth:`opening`.

        Args:
            stack: Closes it.

        Raises:
            DatabaseFailed: The place cannot be written to.
            KeyUnreadable: Other users may read the file.
        """
        ...

    def open_ledger(self, stack: AsyncExitStack) -> Part:
        """Open the erasure ledger; as :meth:`open_keys`."""
        ...


def lock_for_writing(connection: Connection, table: Table) -> None:
    """Begin a writing transaction; no other writes to this part until its end. Call it before any read.

    SQLite rejects a transaction that reads first and writes later. On PostgreSQL the snapshot of the
    transaction begins with its first read, so that it includes everything written before the lock.
    """
    if connection.dialect.name == SERVER:
        connection.execute(text(f"LOCK TABLE {table.name} IN SHARE ROW EXCLUSIVE MODE"))
        return
    (key,) = table.primary_key
    connection.execute(update(table).values({key: key}))


def add_missing(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; one whose key is there already stays as it is."""
    if rows:
        dialect: Any = postgresql if connection.dialect.name == SERVER else sqlite
        connection.execute(dialect.insert(table).on_conflict_do_nothing(), list(rows))


def check_version(connection: Connection, part: str, newest: int, what: str) -> int:
    """Check the version of a part, on SQLite also every page; return it, 0 for a new part.

    Raises:
        DatabaseDamaged: The file is damaged or not a database.
        DatabaseNewer: A newer version wrote it.
    """
    if connection.dialect.name == SERVER:
        written = select(versions.c.version).where(versions.c.part == part)
        is_new = not inspect(connection).has_table(versions.name)
        version = 0 if is_new else connection.execute(written).scalar() or 0
    else:
        check_sound(connection, what)
        (version,) = pragma(connection, "user_version")
    if version > newest:
        raise DatabaseNewer(
            f"{what} has schema {version}, and this version supports up to {newest}; run the version of "
            "Simpatico that wrote it, or a later one."
        )
    return version


def put_version(connection: Connection, part: str, version: int) -> None:
    """Store the version of a part whose tables were created or changed."""
    if connection.dialect.name != SERVER:
        connection.exec_driver_sql(f"PRAGMA user_version = {version}")
        return
    versions.create(connection, checkfirst=True)
    changed = update(versions).where(versions.c.part == part).values(version=version)
    if not connection.execute(changed).rowcount:
        connection.execute(insert(versions).values(part=part, version=version))
