"""Backups of the data while the bot runs, and separately of the keys with the erasure ledger.

A copy of the data holds no key and nothing in clear, so it may be kept anywhere and for long. A copy of the
keys opens every copy of the data, so it must be short-lived: :func:`restore_keys` rejects one that is too
old. No restore overwrites the ledger. Entries are only added, and both restores purge everything it lists
before they finish. The functions without ``async`` block. Works on SQLite files; PostgreSQL has its own
tools.
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
    "At its next start, before it connects, the bot erases again all members that the ledger lists."
)


def back_up(settings: StorageSettings, target: Path) -> int:
    """Copy ``data.db`` as a consistent snapshot, while the bot may run; return the size in bytes.

    Raises:
        DatabaseFailed: Reading or writing failed.
        StorageError: ``target`` exists, there is nothing to copy, or the data are in PostgreSQL.
    """
    _require_sqlite(settings)
    source = settings.data_dir / FILE
    with _draft_of(target) as draft:
        _copy(source, draft)
        _require_sound(draft)
    return target.stat().st_size


async def restore(settings: StorageSettings, source: Path) -> ForgetReceipt:
    """Replace ``data.db`` with a copy, then repeat the erasures that the ledger lists.

    Returns:
        The members that were erased again.

    Raises:
        AlreadyOpen: The bot is running.
        DatabaseDamaged: ``source`` is damaged or not a database.
        KeyMissing: There are no keys for the copy; restore those first.
        KeyUnreadable: The master key is malformed, readable by other users, or belongs to other keys.
        StorageError: ``source`` is not a copy of data or belongs to other keys, or the data are in
            PostgreSQL.
    """
    _require_sqlite(settings)
    with folder_lock(settings.data_dir):
        check = _single_value(source, "SELECT key_check FROM origin")
        keys = await KeyStore.open(settings, data_exists=True)
        expected = keys.pseudonyms.check()
        await keys.close()
        if check != expected:
            raise StorageError(f"{source} belongs to other keys; restore the matching keys first.")
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

    The copy does not contain the master key; without that key, it opens nothing.

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
    """Replace ``keys.db`` with a copy, add missing entries to the ledger, destroy the keys it lists.

    Args:
        settings: Location of data and keys.
        source: The copy.
        longest: Maximum age of the copy.

    Returns:
        The number of keys that were destroyed again.

    Raises:
        AlreadyOpen: The bot is running.
        DatabaseDamaged: ``source`` is damaged or not a database.
        KeyUnreadable: The master key does not open it.
        StorageError: ``source`` is not a copy of keys, or older than ``longest``.
    """
    with folder_lock(settings.data_dir):
        copied_at = datetime.fromtimestamp(int(str(_single_value(source, "SELECT at FROM copied"))), UTC)
        age = datetime.now(UTC) - copied_at
        if age > longest:
            raise StorageError(
                f"{source} is {age.days} days old, more than {longest.days}: it may hold keys of people who "
                "were forgotten since. Put the newest ledger.db in place, which destroys those keys again; "
                "then use --days."
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
    """Accept the present ledger for the data, because its newest copy is lost.

    Raises:
        AlreadyOpen: The bot is running.
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
    """Return the number of destroyed keys and the number of refusals in the ledger.

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
    """Yield a private file beside ``target`` that is renamed to it once complete."""
    if target.exists():
        raise StorageError(f"{target} already exists; choose another file name.")
    draft = target.with_name(f"{target.name}.unfinished")
    draft.unlink(missing_ok=True)
    try:
        yield draft
        _replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    """Write a compact copy of a database as a consistent snapshot: no freed page, no log."""
    if not source.exists() or source.stat().st_size == 0:
        raise StorageError(f"Expected a database at {source}, found none; check the settings in [storage].")
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as exc:
        raise StorageError(f"Cannot write to {target} ({exc.strerror}); check its permissions.") from exc
    with translated_errors(str(source)), closing(_reading(source)) as connection:
        connection.execute("VACUUM INTO ?", [str(target)])


def _reading(path: Path) -> sqlite3.Connection:
    """Return a connection that can neither write nor checkpoint."""
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, timeout=60)


def _single_value(path: Path, query: str) -> object:
    """Check a file that the host named, and return the one value of a query on it."""
    if not path.is_file():
        raise StorageError(f"Expected a copy at {path}, found none; check the path.")
    _require_sound(path)
    try:
        with closing(_reading(path)) as connection:
            (value,) = connection.execute(query).fetchone()
    except (sqlite3.Error, TypeError) as exc:
        raise StorageError(
            f"{path} is not a copy of the expected kind: `simpatico restore` takes a copy of the data, "
            "`simpatico restore-keys` a copy of the keys."
        ) from exc
    return value


def _require_sound(path: Path) -> None:
    with translated_errors(str(path)), closing(_reading(path)) as connection:
        (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise DatabaseDamaged(f"{path} is damaged ({verdict}); use another copy.")


def _remove_log(present: Path) -> None:
    """Remove the log of a database that is about to be replaced: SQLite would apply it to the new one."""
    with suppress(sqlite3.Error):  # a damaged database is replaced too
        if present.exists():
            with closing(sqlite3.connect(present)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for side in SIDE_FILES:
        present.with_name(f"{present.name}{side}").unlink(missing_ok=True)


def _replace(draft: Path, target: Path) -> None:
    """Rename a complete file to its final name; on disk at the return."""
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(target)
    sync_folder(target.parent)


def _add_to_ledger(present: Path, content: bytes) -> None:
    """Add the erasures that only the copy lists; take the refusals from the newer of the two."""
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
