"""Restore of keys and erasure ledger, in either place. A restore that says no has changed nothing.

The copy is completed in a staging folder: with the present keys that it lacks, and with the present ledger,
whose erasures destroy keys in it. It must belong to what is there: to the keys, the ledger or the data. Only
then the files are swapped, or the rows of the database replaced in one transaction.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from storage.clock import utcnow
from storage.database.backend import translated_errors
from storage.database.replacing import followed, replaced
from storage.database.sqlite import FILE
from storage.errors import DatabaseDamaged, KeyMissing, KeyUnreadable, LedgerBehind, StorageError
from storage.failpoints import failpoint
from storage.keys.key_files import KEYS, LEDGER
from storage.keys.key_store import KeyStore, place_of
from storage.maintenance.checkup import check_key_files, check_opened
from storage.maintenance.copying import snapshot, snapshot_of_bytes
from storage.maintenance.drafts import (
    has_content,
    in_live_words,
    link_master,
    missing_folders,
    of_the_right_kind,
    removed_if_refused,
    require_copy,
    staging,
    take_copy,
)
from storage.maintenance.exclusive import exclude_bots, exclude_key_commands
from storage.maintenance.key_copies import put_into_database, rows_in, snapshot_keys
from storage.settings import StorageSettings
from storage.wording import counted


async def restore_keys(settings: StorageSettings, source: Path, longest: timedelta) -> int:
    """Replace the key store with a copy, add missing entries to the ledger, destroy the keys it lists.

    Keys in the present key store that open are kept: members agreed after the copy was made.

    Args:
        settings: Location of data and keys.
        source: The copy.
        longest: Maximum age of the copy.

    Returns:
        The number of keys that were destroyed again.

    Raises:
        AlreadyOpen: The bot is running, or another command changes the keys.
        DatabaseDamaged: ``source`` or the present ledger is damaged or not a database.
        DatabaseNewer: ``source``, the present keys or the data were written by a newer version.
        KeyUnreadable: The master key does not open it, or it belongs to other data, keys or another ledger.
        StorageError: ``source`` is not a copy of keys, or older than ``longest``.
    """
    present, ledger = followed(settings.key_dir / KEYS), followed(settings.key_dir / LEDGER)
    require_copy(source, present)
    missing = missing_folders(settings)
    with in_live_words(settings):
        async with AsyncExitStack() as stack:
            alone = await exclude_bots(settings, stack)
            stack.enter_context(removed_if_refused(missing))
            settings.key_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            await exclude_key_commands(settings, stack)
            async with place_of(settings).opening():  # checks the place, and settles the files
                pass
            stage = stack.enter_context(staging(present))
            with of_the_right_kind(source):
                copied_at = take_copy(source, stage / KEYS, "SELECT at FROM copied")
                _require_young(source, datetime.fromtimestamp(int(str(copied_at)), UTC), longest)
                destroyed = await _prepare_keys(settings, stage)
            failpoint("restore.checked")
            await alone.require()
            if settings.key_url:
                await put_into_database(settings, rows_in(stage))
                return destroyed
            with replaced(ledger, stage / LEDGER), replaced(present, stage / KEYS):
                await (await KeyStore.open(settings, data_exists=True)).close()
                failpoint("restore.opened")
            return destroyed


async def _prepare_keys(settings: StorageSettings, stage: Path) -> int:
    """Add what is there to the staged copy of the keys, and check that they belong together.

    Returns:
        The number of keys that were destroyed.

    Raises:
        KeyUnreadable: They do not, or nothing shows that they do.
    """
    live = await _live_folder(settings, stage)
    present, ledger = live / KEYS, live / LEDGER
    is_known = _stage_ledger(ledger, stage)
    link_master(settings, stage)
    failpoint("restore.copied")
    trial = replace(settings, key_dir=stage, key_url="")
    async with AsyncExitStack() as stack:
        keys = await KeyStore.open(trial, data_exists=True)
        stack.push_async_callback(keys.close)
        if has_content(present):
            kept = stack.enter_context(staging(stage / "present"))
            is_known |= await _adopt_present(keys, settings, present, kept)
        destroyed = await keys.purge()
    is_known |= await _fits_data(trial)
    if has_content(present) and not is_known:
        raise KeyUnreadable(
            f"Nothing shows that the copy belongs to {present}: it does not open, and there are neither data "
            "nor a ledger. If it may be replaced, move it away first."
        )
    return destroyed


async def _live_folder(settings: StorageSettings, stage: Path) -> Path:
    """Return the folder of the present files; with keys in a database, of copies of them."""
    if not settings.key_url:
        return settings.key_dir
    live = stage / "live"
    live.mkdir()
    if await place_of(settings).is_there():
        await snapshot_keys(settings, live)
    return live


async def _adopt_present(keys: KeyStore, settings: StorageSettings, path: Path, stage: Path) -> bool:
    """Add members' keys from the present key store; return False where it does not open.

    Raises:
        KeyUnreadable: It belongs to another bot.
    """
    link_master(settings, stage)
    try:
        snapshot(path, stage / KEYS)
        present = await KeyStore.open(replace(settings, key_dir=stage, key_url=""), data_exists=True)
    except (DatabaseDamaged, KeyMissing, KeyUnreadable):
        return False
    try:
        if present.pseudonyms.check() != keys.pseudonyms.check():
            raise KeyUnreadable(
                f"The copy belongs to other keys than {path}; use a copy of these keys, or move that file"
                " away first."
            )
        await keys.adopt(present)
    finally:
        await present.close()
    return True


async def _fits_data(trial: StorageSettings) -> bool:
    """Check that the staged keys open the present data; return False if there are none that can be read.

    An older ledger is no reason to refuse: it was missing or older before, and the next start says so.

    Raises:
        KeyUnreadable: The data belong to other keys.
    """
    data = followed(trial.data_dir / FILE)
    if not trial.url and has_content(data.with_name(f"{data.name}-wal")):  # reading makes a file beside it
        shadow = trial.key_dir / "data"
        shadow.mkdir()
        try:
            snapshot_of_bytes(data, shadow / FILE)
        except DatabaseDamaged:
            return False
        trial = replace(trial, data_dir=shadow)
    try:
        await check_opened(trial, check_key_files(trial))
    except DatabaseDamaged:
        return False
    except LedgerBehind:
        return True
    return bool(trial.url) or has_content(trial.data_dir / FILE)


def _require_young(source: Path, copied_at: datetime, longest: timedelta) -> None:
    age = utcnow() - copied_at
    if age > longest:
        raise StorageError(
            f"{source} is {counted(age.days, 'day')} old, more than {longest.days}: it may hold keys of"
            " people who were forgotten since. Put the newest ledger.db in place, which destroys those keys"
            " again; then use --days."
        )


def _stage_ledger(present: Path, stage: Path) -> bool:
    """Move the ledger out of the copy, and add it to a draft of the present ledger.

    The draft holds the erasures of both, and the refusals of the newer of the two.

    Returns:
        Whether there is a present ledger; it belongs to the same keys.

    Raises:
        DatabaseDamaged: The present ledger is damaged.
        KeyUnreadable: The two ledgers belong to different keys.
    """
    staged, copy = stage / LEDGER, stage / "copied-ledger.db"
    with translated_errors(str(stage / KEYS)), closing(sqlite3.connect(stage / KEYS)) as keys:
        keys.isolation_level = None
        (content,) = keys.execute("SELECT ledger FROM copied").fetchone()
        keys.execute("DROP TABLE copied")
        keys.execute("VACUUM")
    there = has_content(present)
    with os.fdopen(
        os.open(copy if there else staged, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb"
    ) as file:
        file.write(content)
    if not there:
        return False
    try:
        snapshot(present, staged)
    except DatabaseDamaged as exc:
        raise DatabaseDamaged(
            f"{present} is damaged. Put its newest copy in its place; or move it away, and the ledger in the "
            "copy of the keys is used, which may lack the latest erasures."
        ) from exc
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
    return True
