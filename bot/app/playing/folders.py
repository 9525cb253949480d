"""Temporary folder of a playground: locked while the playground runs, removed at its end.

A process that is killed cannot remove its folder, which holds data and keys. The next playground removes it.
The operating system releases a lock when its process ends, however it ends. A folder whose lock is free
therefore belongs to no running process. A folder that differs from what this module creates is left alone.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

log = logging.getLogger(__name__)

PREFIX = "simpatico-playground-"
LOCK = "playground.lock"
MARK = b"folder of a Simpatico playground; removed when no process locks this file\n"
CONTENTS = frozenset({"data", "keys", LOCK})
"""Everything that a playground creates in its folder."""

_NAME = re.compile(re.escape(PREFIX) + "[a-z0-9_]{8}")
"""Names that :mod:`tempfile` gives to such a folder."""


@contextmanager
def own_folder(parent: Path | None = None) -> Generator[Path]:
    """Create a folder that is locked inside of the block and removed at its end.

    Args:
        parent: Where to create it; the system's temporary folder if left out.
    """
    with ExitStack() as held:  # unlocks after the folder is gone: two processes must not remove it at once
        handle = held.enter_context(_closing())
        with tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent) as name:
            handle.append(_lock(Path(name)))
            yield Path(name)


def remove_stale(parent: Path | None = None) -> int:
    """Remove the folders of playgrounds that were killed, and return how many. Blocks.

    A folder stays when its process runs, or when anything about it is not as :func:`own_folder` makes it.
    """
    removed = 0
    with suppress(OSError):
        for entry in Path(parent or tempfile.gettempdir()).iterdir():
            if _NAME.fullmatch(entry.name) and _remove_if_stale(entry):
                removed += 1
    if removed:
        log.info("removed what killed playgrounds had left in the temporary folder: %d", removed)
    return removed


def _remove_if_stale(folder: Path) -> bool:
    with suppress(OSError), ExitStack() as opened:
        inside = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        opened.callback(os.close, inside)
        lock = os.open(LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=inside)
        opened.callback(os.close, lock)
        if not (_is_ours(inside, lock) and _is_free(lock)):
            return False
        shutil.rmtree(folder)
        return True
    return False


def _is_ours(inside: int, lock: int) -> bool:
    """Return whether a folder and its lock are as :func:`own_folder` makes them."""
    folder, file, me = os.fstat(inside), os.fstat(lock), os.getuid()
    return (
        (folder.st_uid, stat.S_IMODE(folder.st_mode)) == (me, 0o700)
        and (file.st_uid, file.st_nlink) == (me, 1)
        and stat.S_ISREG(file.st_mode)
        and os.pread(lock, len(MARK) + 1, 0) == MARK
        and CONTENTS.issuperset(os.listdir(inside))
    )


def _is_free(lock: int) -> bool:
    """Lock a file, and return whether no other process had locked it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # also where the file system knows no locks: then nothing is certain
        return False
    return True


def _lock(folder: Path) -> int:
    """Create the lock file and return its open handle.

    The file gets its name after it is locked. Another process can therefore never find it unlocked.
    """
    new = folder / f"{LOCK}.new"
    handle = os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    os.write(handle, MARK)
    if _is_free(handle):
        new.rename(folder / LOCK)
    else:
        new.unlink()  # without a lock the folder is never taken for stale
    return handle


@contextmanager
def _closing() -> Generator[list[int]]:
    handles: list[int] = []
    try:
        yield handles
    finally:
        for handle in handles:
            os.close(handle)
