"""Replaces the master key while the bot runs.

The steps: write the next key beside the present one; rewrap all keys in one transaction of ``keys.db``; make
the next key the present one. If a rotation is interrupted, one of the two keys opens the file, every reader
tries both (:class:`storage.keys.wrapping.Wrapping`), and the next rotation finishes the work. A running bot
detects the change by itself. Data keys do not change, so data stay as they are.

A key from the environment cannot change in a running process. In that case stop the bot, and pass the next
key as ``..._NEXT``.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from storage.database.sqlite import folder_lock
from storage.errors import AlreadyOpen, KeyMissing, StorageError
from storage.failpoints import failpoint
from storage.keys.key_store import KeyStore
from storage.keys.master_key import NEXT_ENV, drop_next, make_next, next_master_key, use_next
from storage.keys.wrapping import derived
from storage.settings import StorageSettings

LOCK = "rotation.lock"


async def rotate(settings: StorageSettings) -> int:
    """Replace the master key; return the number of members' keys that were rewrapped.

    Raises:
        AlreadyOpen: Another rotation is in progress, or the key comes from the environment and the bot runs.
        KeyMissing: There is no key store, or the environment holds no next key.
        KeyUnreadable: No available master key opens the key store.
        DatabaseFailed: ``keys.db`` cannot be written to.
    """
    from_environment = bool(os.environ.get(settings.master_key_env))
    with ExitStack() as stack:
        if from_environment:
            stack.enter_context(folder_lock(settings.data_dir))
        keys = await KeyStore.open(settings, data_exists=True)
        try:
            stack.enter_context(_lock(settings.key_dir))
            if from_environment:
                master = next_master_key(settings)
                if master is None:
                    name = settings.master_key_env + NEXT_ENV
                    raise KeyMissing(
                        f"The environment variable {name} is empty; set it to the next master key."
                    )
            else:
                if await keys.wrapped_by_next():  # an earlier rotation was interrupted at its last step
                    use_next(settings)
                master = make_next(settings)
            failpoint("rotate.after-next-key")
            try:
                count = await keys.rewrap(derived(master))
            except StorageError:
                # A commit that failed may still be on disk, so look before the next key is deleted.
                if not from_environment and not await keys.wrapped_by_next():
                    drop_next(settings)
                raise
            failpoint("rotate.after-commit")
            if not from_environment:
                use_next(settings)
            return count
        finally:
            await keys.close()


@contextmanager
def _lock(folder: Path) -> Generator[None]:
    """Allow one rotation at a time; the operating system releases the lock when the process ends."""
    import fcntl  # POSIX only

    handle = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as exc:
        raise AlreadyOpen("Another rotation of the master key is in progress; wait until it ends.") from exc
    finally:
        os.close(handle)
