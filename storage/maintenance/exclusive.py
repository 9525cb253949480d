"""Exclusive use of data and keys by a command of the host, while no bot and no other such command runs."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Connection, inspect
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database.backend import Use, translated_errors
from storage.database.notes import put_note
from storage.database.schema import notes
from storage.database.sqlite import folder_lock
from storage.errors import AlreadyOpen, DatabaseFailed
from storage.keys.key_database import KeyDatabase
from storage.opening import KEYS_CHANGED, backend_of
from storage.settings import StorageSettings

ROTATION_LOCK = "rotation.lock"


class Exclusion:
    """Lock that keeps bots out, on the server by a connection that can be lost.

    Args:
        connection: The connection; None for the lock of a folder, which only ends with the process.
        what: Name of the database in messages.
    """

    def __init__(self, connection: AsyncConnection | None = None, what: str = "") -> None:
        self._connection, self._what = connection, what

    async def require(self) -> None:
        """Check that bots are still kept out, before keys are replaced. A bot from before must start again.

        Raises:
            DatabaseFailed: The connection was lost, so a bot may run by now.
        """
        if self._connection is None:
            return
        try:
            with translated_errors(self._what):
                async with self._connection.begin():
                    await self._connection.run_sync(_note_change)
        except DatabaseFailed as exc:
            raise DatabaseFailed(
                f"{self._what}: the connection that keeps bots out was lost; repeat the command."
            ) from exc


def _note_change(connection: Connection) -> None:
    if inspect(connection).has_table(notes.name):
        put_note(connection, KEYS_CHANGED, secrets.token_hex(8))


async def exclude_bots(settings: StorageSettings, stack: AsyncExitStack) -> Exclusion:
    """Keep bots out of the data: lock the folder on SQLite, take the lock of running bots on PostgreSQL.

    Args:
        settings: Location of the data.
        stack: Lets bots in again.

    Raises:
        AlreadyOpen: A bot is running.
        DatabaseFailed: The server cannot be reached.
        StorageError: The folder cannot be created.
    """
    if not settings.url:
        stack.enter_context(folder_lock(settings.data_dir))
        return Exclusion()
    backend = backend_of(settings, Use.ALONE)
    await backend.open(stack)
    return Exclusion(await backend.connect_writer(stack), backend.what)


async def exclude_key_commands(
    settings: StorageSettings, stack: AsyncExitStack, *, also_at: str = ""
) -> None:
    """Keep other commands from replacing the master key or the keys, in this folder and in their database.

    Args:
        settings: Location of the keys.
        stack: Lets such commands in again.
        also_at: A second database, to which the keys move.

    Raises:
        AlreadyOpen: Another such command is in progress, on this host or another one.
        DatabaseFailed: A server cannot be reached.
    """
    stack.enter_context(rotation_lock(settings.key_dir))
    for key_url in filter(None, (settings.key_url, also_at)):
        await stack.enter_async_context(KeyDatabase(replace(settings, key_url=key_url)).changing())


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
