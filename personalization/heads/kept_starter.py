"""Starter priors that were fitted on this machine, kept in a folder, one for each encoder.

The starter that ships belongs to the packaged encoder. For any other encoder, the bot fits one at its first
start (:mod:`personalization.lab.own_starter`) and keeps it here. The file's name holds what the starter was
fitted for and the hash of its bytes, so that an outdated or damaged file is recognised and fitted again.

A lock file beside it lets one process fit at a time, and tells the others how far it is. The operating system
releases the lock when that process ends, however it ends. Holds public data only, nothing of members. Imports
no storage.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from personalization.errors import HeadDamaged, StarterFailed
from personalization.heads.heads import FeatureSpace, Prior

log = logging.getLogger(__name__)

FITTED_BY = "b8581806"
"""Id of the recipe and of the shipped sets. With another one, starters are fitted again."""

Tell = Callable[[str], None]
"""Tells other processes how far a fit is."""


@dataclass(frozen=True, slots=True)
class KeptStarter:
    """Place of the starter for one encoder.

    Attributes:
        folder: Folder of all kept starters; need not exist.
        features: Features that the starter is for.
    """

    folder: Path
    features: FeatureSpace

    def path(self) -> Path | None:
        """Return the file of a sound starter; None without one. Blocks for a moment."""
        for path in self._files():
            with suppress(HeadDamaged, OSError):
                self._sound(path)
                return path
        return None

    def read(self) -> Prior | None:
        """Read the starter; None without a sound one. Deletes damaged files. Blocks for a moment."""
        for path in self._files():
            try:
                return self._sound(path)
            except (HeadDamaged, OSError) as exc:
                log.warning("A kept starter prior is not used, and one is fitted again: %s", exc)
                with suppress(OSError):
                    path.unlink()
        return None

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob(f"{self._name}-*.safetensors"))

    def _sound(self, path: Path) -> Prior:
        """Read one file.

        Raises:
            HeadDamaged: The file does not have the hash in its name, or is no prior for these features.
            OSError: The file cannot be read.
        """
        body = path.read_bytes()
        if hashlib.sha256(body).hexdigest() != path.stem.rpartition("-")[2]:
            raise HeadDamaged(f"expected {path.name} to have the hash in its name, found another")
        return Prior.from_bytes(body, feature_id=self.features.feature_id, dim=self.features.dim)

    def keep(self, body: bytes) -> Path:
        """Write the starter in place of earlier ones for the same features; return its file.

        Raises:
            OSError: The folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        earlier = set(self.folder.glob(f"{self._of_features}-*"))
        path = self.folder / f"{self._name}-{hashlib.sha256(body).hexdigest()}.safetensors"
        beside = path.with_suffix(f".{os.getpid()}.part")
        beside.write_bytes(body)
        beside.replace(path)
        for other in earlier - {path}:
            other.unlink(missing_ok=True)
        return path

    @contextmanager
    def locked(self) -> Generator[Tell]:
        """Wait until no other process fits this starter; yield a function that tells how far this one is.

        Without file locks, on Windows, two processes may fit at once. Both then keep the same bytes.

        Raises:
            StarterFailed: The folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._lock, os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as exc:
            raise StarterFailed(f"expected {self.folder} to be writable, found {exc.strerror}") from exc
        try:
            with suppress(ImportError, OSError):
                import fcntl  # POSIX only

                fcntl.flock(lock, fcntl.LOCK_EX)

            def tell(how_far: str) -> None:
                os.ftruncate(lock, 0)
                os.pwrite(lock, how_far.encode(), 0)

            yield tell
        finally:
            os.close(lock)

    def told(self) -> str:
        """Return what the process that fits, or the last one that did, has told. Blocks for a moment."""
        with suppress(OSError, UnicodeDecodeError):
            return self._lock.read_text(encoding="utf-8")
        return ""

    def is_being_fitted(self) -> bool:
        """Return whether a process fits this starter now."""
        with suppress(ImportError, OSError):  # no such file, or a file system without locks
            import fcntl  # POSIX only

            with self._lock.open("rb") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return True
        return False

    @property
    def _of_features(self) -> str:
        return hashlib.sha256(self.features.feature_id.encode()).hexdigest()[:16]

    @property
    def _name(self) -> str:
        return f"{self._of_features}-{FITTED_BY}"

    @property
    def _lock(self) -> Path:
        return self.folder / f"{self._of_features}.lock"
