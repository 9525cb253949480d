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
from contextlib import AsyncExitStack

from storage.errors import KeyMissing, StorageError
from storage.failpoints import failpoint
from storage.keys.key_store import KeyStore
from storage.keys.master_key import NEXT_ENV, drop_next, make_next, next_master_key, use_next
from storage.keys.wrapping import FILE as KEYS
from storage.keys.wrapping import derived
from storage.maintenance.exclusive import exclude_bots, rotation_lock
from storage.settings import StorageSettings


async def rotate(settings: StorageSettings) -> int:
    """Replace the master key; return the number of members' keys that were rewrapped.

    Raises:
        AlreadyOpen: Another command changes the keys, or the key comes from the environment and a bot runs.
        KeyMissing: There is no key store, or the environment holds no next key.
        KeyUnreadable: No available master key opens the key store.
        DatabaseFailed: ``keys.db`` cannot be written to.
    """
    from_environment = bool(os.environ.get(settings.master_key_env))
    if not (settings.key_dir / KEYS).exists():
        raise KeyMissing(f"Expected a key store at {settings.key_dir / KEYS}, found none.")
    async with AsyncExitStack() as stack:
        if from_environment:
            await exclude_bots(settings, stack)
        stack.enter_context(rotation_lock(settings.key_dir))
        keys = await KeyStore.open(settings, data_exists=True)
        stack.push_async_callback(keys.close)
        if from_environment:
            master = _next_from_environment(settings)
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


def _next_from_environment(settings: StorageSettings) -> bytes:
    master = next_master_key(settings)
    if master is None:
        name = settings.master_key_env + NEXT_ENV
        raise KeyMissing(f"The environment variable {name} is empty; set it to the next master key.")
    return master
