"""Consistent copies of database files, also from a read-only file system and beside a running bot."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from storage.database.backend import translated_errors
from storage.database.replacing import SIDE_FILES
from storage.errors import DatabaseDamaged, StorageError
from storage.settings import StorageSettings

ONLY_SQLITE = (
    "The data are in PostgreSQL, which has its own tools: use pg_dump (while the bot runs) and pg_restore. "
    "At its next start, before it connects, the bot erases again all members that the ledger lists."
)
UNOPENED = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
"""SQLite cannot make the side files of a database in WAL mode, because its folder is read-only."""


def require_sqlite(settings: StorageSettings) -> None:
    """Check that the data are in a file.

    Raises:
        StorageError: They are in PostgreSQL.
    """
    if settings.url:
        raise StorageError(ONLY_SQLITE)


def snapshot(source: Path, target: Path) -> None:
    """Write a compact copy of a database as a consistent snapshot: no freed page, no log.

    Raises:
        DatabaseFailed: Reading or writing failed.
        StorageError: There is no database, or ``target`` cannot be created.
    """
    require_file(source)
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as exc:
        raise StorageError(f"Cannot write to {target} ({exc.strerror}); check its permissions.") from exc
    with translated_errors(str(source)):
        try:
            _vacuum(source, target)
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF not in UNOPENED:
                raise
            snapshot_of_bytes(source, target)


def snapshot_of_bytes(source: Path, target: Path) -> None:
    """Write a compact copy of a database that nothing writes to, without a new file beside it.

    Raises:
        DatabaseFailed: Reading or writing failed.
        StorageError: There is no database, or it changed meanwhile.
    """
    require_file(source)
    with translated_errors(str(source)), tempfile.TemporaryDirectory(dir=target.parent) as folder:
        before = _state(source)
        raw = Path(folder) / source.name
        for side in ("", *SIDE_FILES):
            if side != "-shm" and _beside(source, side).exists():  # SQLite makes a new index of the log
                shutil.copyfile(_beside(source, side), _beside(raw, side))
        if _state(source) != before:
            raise StorageError(f"{source} changed while it was copied; repeat the command.")
        _vacuum(raw, target)


def require_file(path: Path) -> None:
    """Check that a path names a file with content.

    Raises:
        StorageError: It does not.
    """
    if path.is_dir():
        raise StorageError(f"Expected a database at {path}, found a folder; name the file in it.")
    if not path.is_file() or path.stat().st_size == 0:
        raise StorageError(f"Expected a database at {path}, found none; check the path and [storage].")


def require_sound(path: Path) -> None:
    """Check every page of a copy.

    Raises:
        DatabaseDamaged: It is damaged or not a database.
    """
    with translated_errors(str(path)), closing(open_to_read(path)) as connection:
        (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise DatabaseDamaged(f"{path} is damaged ({verdict}); use another copy.")


def open_to_read(path: Path) -> sqlite3.Connection:
    """Return a connection that can neither write nor checkpoint."""
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, timeout=60)


def _vacuum(source: Path, target: Path) -> None:
    with closing(open_to_read(source)) as connection:
        connection.execute("VACUUM INTO ?", [str(target)])


def _state(path: Path) -> list[tuple[int, int]]:
    """Return size and time of the last change of a database and its log."""
    found = (_beside(path, side) for side in ("", *SIDE_FILES))
    return [(one.stat().st_size, one.stat().st_mtime_ns) for one in found if one.exists()]


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}{suffix}")
