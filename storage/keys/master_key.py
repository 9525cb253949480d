"""The master key: 32 bytes from the environment, or from a key file that is created once with mode 0600.

It wraps everything in the key store. A key is created only while no data exists; a missing key of existing
data is an error, never a new key. During a rotation (:mod:`storage.maintenance.rotation`) there are two keys,
the present and the next one; the key store uses the one that opens it.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path

from storage.database.replacing import sync_folder
from storage.errors import KeyMissing, KeyUnreadable
from storage.keys.sealing import KEY_BYTES, new_key
from storage.settings import StorageSettings

KEY_FILE = "master.key"
NEXT_FILE = "master.key.next"
NEXT_ENV = "_NEXT"
"""Suffix of the environment variable that holds the next key."""


def master_key(settings: StorageSettings, *, may_make: bool) -> bytes:
    """Return the 32 bytes from the environment variable, or else from the key file.

    Args:
        settings: Names the variable and the folder.
        may_make: Whether a key file may be created; only when no data exists.

    Raises:
        KeyMissing: Data exists, but no key.
        KeyUnreadable: Not 32 bytes in base64, not readable, or readable by other users.
    """
    if text := os.environ.get(settings.master_key_env):
        return _decoded(text, f"environment variable {settings.master_key_env}")
    path = settings.key_dir / KEY_FILE
    if not path.exists():
        if not may_make:
            raise KeyMissing(
                f"Data exists, but no master key: expected the file {path} or the environment variable "
                f"{settings.master_key_env}. Restore it from a backup; without it, the data cannot be read."
            )
        _make(path)
    return _decoded(_read_private(path), f"key file {path}")


def source_of(settings: StorageSettings) -> str:
    """Return in words where the present master key comes from."""
    path = settings.key_dir / KEY_FILE
    if not os.environ.get(settings.master_key_env):
        return f"the file {path}"
    instead = f", not the file {path}" if path.exists() else ""
    return f"the environment variable {settings.master_key_env}{instead}"


def next_master_key(settings: StorageSettings) -> bytes | None:
    """Return the next master key; None if there is none.

    Raises:
        KeyUnreadable: As for the present key.
    """
    if os.environ.get(settings.master_key_env):
        name = settings.master_key_env + NEXT_ENV
        return _decoded(text, f"environment variable {name}") if (text := os.environ.get(name)) else None
    path = settings.key_dir / NEXT_FILE
    return _decoded(_read_private(path), f"key file {path}") if path.exists() else None


def make_next(settings: StorageSettings) -> bytes:
    """Create the next key beside the present one."""
    _make(settings.key_dir / NEXT_FILE)
    return _decoded(_read_private(settings.key_dir / NEXT_FILE), "next key file")


def use_next(settings: StorageSettings) -> None:
    """Replace the present key with the next one."""
    (settings.key_dir / NEXT_FILE).replace(settings.key_dir / KEY_FILE)
    sync_folder(settings.key_dir)


def drop_next(settings: StorageSettings) -> None:
    """Delete a next key that wraps nothing."""
    (settings.key_dir / NEXT_FILE).unlink(missing_ok=True)
    sync_folder(settings.key_dir)


def require_private(path: Path) -> None:
    """Check that only the owner may read or change a file or folder.

    Raises:
        KeyUnreadable: Other users may.
    """
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        wanted = 0o700 if path.is_dir() else 0o600
        raise KeyUnreadable(
            f"Expected {path} to be private (mode {wanted:04o}), found {mode:04o}; run chmod {wanted:o} "
            "on it, and `simpatico rotate-key` if others may have read it."
        )


def _make(path: Path) -> None:
    """Write a new key; a crash leaves a complete file or none."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(base64.b64encode(new_key()) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def _read_private(path: Path) -> str:
    try:
        require_private(path)
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as exc:
        raise KeyUnreadable(f"Cannot read the key file {path} ({exc}); check its permissions.") from exc


def _decoded(text: str, what: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except ValueError as exc:  # binascii.Error, or characters that are not ASCII
        raise KeyUnreadable(
            f"Expected {KEY_BYTES} bytes in base64 in the {what}, found something else; restore the key."
        ) from exc
    if len(key) != KEY_BYTES:
        raise KeyUnreadable(
            f"Expected {KEY_BYTES} bytes in base64 in the {what}, found {len(key)}; restore the key."
        )
    return key
