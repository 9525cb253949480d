"""Replacement of a database file: atomic, on disk, and reversible until the store has opened.

The old file stays beside the new one, as ``NAME.replaced``, until a store has opened the new one. A kill at
any moment leaves a complete old or new file in place. :func:`settle` tidies up after a kill, and every start
calls it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

from storage.database.backend import translated_errors
from storage.errors import DatabaseDamaged, StorageError
from storage.failpoints import failpoint

SIDE_FILES = ("-wal", "-shm", "-journal")
"""Suffixes of the files in which SQLite keeps changes that are not in the database file yet."""
STAGING = ".restoring"
"""Suffix of the folder beside a file in which a restore prepares the new one."""


@contextmanager
def replaced(present: Path, draft: Path) -> Generator[None]:
    """Put ``draft`` in the place of ``present``; put the old file back if the block fails.

    The caller holds the lock of the folder, and has called :func:`settle`.

    Raises:
        DatabaseFailed: The log of the old file cannot be completed, for example on a full disk.
        StorageError: Another program reads the old file, or a file cannot be renamed.
    """
    _complete(present)
    try:
        _put_aside(present)
        failpoint("restore.before-replace")
        rename_on_disk(draft, present)
        failpoint("restore.after-replace")
        yield
    except OSError as exc:
        _put_back(present)
        raise StorageError(f"Cannot replace {present} ({exc.strerror}); nothing was changed.") from exc
    except BaseException:
        _put_back(present)
        raise
    discard(present)


def followed(path: Path) -> Path:
    """Return where a file lies. Its side files and drafts lie there too, not beside a symbolic link to it."""
    return path.resolve() if path.is_symlink() else path


def settle(present: Path) -> None:
    """Complete or undo a replacement of this file that was killed, and delete its unfinished files.

    The caller holds the lock of the folder.
    """
    clear_staging(present)
    aside = _aside(present)
    if not any(path.exists() for path in (aside, *(_beside(aside, side) for side in SIDE_FILES))):
        return
    swapped = aside.exists() and present.exists() and not present.samefile(aside)
    if not swapped:
        _put_back(present)


def clear_staging(present: Path) -> Path:
    """Delete what an unfinished restore of this file left; return the place of its staging folder."""
    stage = _beside(present, STAGING)
    if stage.is_file():  # an earlier version kept one file there
        stage.unlink()
    shutil.rmtree(stage, ignore_errors=True)
    return stage


def discard(present: Path) -> None:
    """Delete the file that was replaced, because a store has opened the new one."""
    aside = _aside(present)
    if not aside.exists():
        return
    for side in SIDE_FILES:
        _beside(aside, side).unlink(missing_ok=True)
    aside.unlink()  # the last one: without it, files beside it would be put back
    sync_folder(present.parent)


def rename_on_disk(draft: Path, target: Path) -> None:
    """Rename a complete file to its final name; on disk at the return."""
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Fsync the folder, so that renames in it survive a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def _complete(present: Path) -> None:
    """Move everything in the log into the old file. A damaged file is replaced as it is, with its log."""
    if not present.exists():
        return
    try:
        with translated_errors(str(present)), closing(sqlite3.connect(present, timeout=1)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # rolls a hot journal back
            (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except DatabaseDamaged:
        return
    if busy:
        raise StorageError(f"Another program reads {present}; close it, then repeat the command.")


def _put_aside(present: Path) -> None:
    """Keep the old file under a second name. Its log moves away: SQLite would apply it to the new file."""
    if not present.exists():
        for side in SIDE_FILES:  # the log of a lost file is of no use, and must not meet the new file
            _beside(present, side).unlink(missing_ok=True)
        return
    try:
        os.link(present, _aside(present))
    except OSError:  # a file system without hard links
        shutil.copy2(present, _aside(present))
    for side in SIDE_FILES:
        if _beside(present, side).exists():
            _beside(present, side).replace(_beside(_aside(present), side))
    sync_folder(present.parent)


def _put_back(present: Path) -> None:
    """Undo a replacement, at whichever step it is; idempotent."""
    aside = _aside(present)
    if aside.exists():
        if present.exists() and present.samefile(aside):
            aside.unlink()  # renaming a file to its own second name does nothing
        else:
            for side in SIDE_FILES:
                _beside(present, side).unlink(missing_ok=True)
            aside.replace(present)
    for side in SIDE_FILES:
        if _beside(aside, side).exists():
            _beside(aside, side).replace(_beside(present, side))
    sync_folder(present.parent)


def _aside(present: Path) -> Path:
    return present.with_name(f"{present.name}.replaced")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}{suffix}")
