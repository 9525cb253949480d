"""Opens the database: chooses the backend, checks and migrates the data, and checks that the keys match."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial

from sqlalchemy import Connection, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database.backend import Backend, Use, translated_errors
from storage.database.migrations import upgrade
from storage.database.notes import note_of
from storage.database.schema import origin
from storage.database.sqlite import FILE, SqliteBackend
from storage.errors import KeyUnreadable, StorageError, StoreMissing
from storage.keys.key_files import KEYS
from storage.keys.key_store import KeyStore
from storage.settings import StorageSettings

_CHECKED = "simpatico: in use"
MOVED, MOVING = "moved to", "moving"
"""Notes about a move: moved data say where to; data that are not complete yet say whose they are."""
KEYS_CHANGED = "keys changed"
"""Note that each command which replaces keys renews: processes from before it must start again."""


def backend_of(settings: StorageSettings, use: Use = Use.RUN) -> Backend:
    """Return the backend that the settings name.

    Args:
        settings: Location of the data.
        use: What for. SQLite always keeps every other process out.

    Raises:
        StorageError: ``url`` is not an address of PostgreSQL, or holds a password.
    """
    if not settings.url:
        return SqliteBackend(settings.data_dir, settings.read_connections)
    from storage.database.postgres import PostgresBackend  # so that SQLite does not load asyncpg

    return PostgresBackend(
        settings.url,
        settings.password_env,
        read_connections=settings.read_connections,
        use=use,
    )


async def require_data(settings: StorageSettings) -> None:
    """Check that the database holds data, without creating a file.

    Raises:
        StoreMissing: It holds none.
        DatabaseFailed: The server cannot be reached.
    """
    async with AsyncExitStack() as stack:
        backend = backend_of(settings)
        if settings.url:  # on SQLite, opening would create the folder and its lock
            await backend.open(stack)
        if await backend.has_data():
            return
    raise StoreMissing(
        f"Expected data in {backend.what if settings.url else settings.data_dir.absolute()}, found none: "
        "this command creates no store. Run it in the folder of the bot, or name its config.toml with "
        "--config."
    )


def require_store(settings: StorageSettings) -> None:
    """Check that files of a store exist where the settings name them, without creating one.

    Raises:
        StoreMissing: There is neither a key store nor, on SQLite, a database.
    """
    if (settings.key_dir / KEYS).exists() or (not settings.url and (settings.data_dir / FILE).exists()):
        return
    if settings.url and settings.key_url:  # both are on servers: the command itself looks there
        return
    where = "" if settings.url else f"in {settings.data_dir.absolute()}, or "
    raise StoreMissing(
        f"Expected a store {where}with its keys in {settings.key_dir.absolute()}, found none: this command "
        "creates no store. Run it in the folder of the bot, or name its config.toml with --config."
    )


def require_in_use(connection: Connection, what: str) -> None:
    """Check that these data were not moved, and are not half of a move.

    Raises:
        StorageError: They are.
    """
    if (place := note_of(connection, MOVED)) is not None:
        raise StorageError(
            f"The data in {what} were moved to {place}; set [storage] url in config.toml accordingly."
        )
    if note_of(connection, MOVING) is not None:
        raise StorageError(f"A move to {what} was interrupted; repeat `simpatico move`, with the old url.")


async def open_data(backend: Backend, keys: KeyStore, stack: AsyncExitStack) -> AsyncConnection:
    """Return the writer's connection to checked and migrated data.

    Args:
        backend: The database.
        keys: The key store that the data must belong to.
        stack: Closes the connection.

    Raises:
        DatabaseDamaged: The database is damaged.
        DatabaseNewer: The database was written by a newer version.
        DatabaseFailed: The database cannot be written to.
        KeyUnreadable: The database belongs to other keys.
    """
    connection = await backend.connect_writer(stack)
    with translated_errors(backend.what):
        async with connection.begin():
            await connection.run_sync(upgrade)
            await connection.run_sync(partial(_bind, keys=keys, what=backend.what))
            await connection.run_sync(require_in_use, backend.what)
            known = await connection.run_sync(note_of, KEYS_CHANGED)
    backend.before_using(partial(_require_in_use_again, keys=keys, known=known, what=backend.what))
    return connection


def _require_in_use_again(connection: Connection, *, keys: KeyStore, known: str | None, what: str) -> None:
    """Check a connection that replaced a lost one, before its first use: data or keys may be others.

    Raises:
        KeyUnreadable: A command replaced the keys meanwhile, or the data belong to other keys now.
        StorageError: The data were moved meanwhile.
    """
    if _CHECKED not in connection.info:
        require_in_use(connection, what)
        _bind(connection, keys=keys, what=what)
        if note_of(connection, KEYS_CHANGED) != known:
            raise KeyUnreadable(f"A command replaced the keys of {what} while this process ran; start again.")
        connection.info[_CHECKED] = True


def _bind(connection: Connection, *, keys: KeyStore, what: str) -> None:
    """Write the check value of the keys into a new database, and compare it in an existing one."""
    expected = keys.pseudonyms.check()
    found = connection.execute(select(origin.c.key_check)).scalar()
    if found is None:
        connection.execute(insert(origin).values(id=1, key_check=expected, last_number=0))
    elif found != expected:
        raise KeyUnreadable(
            f"{what} was written under other keys than those of the key store; restore the two as a pair."
        )
