"""Restore of data. A restore that says no has changed nothing.

A copy is prepared and opened in a staging folder, with copies of the keys, exactly as a start would open it.
That checks integrity, schema, keys, ledger and migration. Only then
:func:`storage.database.replacing.replaced` swaps the files. No restore takes an entry from the ledger:
entries are only added, and both restores purge everything it lists before they finish.
"""

from __future__ import annotations

import shutil
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from storage.database.replacing import followed, replaced, settle
from storage.database.sqlite import FILE, folder_lock
from storage.errors import KeyMissing
from storage.failpoints import failpoint
from storage.keys.key_files import KEYS
from storage.keys.key_store import KeyStore, place_of
from storage.maintenance.copying import require_sqlite
from storage.maintenance.drafts import (
    in_live_words,
    link_master,
    missing_folders,
    of_the_right_kind,
    removed_if_refused,
    require_copy,
    staging,
    take_copy,
)
from storage.maintenance.key_copies import snapshot_keys
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
    present = followed(settings.data_dir / FILE)
    require_copy(source, present)
    keys = place_of(settings)
    if not await keys.is_there():
        raise KeyMissing(f"Expected the keys of the copy at {keys.what}, found none; restore them first.")
    missing = missing_folders(settings)
    with in_live_words(settings), folder_lock(settings.data_dir), removed_if_refused(missing):
        settle(present)
        settings.key_dir.mkdir(parents=True, exist_ok=True, mode=0o700)  # none yet with keys in a database
        with staging(present) as stage, staging(followed(settings.key_dir / KEYS)) as key_stage:
            draft = stage / FILE
            with of_the_right_kind(source):
                take_copy(source, draft, "SELECT key_check FROM origin")
                await snapshot_keys(settings, key_stage)
                link_master(settings, key_stage)
                staged = replace(settings, data_dir=stage, key_dir=key_stage, key_url="")
                if accept_loss:
                    await accept_ledger_loss(staged)
                shutil.copytree(stage, stage / "trial", ignore=shutil.ignore_patterns("data.lock"))
                failpoint("restore.copied")
                await _rehearse(replace(staged, data_dir=stage / "trial"))
            failpoint("restore.checked")
            with replaced(present, draft):
                async with await Store.open(settings, locked=True) as store:
                    failpoint("restore.opened")
                    return store.erased_at_start


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
