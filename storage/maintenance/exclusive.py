"""Exclusive use of data and keys by a command of the host, while no bot and no other such command runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

from storage.database.sqlite import folder_lock
from storage.errors import AlreadyOpen
from storage.opening import backend_of
from storage.settings import StorageSettings

ROTATION_LOCK = "rotation.lock"
_WAITS_S = (0.0, 0.2, 0.8, 2.0)
"""Waits before the lead is asked for: PostgreSQL frees the lead of a closed connection a moment later."""


async def exclude_bots(settings: StorageSettings, stack: AsyncExitStack) -> None:
    """Keep bots out of the data: lock the folder on SQLite, take the lead on PostgreSQL.

    Args:
        settings: Location of the data.
        stack: Lets bots in again.

    Raises:
        AlreadyOpen: A bot is running.
        DatabaseFailed: The server cannot be reached.
        StorageError: The folder cannot be created.
    """
    if settings.url:
        await require_lead(settings, stack)
    else:
        stack.enter_context(folder_lock(settings.data_dir))


async def require_lead(settings: StorageSettings, stack: AsyncExitStack) -> None:
    """Take the lead on a PostgreSQL database; on SQLite, opening the backend locks the folder.

    Raises:
        AlreadyOpen: A bot is running.
        DatabaseFailed: The server cannot be reached.
    """
    if not settings.url:
        return
    backend = backend_of(settings)
    await backend.open(stack)
    peers = backend.peers()
    stack.push_async_callback(peers.close)
    await peers.open(lambda _: None)
    for wait_s in _WAITS_S:
        await asyncio.sleep(wait_s)
        if await peers.take_lead():
            return
    raise AlreadyOpen(f"Another process uses {backend.what}; stop the bot first.")


@contextmanager
def rotation_lock(folder: Path) -> Generator[None]:
    """Keep other commands from replacing the master key or ``keys.db`` in this folder.

    The operating system releases the lock when the process ends.

    Raises:
        AlreadyOpen: Another such command is in progress.
    """
    import fcntl  # POSIX only

    handle = os.open(folder / ROTATION_LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as exc:
        raise AlreadyOpen(f"Another command changes the keys in {folder}; wait until it ends.") from exc
    finally:
        os.close(handle)
