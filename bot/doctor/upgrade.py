"""Checks before an upgrade: what a start of this version would change in the data. Nothing is changed."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator

from bot.config import Settings
from bot.doctor import Finding, failed, ok, warning
from bot.doctor.stored_data import examine_data
from storage.errors import AlreadyOpen, StorageError
from storage.maintenance.checkup import pending_migrations, size_of_data
from storage.wording import counted


async def examine_upgrade(settings: Settings) -> AsyncIterator[Finding]:
    """Yield whether the data open with this version, what changes in them, and whether a copy has room.

    Args:
        settings: All sections.
    """
    broken = False
    async for finding in examine_data(settings.storage):
        broken |= finding.verdict == "failed"
        yield finding
    if broken:
        return
    try:
        changes = await pending_migrations(settings.storage)
    except AlreadyOpen:
        yield warning("upgrade", "a running Simpatico holds the data; stop it, and run this again")
        return
    except StorageError as exc:
        yield failed("upgrade", str(exc))
        return
    if not changes:
        yield ok("upgrade", "the data stay as they are; no copy is needed for this version")
        return
    yield warning(
        "upgrade", f"the next start makes {counted(len(changes), 'change')}; copy data and keys first:"
    )
    for change in changes:
        yield ok("change", change)
    if (finding := _room(settings)) is not None:
        yield finding


def _room(settings: Settings) -> Finding | None:
    """Check the room for a copy beside a SQLite database; None for a server."""
    storage = settings.storage
    if storage.url:
        return None
    needed, free = 2 * size_of_data(storage), shutil.disk_usage(storage.data_dir).free
    said = f"{free // 2**20} MB free; a copy and the change need about {max(needed // 2**20, 1)} MB"
    return (ok if free > needed else failed)("room", said)
