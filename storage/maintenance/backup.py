"""Backups: the data while the bot runs, and apart from them the keys with the erasure ledger.

A copy of the data holds no key and nothing in clear, so it may be kept anywhere and for long; a copy of the
keys opens every copy of the data, so it has a short life: :func:`restore_keys` refuses one that is too old.
No restore goes over the ledger: entries are only added, and both restores purge what it names before they are
done. The functions without ``async`` block. Reads and writes SQLite files; PostgreSQL has its own tools.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import AsyncExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from storage.database.backend import translated_errors
from storage.database.sqlite import FILE, folder_lock
from storage.errors import DatabaseDamaged, StorageError
from storage.failpoints import failpoint
from storage.keys.erasure_ledger import FILE as LEDGER
from storage.keys.key_store import KeyStore
from storage.keys.master_key import sync_folder
from storage.keys.wrapping import FILE as KEYS
from storage.keys.wrapping import Wrapping
from storage.opening import backend_of, open_data
from storage.privacy.erasing import note_ledger_changes
from storage.records import ForgetReceipt
from storage.settings import StorageSettings
from storage.store import Store

SIDE_FILES = ("-wal", "-shm", "-journal")

ONLY_SQLITE = (
    "The data are in PostgreSQL, which has its own tools: use pg_dump (while the bot runs) and pg_restore. "
    "At the next start the bot erases whom the ledger names before it connects."
)


def back_up(settings: StorageSettings, target: Path) -> int:
    """Copy ``data.db`` as it is at one moment, while the bot may run; return the size in bytes.

    Raises:
        DatabaseFailed: Reading or writing failed.
        StorageError: ``target`` exists, or there is nothing to copy, or the data are in PostgreSQL.
    """
    _require_sqlite(settings)
    source = settings.data_dir / FILE
    with _draft_of(target) as draft:
        _copy(source, draft)
        _require_sound(draft)
    return target.stat().st_size


async def restore(settings: StorageSettings, source: Path) -> ForgetReceipt:
    """Put a copy in the place of ``data.db``, then erase again whom the ledger names.

    Returns:
        Who was erased again.

    Raises:
        AlreadyOpen: The bot runs.
        DatabaseDamaged: ``source`` is no sound database.
        KeyMissing: There are no keys to open it with; restore those first.
        KeyUnreadable: It belongs to other keys.
        StorageError: ``source`` is no copy of data, or the data are in PostgreSQL.
    """
    _require_sqlite(settings)
    with folder_lock(settings.data_dir):
        check = _single_value(source, "SELECT key_check FROM origin")
        keys = await KeyStore.open(settings, data_exists=True)
        expected = keys.pseudonyms.check()
        await keys.close()
        if check != expected:
            raise StorageError(f"{source} belongs to other keys; restore the keys of that bot first.")
        present = settings.data_dir / FILE
        draft = present.with_name(f"{FILE}.restoring")
        draft.unlink(missing_ok=True)
        _copy(source, draft)
        failpoint("restore.before-replace")
        _remove_log(present)
        _replace(draft, present)
    async with await Store.open(settings) as store:
        return store.erased_at_start


def back_up_keys(settings: StorageSettings, target: Path) -> None:
    """Copy ``keys.db`` and the erasure ledger into one file, while the bot may run.

    The master key is not in it: without that one, the copy opens nothing.

    Raises:
        DatabaseFailed: Reading or writing failed.
        StorageError: ``target`` exists, or there are no keys.
    """
    with _draft_of(target) as draft:
        _copy(settings.key_dir / KEYS, draft)
        ledger = draft.with_name(f"{draft.name}.ledger")
        ledger.unlink(missing_ok=True)
        _copy(settings.key_dir / LEDGER, ledger)
        content = ledger.read_bytes()
        ledger.unlink()
        with translated_errors(str(draft)), closing(sqlite3.connect(draft)) as copy:
            copy.execute("CREATE TABLE copied (at INTEGER, ledger BLOB)")
            copy.execute("INSERT INTO copied VALUES (?, ?)", [int(datetime.now(UTC).timestamp()), content])
            copy.commit()
        _require_sound(draft)


async def restore_keys(settings: StorageSettings, source: Path, longest: timedelta) -> int:
    """Put a copy in the place of ``keys.db``, add to the ledger what it lacks, destroy the keys it names.

    Returns:
        How many keys were destroyed again.

    Raises:
        AlreadyOpen: The bot runs.
        DatabaseDamaged: ``source`` is no sound database.
        KeyUnreadable: The master key does not open it.
        StorageError: ``source`` is no copy of keys, or older than ``longest``.
    """
    with folder_lock(settings.data_dir):
        copied_at = datetime.fromtimestamp(int(str(_single_value(source, "SELECT at FROM copied"))), UTC)
        age = datetime.now(UTC) - copied_at
        if age > longest:
            raise StorageError(
                f"{source} is {age.days} days old, more than {longest.days}: it holds keys of people who "
                "were forgotten since. With the newest ledger.db in place they go again; then use --days."
            )
        settings.key_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        present = settings.key_dir / KEYS
        draft = present.with_name(f"{KEYS}.restoring")
        draft.unlink(missing_ok=True)
        _copy(source, draft)
        with translated_errors(str(draft)), closing(sqlite3.connect(draft, isolation_level=None)) as copy:
            Wrapping(settings, may_make=False).opening(
                dict(copy.execute("SELECT name, wrapped FROM system_keys").fetchall())
            )
            (ledger,) = copy.execute("SELECT ledger FROM copied").fetchone()
            _add_to_ledger(settings.key_dir / LEDGER, ledger)
            copy.execute("DROP TABLE copied")
            copy.execute("VACUUM")
        _remove_log(present)
        _replace(draft, present)
        keys = await KeyStore.open(settings, data_exists=True)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(keys.close)
            return await keys.purge()


async def accept_ledger_loss(settings: StorageSettings) -> None:
    """Have the data take the ledger as it is, because its newest copy is lost.

    Raises:
        AlreadyOpen: The bot runs.
        StorageError: Data or keys cannot be opened.
    """
    async with AsyncExitStack() as stack:
        backend = backend_of(settings)
        await backend.open(stack)
        keys = await KeyStore.open(settings, data_exists=True)
        stack.push_async_callback(keys.close)
        connection = await open_data(backend, keys, stack)
        async with connection.begin():
            await connection.run_sync(note_ledger_changes, keys)


def ledger_counts(settings: StorageSettings) -> tuple[int, int]:
    """How many keys were destroyed, and how many members said no.

    Raises:
        StorageError: The keys cannot be opened.
    """
    path = settings.key_dir / LEDGER
    if not path.exists():
        return 0, 0
    with translated_errors(str(path)), closing(_reading(path)) as ledger:
        counts = "SELECT (SELECT count(*) FROM erased_keys), (SELECT count(*) FROM refusals)"
        erased, refused = ledger.execute(counts).fetchone()
    return erased, refused


def _require_sqlite(settings: StorageSettings) -> None:
    if settings.url:
        raise StorageError(ONLY_SQLITE)


@contextmanager
def _draft_of(target: Path) -> Generator[Path]:
    """A private file beside ``target`` that takes its name when it is whole."""
    if target.exists():
        raise StorageError(f"{target} exists already; name a new file.")
    draft = target.with_name(f"{target.name}.unfinished")
    draft.unlink(missing_ok=True)
    try:
        yield draft
        _replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    """Write a compact copy of a database as it is at one moment: no freed page, no log."""
    if not source.exists() or source.stat().st_size == 0:
        raise StorageError(f"Expected a database at {source}, found none.")
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as exc:
        raise StorageError(f"Expected to write to {target}: {exc.strerror}.") from exc
    with translated_errors(str(source)), closing(_reading(source)) as connection:
        connection.execute("VACUUM INTO ?", [str(target)])


def _reading(path: Path) -> sqlite3.Connection:
    """A connection that can neither write nor checkpoint."""
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, timeout=60)


def _single_value(path: Path, query: str) -> object:
    """The one value of a file that somebody names, after a look whether it is sound."""
    if not path.is_file():
        raise StorageError(f"Expected a copy at {path}, found none.")
    _require_sound(path)
    try:
        with closing(_reading(path)) as connection:
            (value,) = connection.execute(query).fetchone()
    except (sqlite3.Error, TypeError) as exc:
        raise StorageError(
            f"{path} is no such copy: `simpatico restore` takes one of the data, `restore-keys` of the keys."
        ) from exc
    return value


def _require_sound(path: Path) -> None:
    with translated_errors(str(path)), closing(_reading(path)) as connection:
        (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise DatabaseDamaged(f"{path} is damaged ({verdict}).")


def _remove_log(present: Path) -> None:
    """Leave no log beside a database that is about to be replaced: it would be played into the new one."""
    with suppress(sqlite3.Error):  # a damaged one is replaced all the same
        if present.exists():
            with closing(sqlite3.connect(present)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for side in SIDE_FILES:
        present.with_name(f"{present.name}{side}").unlink(missing_ok=True)


def _replace(draft: Path, target: Path) -> None:
    """Give a whole file its name, on the disk at the return."""
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(target)
    sync_folder(target.parent)


def _add_to_ledger(present: Path, content: bytes) -> None:
    """Add the erasures that only the copy knows; who said no is taken from the newer of both."""
    copy = present.with_name(f"{present.name}.restoring")
    copy.unlink(missing_ok=True)
    with os.fdopen(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
    if not present.exists():
        _replace(copy, present)
        return
    with translated_errors(str(present)), closing(sqlite3.connect(present, isolation_level=None)) as ledger:
        ledger.execute("ATTACH ? AS copy", [str(copy)])
        ledger.execute("BEGIN IMMEDIATE")
        ledger.execute("INSERT OR IGNORE INTO main.erased_keys SELECT * FROM copy.erased_keys")
        (known,) = ledger.execute("SELECT changes FROM main.ledger_origin").fetchone()
        (copied,) = ledger.execute("SELECT changes FROM copy.ledger_origin").fetchone()
        if copied > known:
            ledger.execute("DELETE FROM main.refusals")
            ledger.execute("INSERT INTO main.refusals SELECT * FROM copy.refusals")
            ledger.execute("UPDATE main.ledger_origin SET changes = ?", [copied])
        ledger.execute("COMMIT")
    copy.unlink()
