"""Checks of stored data: keys, database, disk space, and owners of the files."""

from __future__ import annotations

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
"""Free disk space below which the check fails, bytes."""
FEW_BYTES = 2 * 2**30
"""Free disk space below which the check warns, bytes."""


async def examine_data(settings: StorageSettings) -> AsyncIterator[Finding]:
    """Check that the keys open, that the database opens, and that they belong together."""
    try:
        keys = await check_keys(settings)
        where = "the database of [storage] key_url" if settings.key_url else str(settings.key_dir)
        yield ok("keys", f"{where} opens" if keys else "none yet; they are created at the first start")
    except StorageError as exc:
        yield failed("keys", str(exc))
        yield warning("database", "not checked, because this needs the keys")
        return
    try:
        yield ok("database", await check_database(settings, keys))
    except AlreadyOpen:
        yield ok("database", "in use by a running Simpatico; stop it first to check every page")
    except StorageError as exc:
        yield failed("database", str(exc))


def examine_owner(settings: StorageSettings) -> Iterator[Finding]:
    """Check that the files belong to the current user and that no other user can read them."""
    if foreign := not_ours(settings):
        yield warning(
            "owner",
            f"{_names(foreign)}: owned by another user; run this as the user of the bot, or chown the files",
        )
    if shared := open_to_others(settings):
        yield warning("owner", f"{_names(shared)}: other users of this machine can read this; chmod 600")


def examine_layout(settings: StorageSettings) -> Iterator[Finding]:
    """Check that neither of the folders of data and keys lies inside the other."""
    data, keys = settings.data_dir.resolve(), settings.key_dir.resolve()
    if not settings.url and (keys.is_relative_to(data) or data.is_relative_to(keys)):
        yield warning(
            "folders",
            f"the keys in {keys} and the data in {data} lie in one folder, so a copy of it opens itself: stop"
            f" the bot, move the keys to {data.parent / 'keys'}, and set [storage] key_dir to it",
        )


def examine_disk(settings: Settings) -> Iterator[Finding]:
    """Check that the folders are writable and that the disk has space."""
    folders = {settings.storage.data_dir, settings.storage.key_dir, settings.generator.model_dir}
    for place in sorted({_existing(folder) for folder in folders}):
        if (trouble := unwritable(place)) is not None:
            yield failed("disk", trouble)
            continue
        free = shutil.disk_usage(place).free
        said = f"{free / 2**30:.1f} GB free in {place}"
        if free < LEAST_BYTES:
            yield failed("disk", f"{said}; the bot could not store anything: free some space")
        elif free < FEW_BYTES:
            yield warning("disk", f"{said}; free some space before it runs out")
        else:
            yield ok("disk", said)


def unwritable(folder: Path) -> str | None:
    """Say why this user cannot write into a folder, which need not exist; None if they can."""
    place = _existing(folder)
    if not place.is_dir():
        return f"expected a folder at {place}, found a file; move it, or name another folder"
    if not os.access(place, os.W_OK | os.X_OK):
        return f"{place} is not writable for this user; correct its owner or its permissions"
    return None


def _existing(folder: Path) -> Path:
    """Return the folder or its nearest existing parent; missing folders are created at the first start."""
    folder = folder.absolute()
    return folder if folder.exists() or folder == folder.parent else _existing(folder.parent)


def _names(paths: list[Path]) -> str:
    return ", ".join(str(path) for path in paths)
