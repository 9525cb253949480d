"""Key store and erasure ledger as two SQLite files, ``keys.db`` and ``ledger.db``, in a private folder.

The default place. Several processes of one host may share it. A destroyed key is overwritten in the file, so
it leaves no trace.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from storage.database.replacing import followed, settle
from storage.database.sqlite import PRAGMAS, open_engine, opening_lock
from storage.errors import DatabaseFailed
from storage.keys.key_place import Part
from storage.keys.master_key import require_private

KEYS, LEDGER = "keys.db", "ledger.db"
# A rollback journal, truncated at each commit, instead of a write-ahead log. It needs no checkpoint to
# remove old pages, and SQLite before 3.51.3 cannot lose a commit in it when several processes write.
KEY_PRAGMAS = PRAGMAS | {"journal_mode": "truncate"}
# The folder is fsynced too, so that an entry survives a power failure.
LEDGER_PRAGMAS = KEY_PRAGMAS | {"synchronous": 3}


class KeyFiles:
    """Files in a folder.

    Args:
        folder: Created at the first start, with mode 0700.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys, self._ledger = followed(folder / KEYS), followed(folder / LEDGER)
        self.what = str(self._keys)
        self.files: tuple[Path, ...] = (
            self._keys,
            self._keys.with_name(f"{self._keys.name}-journal"),
        )

    async def is_there(self) -> bool:
        """Return whether ``keys.db`` exists and is not empty."""
        return self._keys.exists() and self._keys.stat().st_size > 0

    @asynccontextmanager
    async def opening(self) -> AsyncGenerator[None]:
        """Lock the folder, and settle a restore that was killed.

        Raises:
            DatabaseFailed: The folder cannot be created.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as exc:
            raise self._unwritable(exc) from exc
        async with opening_lock(self._folder):
            for file in (self._keys, self._ledger):
                settle(file)
            yield

    def open_keys(self, stack: AsyncExitStack) -> Part:
        """Open ``keys.db``.

        Raises:
            DatabaseFailed: The folder cannot be written to.
            KeyUnreadable: Other users may read the folder or the file.
        """
        return self._part(self._keys, KEY_PRAGMAS, stack)

    def open_ledger(self, stack: AsyncExitStack) -> Part:
        """Open ``ledger.db``.

        Raises:
            DatabaseFailed: The folder cannot be written to.
            KeyUnreadable: Other users may read the folder or the file.
        """
        return self._part(self._ledger, LEDGER_PRAGMAS, stack)

    def _part(self, path: Path, pragmas: Mapping[str, str | int], stack: AsyncExitStack) -> Part:
        try:
            engine = open_engine(path, connections=2, begin="BEGIN", pragmas=pragmas)
            stack.push_async_callback(engine.dispose)
            for private in (self._folder, path):
                require_private(private)
        except OSError as exc:
            raise self._unwritable(exc) from exc
        return Part(engine, str(path))

    def _unwritable(self, exc: OSError) -> DatabaseFailed:
        return DatabaseFailed(f"Cannot write to the folder {self._folder} ({exc}); check its permissions.")
