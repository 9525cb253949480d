"""The master key: 32 bytes from the environment, or from a key file that is made once with mode 0600.

Everything in the key store is wrapped by it. A key is made only while there is nothing it could belong to;
over existing data a missing key is an error, never a new key. While a new key takes its place
(:mod:`storage.keys.rotation`) there are two, the present and the next one; the key store takes what opens it.
"""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path

from storage.errors import KeyMissing, KeyUnreadable
from storage.keys.sealing import KEY_BYTES, new_key
from storage.settings import StorageSettings

KEY_FILE = "master.key"
NEXT_FILE = "master.key.next"
NEXT_ENV = "_NEXT"
"""With this behind its name, the environment variable of the next key."""


def master_key(settings: StorageSettings, *, may_make: bool) -> bytes:
    """The 32 bytes of the environment variable, or else of the key file.

    Args:
        settings: Where to look.
        may_make: Whether a key file may be made; only when no data exists.

    Raises:
        KeyMissing: There is data but no key.
        KeyUnreadable: Not 32 bytes in base64, not readable, or readable by others.
    """
    if text := os.environ.get(settings.master_key_env):
        return _decoded(text, f"environment variable {settings.master_key_env}")
    path = settings.key_dir / KEY_FILE
    if not path.exists():
        if not may_make:
            raise KeyMissing(
                f"Data exists, but no master key: expected the file {path} or the environment variable "
                f"{settings.master_key_env}. Restore it from a backup; without it the data cannot be read."
            )
        _make(path)
    return _decoded(_read_private(path), f"key file {path}")


def next_master_key(settings: StorageSettings) -> bytes | None:
    """The key that takes the place of the present one; None when there is none.

    Raises:
        KeyUnreadable: As for the present key.
    """
    if os.environ.get(settings.master_key_env):
        name = settings.master_key_env + NEXT_ENV
        return _decoded(text, f"environment variable {name}") if (text := os.environ.get(name)) else None
    path = settings.key_dir / NEXT_FILE
    return _decoded(_read_private(path), f"key file {path}") if path.exists() else None


def make_next(settings: StorageSettings) -> bytes:
    """Write a next key beside the present one."""
    _make(settings.key_dir / NEXT_FILE)
    return _decoded(_read_private(settings.key_dir / NEXT_FILE), "next key file")


def use_next(settings: StorageSettings) -> None:
    """Have the next key be the present one."""
    (settings.key_dir / NEXT_FILE).replace(settings.key_dir / KEY_FILE)
    sync_folder(settings.key_dir)


def require_private(path: Path) -> None:
    """Refuse a file or folder that others than its owner may read or change.

    Raises:
        KeyUnreadable: They may.
    """
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        wanted = 0o700 if path.is_dir() else 0o600
        raise KeyUnreadable(
            f"Expected {path} to be its owner's alone (mode {wanted:04o}), found {mode:04o}; run chmod "
            f"{wanted:o} on it, and `simpatico rotate-key` if others may have read it."
        )


def sync_folder(folder: Path) -> None:
    """Have what was renamed in a folder stay so over a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def _make(path: Path) -> None:
    """Write a new key so that after a crash there is a whole file or none."""
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
        raise KeyUnreadable(f"Expected to read the key file {path}: {exc}.") from exc


def _decoded(text: str, what: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except binascii.Error as exc:
        raise KeyUnreadable(
            f"Expected {KEY_BYTES} bytes in base64 in the {what}; this is no base64."
        ) from exc
    if len(key) != KEY_BYTES:
        raise KeyUnreadable(f"Expected {KEY_BYTES} bytes in base64 in the {what}, found {len(key)}.")
    return key
