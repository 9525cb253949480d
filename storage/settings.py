"""Settings of the storage package: section ``[storage]`` of ``config.toml``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from annotated_types import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSettings:
    """Location and retention of data and keys.

    Attributes:
        url: Address of a PostgreSQL database, without its password; empty for SQLite in ``data_dir``.
        password_env: Name of the environment variable with that database's password.
        read_connections: Size of the pool of connections that only read. On PostgreSQL a process uses four
            more (one that writes, one for long reads, two for notifications), and with ``key_url`` four on
            the database of the keys.
        data_dir: Folder of ``data.db``.
        key_dir: Folder of ``keys.db``, ``ledger.db`` and, without a key from elsewhere, of ``master.key``.
            Beside the data, not inside, so that a copy of one folder is useless without the other.
        key_url: Address of a PostgreSQL database for keys and erasure ledger, for processes on several hosts;
            another one than ``url``. Empty for files in ``key_dir``.
        key_password_env: Name of the environment variable with the password of that database.
        master_key_env: Name of the environment variable with the master key (32 bytes, base64).
        master_key_command: Program and arguments that print the master key, as a client of a key management
            service does. It replaces variable and file.
        group_commit_ms: Longest wait for other writes to share a commit, milliseconds.
        retention_days: Days until the texts of candidates are deleted.
    """

    url: str = ""
    password_env: str = "SIMPATICO_DATABASE_PASSWORD"  # noqa: S105 - a variable name, not a password
    read_connections: Annotated[int, Interval(ge=1, le=64)] = 4
    data_dir: Path = Path("data")
    key_dir: Path = Path("keys")
    key_url: str = ""
    key_password_env: str = "SIMPATICO_KEY_PASSWORD"  # noqa: S105 - a variable name, not a password
    master_key_env: str = "SIMPATICO_MASTER_KEY"
    master_key_command: tuple[str, ...] = ()
    group_commit_ms: Annotated[int, Interval(ge=0, le=1000)] = 10
    retention_days: Annotated[int, Interval(ge=1, le=3650)] = 30


OLD_KEY_DIR = Path("data/keys")
"""Default of ``key_dir`` in earlier versions: inside the data."""
KEY_FILES = ("keys.db", "ledger.db", "master.key")


def with_old_key_dir(settings: StorageSettings, folder: Path) -> StorageSettings:
    """Keep an older installation's default folder of keys, as long as only that one holds keys.

    Args:
        settings: As configured, before relative folders are resolved.
        folder: The folder to which relative folders are relative.
    """
    is_default = settings.key_dir == StorageSettings().key_dir
    if is_default and _holds_keys(folder / OLD_KEY_DIR) and not _holds_keys(folder / settings.key_dir):
        return replace(settings, key_dir=OLD_KEY_DIR)
    return settings


def _holds_keys(folder: Path) -> bool:
    return any((folder / name).exists() for name in KEY_FILES)
