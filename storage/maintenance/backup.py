"""Backups of the data while the bot runs, and separately of the keys with the erasure ledger.

A copy of the data holds no key and nothing in clear, so it may be kept anywhere and for long. A copy of the
keys opens every copy of the data, so it must be short-lived. :mod:`storage.maintenance.restoring` puts copies
back, and rejects a copy of the keys that is too old. The functions block. Data in PostgreSQL have its own
tools; a copy of the keys is the same file from either place.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from storage.clock import utcnow
from storage.database.backend import translated_errors
from storage.database.replacing import rename_on_disk
from storage.database.sqlite import FILE
from storage.errors import StorageError, StoreMissing
from storage.keys.erasure_ledger import erased_keys, refusals
from storage.keys.key_files import KEYS, LEDGER
from storage.maintenance.copying import (
    open_to_read,
    require_file,
    require_sound,
    require_sqlite,
    snapshot,
)
from storage.maintenance.key_copies import rows_of, snapshot_keys
from storage.settings import StorageSettings


def back_up(settings: StorageSettings, target: Path) -> int:
    """Copy ``data.db`` as a consistent snapshot, while the bot may run; return the size in bytes.

    Raises:
        DatabaseFailed: Reading or writing failed.
        StorageError: ``target`` exists, there is nothing to copy, or the data are in PostgreSQL.
    """
    require_sqlite(settings)
    source = settings.data_dir / FILE
    with _draft_of(target) as draft:
        snapshot(source, draft)
        require_sound(draft)
    return target.stat().st_size


async def back_up_keys(settings: StorageSettings, target: Path) -> None:
    """Copy key store and erasure ledger into one file, while the bot may run. From either place.

    The copy does not contain the master key; without that key, it opens nothing.

    Raises:
        DatabaseFailed: Reading or writing failed.
        StorageError: ``target`` exists, or there are no keys.
    """
    if not settings.key_url:
        require_file(settings.key_dir / LEDGER)
    with _draft_of(target) as draft, _private_folder_beside(target) as folder:
        await snapshot_keys(settings, folder)
        (folder / KEYS).replace(draft)
        content = (folder / LEDGER).read_bytes()
        with translated_errors(str(draft)), closing(sqlite3.connect(draft)) as copy:
            copy.execute("CREATE TABLE copied (at INTEGER, ledger BLOB)")
            copy.execute("INSERT INTO copied VALUES (?, ?)", [int(utcnow().timestamp()), content])
            copy.commit()
        require_sound(draft)


async def ledger_counts(settings: StorageSettings) -> tuple[int, int]:
    """Return the number of destroyed keys and the number of refusals in the ledger.

    Raises:
        StoreMissing: There is no ledger.
        DatabaseFailed: The ledger cannot be read.
    """
    if settings.key_url:
        rows = await rows_of(settings)
        return len(rows[erased_keys.name]), len(rows[refusals.name])
    path = settings.key_dir / LEDGER
    if not path.exists():
        raise StoreMissing(f"Expected the erasure ledger at {path}, found none; restore its newest copy.")
    with translated_errors(str(path)), closing(open_to_read(path)) as ledger:
        counts = "SELECT (SELECT count(*) FROM erased_keys), (SELECT count(*) FROM refusals)"
        erased, refused = ledger.execute(counts).fetchone()
    return erased, refused


@contextmanager
def _draft_of(target: Path) -> Generator[Path]:
    """Yield a private file beside ``target`` that is renamed to it once complete."""
    if target.exists():
        raise StorageError(f"{target} already exists; choose another file name.")
    draft = target.with_name(f"{target.name}.unfinished")
    draft.unlink(missing_ok=True)
    try:
        yield draft
        rename_on_disk(draft, target)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _private_folder_beside(target: Path) -> Generator[Path]:
    """Yield an empty folder on the same disk; deleted afterwards."""
    try:
        with TemporaryDirectory(prefix=f"{target.name}.", dir=target.parent) as folder:  # mode 0700
            yield Path(folder)
    except OSError as exc:
        raise StorageError(f"Cannot write to {target} ({exc.strerror}); check its permissions.") from exc
