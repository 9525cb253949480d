"""Drafts of a restore: the copy is taken into a staging folder, and a refusal leaves nothing behind."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from storage.database.replacing import STAGING, clear_staging
from storage.errors import DatabaseFailed, StorageError
from storage.keys.key_files import KEYS, LEDGER
from storage.keys.key_store import place_of
from storage.keys.master_key import KEY_FILE, NEXT_FILE
from storage.maintenance.copying import open_to_read, require_file, require_sound, snapshot_of_bytes
from storage.maintenance.exclusive import ROTATION_LOCK
from storage.settings import StorageSettings


def require_copy(source: Path, present: Path) -> None:
    """Check the path that the host named, before anything is created."""
    require_file(source)
    if present.exists() and source.samefile(present):
        raise StorageError(f"{source} is the live file, not a copy of it; name the copy.")


def take_copy(source: Path, draft: Path, query: str) -> object:
    """Copy the file that the host named, check every page, and return the one value of a query on it."""
    snapshot_of_bytes(source.resolve(), draft)
    draft.chmod(0o600)
    require_sound(draft)
    try:
        with closing(open_to_read(draft)) as connection:
            (value,) = connection.execute(query).fetchone()
    except (sqlite3.Error, TypeError) as exc:
        raise StorageError(
            f"{source} is not a copy of the expected kind: `simpatico restore` takes a copy of the data, "
            "`simpatico restore-keys` a copy of the keys."
        ) from exc
    return value


def link_master(settings: StorageSettings, stage: Path) -> None:
    """Make the key files of the host available in a staging folder."""
    for name in (KEY_FILE, NEXT_FILE):
        if (settings.key_dir / name).exists():
            (stage / name).symlink_to((settings.key_dir / name).absolute())


@contextmanager
def staging(present: Path) -> Generator[Path]:
    """Yield a private, empty folder on the same disk; deleted afterwards."""
    stage = clear_staging(present)
    stage.mkdir(mode=0o700)
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


@contextmanager
def in_live_words(settings: StorageSettings) -> Generator[None]:
    """Say that a refusal changed nothing, and name live files, or the live database, instead of drafts.

    Raises:
        StorageError: The restore was refused.
    """

    def reworded(said: str) -> str:
        said = re.sub(rf"/[^/ ]+{re.escape(STAGING)}(/trial|/data|/live)?", "", said)
        if settings.key_url:
            for name in (KEYS, LEDGER):
                said = said.replace(str(settings.key_dir / name), place_of(settings).what)
        return f"{said} Nothing was changed."

    try:
        yield
    except OSError as exc:
        raise DatabaseFailed(reworded(f"{exc.filename} cannot be used ({exc.strerror}).")) from exc
    except StorageError as exc:
        raise type(exc)(reworded(str(exc))) from exc


@contextmanager
def of_the_right_kind(source: Path) -> Generator[None]:
    """Refuse a copy in which another program stored values of a wrong kind.

    Raises:
        StorageError: A value is of a wrong kind.
    """
    try:
        yield
    except (ValueError, TypeError, AttributeError, OverflowError) as exc:
        raise StorageError(
            f"{source} holds a value of a wrong kind ({type(exc).__name__}); use another copy."
        ) from exc


def missing_folders(settings: StorageSettings) -> list[Path]:
    """Return the folders that do not exist yet; the inner one first."""
    return [folder for folder in (settings.key_dir, settings.data_dir) if not folder.exists()]


@contextmanager
def removed_if_refused(folders: list[Path]) -> Generator[None]:
    """Delete folders that a refused restore created, unless they hold more than locks.

    The caller holds the lock of the data folder.
    """
    try:
        yield
    except BaseException:
        for folder in folders:
            for name in ("data.lock", ROTATION_LOCK):
                (folder / name).unlink(missing_ok=True)
            with suppress(OSError):
                folder.rmdir()
        raise


def has_content(path: Path) -> bool:
    """Return whether the file exists and is not empty."""
    return path.exists() and path.stat().st_size > 0
