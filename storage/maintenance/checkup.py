"""Read-only checks of data and keys for ``simpatico doctor``.

Opening the store would create missing files, migrate, and finish erasures. Here every file is opened
read-only. A SQLite database that a running bot holds is not touched, because a second process must not open
it (:mod:`storage.database.sqlite`).
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, NullPool, create_engine, select, text

from storage.database.backend import Use, translated_errors
from storage.database.migrations import pending, revisions
from storage.database.notes import note_of
from storage.database.schema import origin
from storage.database.sqlite import FILE, folder_lock, pragma
from storage.errors import (
    DatabaseDamaged,
    DatabaseFailed,
    DatabaseNewer,
    KeyMissing,
    KeyUnreadable,
    LedgerBehind,
)
from storage.keys import erasure_ledger as ledger
from storage.keys import wrapping as wrapped_keys
from storage.keys.key_database import KeyDatabase
from storage.keys.key_files import KEYS, LEDGER
from storage.keys.key_place import check_version
from storage.keys.master_key import KEY_FILE
from storage.keys.pseudonyms import Pseudonyms
from storage.keys.wrapping import Wrapping
from storage.maintenance import audit_trail
from storage.opening import backend_of
from storage.privacy.erasure_scopes import LEDGER_NOTE
from storage.settings import StorageSettings
from storage.wording import counted


class Keys(NamedTuple):
    """Result of opening the key store.

    Attributes:
        check: Check value that a matching database contains.
        erasures: Number of changes of the erasure ledger beside it.
    """

    check: bytes
    erasures: int


def files_in_use(settings: StorageSettings) -> list[Path]:
    """Return our existing files and folders."""
    files = [settings.key_dir / name for name in (KEYS, LEDGER, KEY_FILE, audit_trail.TIP)]
    files.append(settings.data_dir / audit_trail.FILE)
    if not settings.url:
        files.append(settings.data_dir / FILE)
    return [path for path in (*{path.parent for path in files}, *files) if path.exists()]


def not_ours(settings: StorageSettings) -> list[Path]:
    """Return files that belong to another user of this machine, which prevents writing.

    The root of a volume may belong to another user and be writable by its group, as in Kubernetes.
    """
    return [
        path for path in files_in_use(settings) if path.stat().st_uid != os.geteuid() and not _is_open(path)
    ]


def _is_open(path: Path) -> bool:
    return os.geteuid() != 0 and path.is_dir() and os.access(path, os.W_OK | os.X_OK)


def open_to_others(settings: StorageSettings) -> list[Path]:
    """Return files that other users of this machine may read."""
    return [
        path
        for path in files_in_use(settings)
        if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]


async def check_keys(settings: StorageSettings) -> Keys | None:
    """Open the key store with the master key; return None if there is none yet.

    Raises:
        KeyMissing: A key store exists, but no master key, or one of its own keys is missing.
        KeyUnreadable: The master key is malformed, readable by other users, or the wrong one.
        DatabaseDamaged: A file is damaged or not a database.
        DatabaseNewer: A newer version wrote it.
        DatabaseFailed: A file cannot be read, or the server cannot be reached.
        StorageError: The place must not hold the keys of these data.
    """
    if not settings.key_url:
        return await asyncio.to_thread(check_key_files, settings)
    place = KeyDatabase(settings)
    await place.require_apart()
    place.require_no_files()
    async with AsyncExitStack() as stack:
        part = place.open_keys(stack)
        if not await place.is_there():
            await part.run(partial(_check_rights, what=place.what))
            return None
        found = await asyncio.to_thread(Wrapping, settings, place.what, may_make=False)
        return await part.run(partial(_opened_keys, wrapping=found, what=place.what))


def check_key_files(settings: StorageSettings) -> Keys | None:
    """Do the work of :func:`check_keys` for files. Blocks while every page of both is read.

    Raises:
        StorageError: As there.
    """
    path = settings.key_dir / KEYS
    if not _has_content(path):
        return None
    found = Wrapping(settings, str(path), may_make=False)
    with _sound(path, newest=wrapped_keys.SCHEMA) as connection:
        check = _check_value(found.system(connection), str(path))
    return Keys(check, _ledger_changes(path.with_name(LEDGER)))


def _opened_keys(connection: Connection, wrapping: Wrapping, what: str) -> Keys:
    for part, newest in ((wrapped_keys.PART, wrapped_keys.SCHEMA), (ledger.PART, ledger.SCHEMA)):
        check_version(connection, part, newest, what)
    check = _check_value(wrapping.system(connection), what)
    return Keys(check, connection.execute(select(ledger.ledger_origin.c.changes)).scalar() or 0)


def _check_value(opened: dict[str, bytes], what: str) -> bytes:
    if missing := {"pseudonym", "system"} - opened.keys():
        raise KeyMissing(f"{what} lacks its keys {sorted(missing)}; restore it from its backup.")
    return Pseudonyms(opened["pseudonym"]).check()


async def check_database(settings: StorageSettings, found: Keys | None) -> str:
    """Check the database and that it belongs to these keys; return its state in words.

    Args:
        settings: Location of the database.
        found: Result of :func:`check_keys`.

    Raises:
        AlreadyOpen: A running bot holds it.
        KeyMissing: It holds data, and there are no keys.
        KeyUnreadable: It was written under other keys.
        LedgerBehind: The erasure ledger is missing or older than the data.
        DatabaseDamaged: It is damaged or not a database.
        DatabaseNewer: It was written by a newer version.
        StorageError: It cannot be reached, or ``url`` is not an address.
    """
    if settings.url or not _has_content(settings.data_dir / FILE):
        return await check_opened(settings, found)
    with folder_lock(settings.data_dir):
        return await check_opened(settings, found)


async def check_opened(settings: StorageSettings, found: Keys | None) -> str:
    """Do the work of :func:`check_database` for a caller that holds the lock of the folder.

    Raises:
        StorageError: As there, except that the bot runs.
    """
    if settings.url:
        return await _check_server(settings, found)
    path = settings.data_dir / FILE
    if not _has_content(path):
        return f"none yet; {path} is made at the first start"
    with _read_only(path, alone=True) as connection:
        _check_every_page(connection, path)
        return _describe(connection, found, FILE)


async def _check_server(settings: StorageSettings, found: Keys | None) -> str:
    async with AsyncExitStack() as stack:
        backend = backend_of(settings, Use.LOOK)
        await backend.open(stack)
        peers = backend.peers()
        stack.push_async_callback(peers.close)
        await peers.open(lambda _: None)  # connects and listens as a start does
        reader = backend.reader()
        stack.push_async_callback(reader.close)
        await reader.run(lambda connection: _check_rights(connection, backend.what))
        return await reader.run(lambda connection: _describe(connection, found, backend.what))


async def pending_migrations(settings: StorageSettings) -> list[str]:
    """Return what the next start changes in the database, oldest first, one sentence each; reads only.

    Args:
        settings: Location of the database.

    Raises:
        AlreadyOpen: A running bot holds the SQLite file.
        DatabaseNewer: A newer version wrote the database.
        StorageError: It cannot be read.
    """
    if settings.url:
        async with AsyncExitStack() as stack:
            backend = backend_of(settings, Use.LOOK)
            await backend.open(stack)
            reader = backend.reader()
            stack.push_async_callback(reader.close)
            return await reader.run(pending)
    path = settings.data_dir / FILE
    if not _has_content(path):
        return []
    with folder_lock(settings.data_dir), _read_only(path, alone=True) as connection:
        return pending(connection)


def size_of_data(settings: StorageSettings) -> int:
    """Return the size of the SQLite database with its log, bytes."""
    files = (settings.data_dir / FILE, settings.data_dir / f"{FILE}-wal")
    return sum(path.stat().st_size for path in files if path.exists())


def _check_rights(connection: Connection, what: str) -> None:
    schema, may_create = connection.execute(
        text("SELECT current_schema(), has_schema_privilege(current_schema(), 'CREATE')")
    ).one()
    if schema is None:
        raise DatabaseFailed(f"{what}: the schema does not exist; create it, or correct search_path.")
    if not may_create:
        raise DatabaseFailed(f"{what}: this user may not create tables; grant it CREATE on the schema.")


def _describe(connection: Connection, found: Keys | None, what: str) -> str:
    revision, known = revisions(connection)
    if revision is None:
        return f"{what} is empty; its tables are made at the first start"
    if revision not in known:
        raise DatabaseNewer(
            f"{what} has schema {revision}, and this version supports up to {known[0]}; run the version of "
            "Simpatico that wrote it, or a later one."
        )
    if (bound_to := connection.execute(select(origin.c.key_check)).scalar()) is not None:
        _check_pair(connection, bound_to, found, what)
    if revision != known[0]:
        return (
            f"{what} opens; the next start brings its schema from {revision} to {known[0]}: back it up first"
        )
    return f"{what} opens, schema {revision}"


def _check_pair(connection: Connection, bound_to: bytes, found: Keys | None, what: str) -> None:
    if found is None:
        raise KeyMissing(f"{what} holds data, but there is no key store; restore the keys from their backup.")
    if bound_to != found.check:
        raise KeyUnreadable(
            f"{what} was written under other keys than those of the key store; restore the two as a pair."
        )
    seen = int(note_of(connection, LEDGER_NOTE) or 0)
    if found.erasures < seen:
        raise LedgerBehind(
            f"Expected at least {counted(seen, 'change')} of the erasure ledger beside the keys,"
            f" found {found.erasures}: restore its newest copy."
        )


def _ledger_changes(path: Path) -> int:
    if not _has_content(path):
        return 0
    with _sound(path, newest=ledger.SCHEMA) as connection:
        return connection.execute(select(ledger.ledger_origin.c.changes)).scalar() or 0


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


@contextmanager
def _sound(path: Path, *, newest: int) -> Generator[Connection]:
    """Open a file of the key folder after checking its pages and its version."""
    with _read_only(path) as connection:
        _check_every_page(connection, path)
        (version,) = pragma(connection, "user_version")
        if version > newest:
            raise DatabaseNewer(
                f"{path} has schema {version}, and this version supports up to {newest}; run the version of "
                "Simpatico that wrote it, or a later one."
            )
        yield connection


@contextmanager
def _read_only(path: Path, *, alone: bool = False) -> Generator[Connection]:
    # Reading a database in WAL mode would leave an empty log behind, owned by the user who runs the check.
    immutable = "&immutable=1" if alone and not _has_content(path.with_name(f"{path.name}-wal")) else ""
    address = f"{path.absolute().as_uri()}?mode=ro{immutable}"
    engine = create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(address, uri=True),
        poolclass=NullPool,
        hide_parameters=True,
    )
    try:
        with translated_errors(str(path)), engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _check_every_page(connection: Connection, path: Path) -> None:
    """Check every page as at a start, and also the indexes against their tables."""
    (verdict,) = pragma(connection, "integrity_check(1)")
    if verdict != "ok":
        raise DatabaseDamaged(f"{path} is damaged ({verdict}); restore it from a backup.")
