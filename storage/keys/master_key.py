"""The master key: 32 bytes that wrap everything in the key store.

A :class:`MasterKeySource` gives it: a command (a client of a key management service), an environment
variable, or a key file that is created once with mode 0600, in this order. A key is created only while no
data exists; a missing key of existing data is an error, never a new key. During a rotation
(:mod:`storage.maintenance.rotation`) there are two keys, the present and the next one; the key store uses the
one that opens it.
"""

from __future__ import annotations

import base64
import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from storage.database.replacing import sync_folder
from storage.errors import KeyMissing, KeyUnreadable
from storage.keys.key_command import KeyCommand
from storage.keys.sealing import KEY_BYTES, new_key
from storage.settings import StorageSettings

KEY_FILE = "master.key"
NEXT_FILE = "master.key.next"
NEXT_ENV = "_NEXT"
"""Suffix of the environment variable that holds the next key."""


class MasterKeySource(Protocol):
    """Where the master key comes from.

    Attributes:
        what: Its name in messages.
        can_change: Whether a running process sees a new key there.
    """

    what: str
    can_change: bool

    def keys(self, *, may_make: bool = False) -> tuple[bytes, bytes | None]:
        """Return the present master key and, during a rotation, the next one. Blocks.

        Args:
            may_make: Whether a key may be created; only when no data exists.

        Raises:
            KeyMissing: There is no key.
            KeyUnreadable: Not 32 bytes in base64, or not readable.
        """
        ...


def source_of(settings: StorageSettings) -> MasterKeySource:
    """Return the source that the settings name."""
    if settings.master_key_command:
        return FromCommand(settings)
    if os.environ.get(settings.master_key_env):
        return FromEnvironment(settings)
    return FromFile(settings)


class FromCommand:
    """The standard output of a program: the present key and, during a rotation, the next on a second line."""

    can_change = True

    def __init__(self, settings: StorageSettings) -> None:
        self._command = KeyCommand(settings.master_key_command)
        self.what = f"the output of {self._command.what}"

    def keys(self, *, may_make: bool = False) -> tuple[bytes, bytes | None]:
        """Run the program. It never creates a key.

        Raises:
            KeyUnreadable: The program failed, or printed something else than one or two keys.
        """
        found = [_decoded(line, self.what) for line in self._command.lines()]
        if not 1 <= len(found) <= 2:
            raise KeyUnreadable(
                f"Expected one line with the master key in {self.what}, or two with the next one, found"
                f" {len(found)}; run it by hand to see why."
            )
        return found[0], found[1] if len(found) == 2 else None


class FromEnvironment:
    """A variable, and another for the next key."""

    can_change = False

    def __init__(self, settings: StorageSettings) -> None:
        self._name = settings.master_key_env
        path = settings.key_dir / KEY_FILE
        instead = f", not the file {path}" if path.exists() else ""
        self.what = f"the environment variable {self._name}{instead}"

    def keys(self, *, may_make: bool = False) -> tuple[bytes, bytes | None]:
        """Read both variables.

        Raises:
            KeyUnreadable: Not 32 bytes in base64.
        """
        present, after = (_from_variable(name) for name in (self._name, self._name + NEXT_ENV))
        if present is None:
            raise KeyMissing(f"The environment variable {self._name} is empty; set it to the master key.")
        return present, after


class FromFile:
    """A private file of this host, and another for the next key."""

    can_change = True

    def __init__(self, settings: StorageSettings) -> None:
        self._path, self._next = settings.key_dir / KEY_FILE, settings.key_dir / NEXT_FILE
        self._variable = settings.master_key_env
        self._is_shared = bool(settings.key_url)
        self.what = f"the file {self._path}"

    def keys(self, *, may_make: bool = False) -> tuple[bytes, bytes | None]:
        """Read both files. The next key is read first: it may replace the present one in between.

        Raises:
            KeyMissing: There is no file.
            KeyUnreadable: Not 32 bytes in base64, not readable, or readable by other users.
        """
        after = self._read(self._next) if self._next.exists() else None
        if not self._path.exists():
            if not may_make:
                where = "from the host that created it" if self._is_shared else "from a backup"
                raise KeyMissing(
                    f"Data exists, but no master key: expected the file {self._path} or the environment "
                    f"variable {self._variable}. Restore it {where}; without it, the data cannot be read."
                )
            _make(self._path)
        return self._read(self._path), after

    def make_next(self) -> bytes:
        """Create the next key beside the present one."""
        _make(self._next)
        return self._read(self._next)

    def use_next(self) -> None:
        """Replace the present key with the next one."""
        self._next.replace(self._path)
        sync_folder(self._path.parent)

    def drop_next(self) -> None:
        """Delete a next key that wraps nothing."""
        self._next.unlink(missing_ok=True)
        sync_folder(self._path.parent)

    def _read(self, path: Path) -> bytes:
        return _decoded(_read_private(path), f"the key file {path}")


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


def _from_variable(name: str) -> bytes | None:
    text = os.environ.get(name)
    return _decoded(text, f"the environment variable {name}") if text else None


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
    key: bytes | None = None
    with suppress(ValueError):  # the library's error may quote the key, so it is not even a cause of ours
        key = base64.b64decode(text.strip(), validate=True)
    if key is None or len(key) != KEY_BYTES:
        found = "something else" if key is None else len(key)
        raise KeyUnreadable(
            f"Expected {KEY_BYTES} bytes in base64 in {what}, found {found}; restore the key."
        )
    return key
