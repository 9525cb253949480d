"""What is kept: keys, database, the room on the disk, and whose files they are."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from bot.config import Settings
from bot.doctor import Finding, failed, ok, warning
from storage.errors import AlreadyOpen, StorageError
from storage.maintenance.checkup import check_database, check_keys, not_ours, open_to_others
from storage.settings import StorageSettings

LEAST_BYTES = 100 * 2**20
"""With less room than that nothing can be promised."""
FEW_BYTES = 2 * 2**30


async def examine_data(settings: StorageSettings) -> AsyncIterator[Finding]:
    """Look whether the keys open, and whether the database opens and is theirs."""
    try:
        keys = await asyncio.to_thread(check_keys, settings)
        yield ok(
            "keys", f"{settings.key_dir} opens" if keys else "none yet; they are made at the first start"
        )
    except StorageError as exc:
        yield failed("keys", str(exc))
        yield warning("database", "not looked at: that takes the keys")
        return
    try:
        yield ok("database", await check_database(settings, keys))
    except AlreadyOpen:
        yield ok("database", "a running Simpatico has it; to have every page read, stop that one first")
    except StorageError as exc:
        yield failed("database", str(exc))


def examine_owner(settings: StorageSettings) -> Iterator[Finding]:
    """Look whether the files belong to whoever runs the bot, and to nobody else."""
    if foreign := not_ours(settings):
        yield warning(
            "owner",
            f"{_names(foreign)}: another user's; run this as the user who runs the bot, or chown them",
        )
    if shared := open_to_others(settings):
        yield warning("owner", f"{_names(shared)}: other users of this machine may read it; chmod 600")


def examine_disk(settings: Settings) -> Iterator[Finding]:
    """Look whether the folders can be written to, and how much room there is."""
    folders = {settings.storage.data_dir, settings.storage.key_dir, settings.generator.model_dir}
    for place in sorted({_existing(folder) for folder in folders}):
        if not place.is_dir():
            yield failed(
                "disk", f"expected a folder at {place}, found a file; move it, or name another folder"
            )
            continue
        if not os.access(place, os.W_OK | os.X_OK):
            yield failed(
                "disk", f"{place} cannot be written to by this user; correct its owner or its rights"
            )
            continue
        free = shutil.disk_usage(place).free
        said = f"{free / 2**30:.1f} GB free in {place}"
        if free < LEAST_BYTES:
            yield failed("disk", f"{said}; nothing could be stored: make room")
        elif free < FEW_BYTES:
            yield warning("disk", f"{said}; make room before it runs out")
        else:
            yield ok("disk", said)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest thing above it that is there; the rest is made at the first start."""
    folder = folder.absolute()
    return folder if folder.exists() or folder == folder.parent else _existing(folder.parent)


def _names(paths: list[Path]) -> str:
    return ", ".join(str(path) for path in paths)
