"""A new master key in the place of the old one, while the bot runs.

The next key is written beside the present one; then all keys are wrapped anew in one transaction of
``keys.db``; then the next key becomes the present one. Cut short at any moment, one of the two opens the
file, and whoever opens it tries both (:class:`storage.keys.wrapping.Wrapping`); the next rotation tidies
up. A running bot notices by itself. Data keys, and with them all data, stay as they are.

A key that is given by the environment cannot change in a running process: there the bot must be stopped, and
the next key is given as ``..._NEXT``.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from storage.database.sqlite import folder_lock
from storage.errors import AlreadyOpen, KeyMissing
from storage.failpoints import failpoint
from storage.keys.key_store import KeyStore
from storage.keys.master_key import NEXT_ENV, make_next, next_master_key, use_next
from storage.keys.wrapping import derived
from storage.settings import StorageSettings

LOCK = "rotation.lock"


async def rotate(settings: StorageSettings) -> int:
    """Put a new master key in the place of the present one; return how many members' keys were wrapped anew.

    Raises:
        AlreadyOpen: Another rotation is under way, or the key comes from the environment and the bot runs.
        KeyMissing: There is no key store, or the environment names no next key.
        KeyUnreadable: No master key at hand opens the key store.
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
                    raise KeyMissing(f"Expected the next master key in the environment variable {name}.")
            else:
                if await keys.wrapped_by_next():  # an earlier rotation was cut short at the last moment
                    use_next(settings)
                master = make_next(settings)
            failpoint("rotate.after-next-key")
            count = await keys.rewrap(derived(master))
            failpoint("rotate.after-commit")
            if not from_environment:
                use_next(settings)
            return count
        finally:
            await keys.close()


@contextmanager
def _lock(folder: Path) -> Generator[None]:
    """One rotation at a time; the operating system lets go of it when the process ends."""
    handle = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as exc:
        raise AlreadyOpen("Another rotation of the master key is under way; wait for it.") from exc
    finally:
        os.close(handle)
