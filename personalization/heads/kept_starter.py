"""Starter priors that were fitted on this machine, kept in a folder, one for each encoder.

The starter that ships belongs to the packaged encoder. For any other encoder, the bot fits one at its first
start (:mod:`personalization.lab.own_starter`) and keeps it here. The file's name holds what the starter was
fitted for and the hash of its bytes, so that an outdated or damaged file is recognised and fitted again.

A lock file beside it lets one process fit at a time, and tells the others how far it is and how it ended. It
is empty when a fit begins, and belongs to one recipe. The operating system releases the lock when that
process ends, however it ends. Holds public data only, nothing of members. Imports no storage.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from personalization.errors import HeadDamaged, PersonalizationError, StarterFailed
from personalization.heads.heads import FeatureSpace, Prior

log = logging.getLogger(__name__)

FITTED_BY = "b8581806"
"""Id of the recipe and of the shipped sets. With another one, starters are fitted again."""

DONE = "done"
"""What a fit tells when it ended well."""
FAILED = "failed: "
"""What a fit tells in front of the reason for which it ended."""

Tell = Callable[[str], None]
"""Tells other processes how far a fit is. A full disk keeps the text from them, and the fit goes on."""


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
        """Return the file of a sound starter; None without a file. Changes nothing. Blocks for a moment.

        Raises:
            HeadDamaged: There are only damaged files.
            StarterFailed: A file cannot be read now.
        """
        damaged: HeadDamaged | None = None
        for path in self._files():
            try:
                if self._sound(path) is not None:
                    return path
            except HeadDamaged as exc:
                damaged = exc
        if damaged is not None:
            raise damaged
        return None

    def is_there(self) -> bool:
        """Return whether there is a file, sound or not. Blocks for a moment."""
        with suppress(StarterFailed):
            return bool(self._files())
        return False

    def read(self) -> Prior | None:
        """Read the starter; None without a sound one. Deletes damaged files. Blocks for a moment.

        Raises:
            StarterFailed: A file cannot be read now. It may be sound, so it stays.
        """
        for path in self._files():
            try:
                if (found := self._sound(path)) is not None:
                    return found
            except HeadDamaged as exc:
                log.warning("A kept starter prior is deleted, and one is fitted again: %s", exc)
                with suppress(OSError):
                    path.unlink()
        return None

    def _files(self) -> list[Path]:
        try:
            return sorted(self.folder.glob(f"{self._name}-*.safetensors"))
        except OSError as exc:
            raise StarterFailed(f"expected to read {self.folder}, found {_reason(exc)}") from exc

    def _sound(self, path: Path) -> Prior | None:
        """Read one file; None if another process has just replaced it.

        Raises:
            HeadDamaged: The file does not have the hash in its name, or is no prior for these features.
            StarterFailed: The file cannot be read now.
        """
        try:
            body = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise StarterFailed(f"expected to read {path}, found {_reason(exc)}") from exc
        if hashlib.sha256(body).hexdigest() != path.stem.rpartition("-")[2]:
            raise HeadDamaged(f"expected {path.name} to have the hash in its name, found another")
        return Prior.from_bytes(body, feature_id=self.features.feature_id, dim=self.features.dim)

    def keep(self, body: bytes) -> Path:
        """Write the starter in place of earlier ones for the same features; return its file.

        Raises:
            StarterFailed: The folder cannot be written, or the disk is full.
        """
        path = self.folder / f"{self._name}-{hashlib.sha256(body).hexdigest()}.safetensors"
        beside = path.with_suffix(f".{os.getpid()}.part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            earlier = set(self.folder.glob(f"{self._of_features}[-.]*"))
            try:
                beside.write_bytes(body)
                beside.replace(path)
            finally:
                beside.unlink(missing_ok=True)
        except OSError as exc:
            raise StarterFailed(f"expected to write into {self.folder}, found {_reason(exc)}") from exc
        for other in earlier - {path, self._lock}:
            with suppress(OSError):  # the new one is in place
                other.unlink()
        return path

    @contextmanager
    def locked(self) -> Generator[Tell]:
        """Wait until no other process fits this starter; yield a function that tells how far this one is.

        How the block ends is told: well, or by an error and which. A killed process leaves what it told last.
        Without file locks, on Windows, two processes may fit at once. Both then keep the same bytes.

        Raises:
            StarterFailed: The folder cannot be written.
        """
        lock = self._opened_lock()
        try:
            _lock_file(lock, wait=True)
            _write(lock, "")
            yield lambda how_far: _write(lock, how_far)
            _write(lock, DONE)
        except (PersonalizationError, OSError) as exc:
            _write(lock, f"{FAILED}{exc}")
            raise
        finally:
            os.close(lock)

    def tell_failure(self, why: str) -> None:
        """Record why a process that fitted this starter ended, unless another one fits it now."""
        with suppress(StarterFailed):  # the folder cannot be written, which is why
            lock = self._opened_lock()
            try:
                if _lock_file(lock, wait=False):
                    _write(lock, f"{FAILED}{why}")
            finally:
                os.close(lock)

    def _opened_lock(self) -> int:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return os.open(self._lock, os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as exc:
            raise StarterFailed(f"expected {self.folder} to be writable, found {_reason(exc)}") from exc

    def told(self) -> str | None:
        """Return the progress that the latest fit told; None if no fit began.

        Blocks for a moment.
        """
        with suppress(OSError):
            return self._lock.read_text(encoding="utf-8", errors="replace")
        return None

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
        return self.folder / f"{self._name}.lock"


def _lock_file(lock: int, *, wait: bool) -> bool:
    """Lock an open file; return False if another process holds it. Without file locks nothing is locked."""
    with suppress(ImportError, OSError):
        import fcntl  # POSIX only

        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
    return True


def _write(lock: int, told: str) -> None:
    with suppress(OSError):
        os.ftruncate(lock, 0)
        os.pwrite(lock, told.encode(errors="replace"), 0)


def _reason(exc: OSError) -> str:
    return exc.strerror or type(exc).__name__
