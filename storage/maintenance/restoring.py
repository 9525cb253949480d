"""Restores of data and of keys. A restore that says no has changed nothing.

A copy is prepared and opened in a staging folder, with copies of the other files, exactly as a start would
open it. That checks integrity, schema, keys, ledger and migration. Only then
:func:`storage.database.replacing.replaced` swaps the files. No restore takes an entry from the ledger:
entries are only added, and both restores purge everything it lists before they finish.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Generator
from contextlib import AsyncExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from storage.database.backend import translated_errors
from storage.database.replacing import STAGING, clear_staging, replaced, settle
from storage.database.sqlite import FILE, folder_lock
from storage.errors import (
    AlreadyOpen,
    DatabaseDamaged,
    DatabaseFailed,
    KeyMissing,
    KeyUnreadable,
    LedgerBehind,
    StorageError,
)
from storage.failpoints import failpoint
from storage.keys.erasure_ledger import FILE as LEDGER
from storage.keys.key_store import KeyStore
from storage.keys.master_key import KEY_FILE, NEXT_FILE
from storage.keys.wrapping import FILE as KEYS
from storage.maintenance.checkup import check_keys, check_opened
from storage.maintenance.copying import (
    open_to_read,
    require_file,
    require_sound,
    require_sqlite,
    snapshot,
    snapshot_of_bytes,
)
from storage.opening import backend_of, open_data, require_data
from storage.privacy.erasing import note_ledger_changes
from storage.records import ForgetReceipt
from storage.settings import StorageSettings
from storage.store import Store


async def restore(settings: StorageSettings, source: Path, *, accept_loss: bool = False) -> ForgetReceipt:
    """Replace ``data.db`` with a copy, then repeat the erasures that the ledger lists.

    Args:
        settings: Location of data and keys.
        source: The copy.
        accept_loss: Whether to take a copy that has seen a newer ledger than the present one.

    Returns:
        The members that were erased again.

    Raises:
        AlreadyOpen: The bot is running.
        DatabaseDamaged: ``source`` is damaged or not a database.
        DatabaseNewer: ``source`` was written by a newer version.
        KeyMissing: There are no keys for the copy; restore those first.
        KeyUnreadable: The master key is malformed, readable by other users, or belongs to other keys.
        LedgerBehind: The erasure ledger is missing or older than the copy.
        StorageError: ``source`` is not a copy of data or belongs to other keys, or the data are in
            PostgreSQL.
    """
    require_sqlite(settings)
    present = settings.data_dir / FILE
    _require_copy(source, present)
    if not (settings.key_dir / KEYS).is_file():
        raise KeyMissing(
            f"Expected the keys of the copy at {settings.key_dir / KEYS}, found none; restore them first."
        )
    with _nothing_left(settings), folder_lock(settings.data_dir):
        settle(present)
        with _staging(present) as stage, _staging(settings.key_dir / KEYS) as key_stage:
            draft = stage / FILE
            _take(source, draft, "SELECT key_check FROM origin")
            _stage_keys(settings, key_stage)
            if accept_loss:
                await accept_ledger_loss(replace(settings, data_dir=stage, key_dir=key_stage))
            shutil.copytree(stage, stage / "trial", ignore=shutil.ignore_patterns("data.lock"))
            failpoint("restore.copied")
            trial = replace(settings, data_dir=stage / "trial", key_dir=key_stage)
            await _rehearse(trial)
            failpoint("restore.checked")
            with replaced(present, draft):
                async with await Store.open(settings, locked=True) as store:
                    failpoint("restore.opened")
                    return store.erased_at_start


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
        DatabaseNewer: ``source`` or the data were written by a newer version.
        KeyUnreadable: The master key does not open it, or it belongs to other data or another ledger.
        StorageError: ``source`` is not a copy of keys, or older than ``longest``.
    """
    present, ledger = settings.key_dir / KEYS, settings.key_dir / LEDGER
    _require_copy(source, present)
    with _nothing_left(settings), folder_lock(settings.data_dir):
        async with AsyncExitStack() as stack:
            await require_alone(settings, stack)
            settings.key_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            for path in (ledger, present):
                settle(path)
            stage = stack.enter_context(_staging(present))
            copied_at = _take(source, stage / KEYS, "SELECT at FROM copied")
            _require_young(source, datetime.fromtimestamp(int(str(copied_at)), UTC), longest)
            _stage_ledger(ledger, stage)
            _link_master(settings, stage)
            failpoint("restore.copied")
            trial = replace(settings, key_dir=stage)
            keys = await KeyStore.open(trial, data_exists=True)
            stack.push_async_callback(keys.close)
            destroyed = await keys.purge()
            await keys.close()
            await _require_pair(trial)
            failpoint("restore.checked")
            with replaced(ledger, stage / LEDGER), replaced(present, stage / KEYS):
                await (await KeyStore.open(settings, data_exists=True)).close()
                failpoint("restore.opened")
            return destroyed


async def accept_ledger_loss(settings: StorageSettings) -> None:
    """Accept the present ledger for the data, because its newest copy is lost.

    Raises:
        AlreadyOpen: The bot is running.
        StoreMissing: There is no store.
        StorageError: Data or keys cannot be opened.
    """
    await require_data(settings)
    async with AsyncExitStack() as stack:
        backend = backend_of(settings)
        await backend.open(stack)
        keys = await KeyStore.open(settings, data_exists=True)
        stack.push_async_callback(keys.close)
        connection = await open_data(backend, keys, stack)
        async with connection.begin():
            await connection.run_sync(note_ledger_changes, keys)


async def _rehearse(trial: StorageSettings) -> None:
    """Open the copy with copies of the keys, as the next start will: every check, migration and erasure."""
    await (await Store.open(trial)).close()


def _require_copy(source: Path, present: Path) -> None:
    """Check the path that the host named, before anything is created."""
    require_file(source)
    if present.exists() and source.samefile(present):
        raise StorageError(f"{source} is the live file, not a copy of it; name the copy.")


def _take(source: Path, draft: Path, query: str) -> object:
    """Copy the file that the host named, check every page, and return the one value of a query on it."""
    snapshot_of_bytes(source, draft)
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


def _require_young(source: Path, copied_at: datetime, longest: timedelta) -> None:
    age = datetime.now(UTC) - copied_at
    if age > longest:
        raise StorageError(
            f"{source} is {age.days} days old, more than {longest.days}: it may hold keys of people who "
            "were forgotten since. Put the newest ledger.db in place, which destroys those keys again; "
            "then use --days."
        )


async def require_alone(settings: StorageSettings, stack: AsyncExitStack) -> None:
    """Check that no process uses the PostgreSQL database; the lock of the folder covers SQLite.

    Raises:
        AlreadyOpen: The bot is running.
        DatabaseFailed: The server cannot be reached.
    """
    if not settings.url:
        return
    backend = backend_of(settings)
    await backend.open(stack)
    peers = backend.peers()
    stack.push_async_callback(peers.close)
    await peers.open(lambda _: None)
    if not await peers.take_lead():
        raise AlreadyOpen("A running bot uses these keys; stop it first.")


async def _require_pair(trial: StorageSettings) -> None:
    """Check that the staged keys open the present data, if there are any that can be read.

    An older ledger is no reason to refuse: it was missing or older before, and the next start says so.
    """
    found = check_keys(trial)
    try:
        await check_opened(trial, found)
    except (DatabaseDamaged, LedgerBehind):
        return


def _stage_keys(settings: StorageSettings, stage: Path) -> None:
    for name in (KEYS, LEDGER):
        if (settings.key_dir / name).exists():
            snapshot(settings.key_dir / name, stage / name)
    _link_master(settings, stage)


def _link_master(settings: StorageSettings, stage: Path) -> None:
    for name in (KEY_FILE, NEXT_FILE):
        if (settings.key_dir / name).exists():
            (stage / name).symlink_to((settings.key_dir / name).absolute())


def _stage_ledger(present: Path, stage: Path) -> None:
    """Move the ledger out of the copy, and add it to a draft of the present ledger.

    The draft holds the erasures of both, and the refusals of the newer of the two.

    Raises:
        KeyUnreadable: The two ledgers belong to different keys.
    """
    staged, copy = stage / LEDGER, stage / "copied-ledger.db"
    with translated_errors(str(stage / KEYS)), closing(sqlite3.connect(stage / KEYS)) as keys:
        keys.isolation_level = None
        (content,) = keys.execute("SELECT ledger FROM copied").fetchone()
        keys.execute("DROP TABLE copied")
        keys.execute("VACUUM")
    there = present.exists() and present.stat().st_size > 0
    with os.fdopen(
        os.open(copy if there else staged, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb"
    ) as file:
        file.write(content)
    if not there:
        return
    snapshot(present, staged)
    with translated_errors(str(present)), closing(sqlite3.connect(staged, isolation_level=None)) as ledger:
        ledger.execute("ATTACH ? AS copy", [str(copy)])
        (check, known) = ledger.execute("SELECT key_check, changes FROM main.ledger_origin").fetchone()
        (copied_check, copied) = ledger.execute(
            "SELECT key_check, changes FROM copy.ledger_origin"
        ).fetchone()
        if check != copied_check:
            raise KeyUnreadable(f"The copy belongs to other keys than {present}; use a copy of these keys.")
        ledger.execute("BEGIN IMMEDIATE")
        ledger.execute("INSERT OR IGNORE INTO main.erased_keys SELECT * FROM copy.erased_keys")
        if copied > known:
            ledger.execute("DELETE FROM main.refusals")
            ledger.execute("INSERT INTO main.refusals SELECT * FROM copy.refusals")
            ledger.execute("UPDATE main.ledger_origin SET changes = ?", [copied])
        ledger.execute("COMMIT")
    copy.unlink()


@contextmanager
def _staging(present: Path) -> Generator[Path]:
    """Yield a private, empty folder on the same disk; deleted afterwards."""
    stage = clear_staging(present)
    stage.mkdir(mode=0o700)
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


@contextmanager
def _nothing_left(settings: StorageSettings) -> Generator[None]:
    """Say that a refusal changed nothing, in the words of the live files; delete folders it created.

    Raises:
        StorageError: The restore was refused.
    """
    created = [folder for folder in (settings.data_dir, settings.key_dir) if not folder.exists()]
    try:
        yield
    except OSError as exc:
        _delete(created)
        raise DatabaseFailed(_in_live_words(f"{exc.filename} cannot be used ({exc.strerror}).")) from exc
    except StorageError as exc:
        _delete(created)
        raise type(exc)(_in_live_words(str(exc))) from exc
    except BaseException:
        _delete(created)
        raise


def _in_live_words(said: str) -> str:
    """Name the live file instead of its draft."""
    return re.sub(rf"/[^/ ]+{re.escape(STAGING)}(/trial)?", "", said) + " Nothing was changed."


def _delete(folders: list[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
