"""Cache of encodings on disk, so that repeated experiments do not encode the same texts again.

Used for public sets only; the bot never uses it. Without a folder, it lasts as long as the process. The key
is the SHA-256 of the text, under the encoder's id; the text itself is not written. The folder has one
subfolder per encoder, with files of fixed-size records. The files are memory-mapped, so memory holds only
what is read. Wraps any :class:`personalization.encoding.encoder.Encoder`; NumPy only.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from personalization.arrays import FloatArray
from personalization.encoding.encoder import Encoder

log = logging.getLogger(__name__)

TEXTS_PER_FILE = 1024


class CachedEncoder:
    """Encoder with a cache on disk.

    Several processes may share the folder: a file is written under a temporary name and then renamed, and
    duplicate entries are harmless.

    Args:
        encoder: Encodes texts that are not cached.
        folder: Folder of the cache; created if missing. None: the cache is kept in memory only.

    Attributes:
        encoder_id: Id of the wrapped encoder.
        dim: Dimension of the wrapped encoder.
        frozen: The encoder before any adapting, cached alike; itself if it is not adapted.
        n_found: Number of texts found in the cache so far.

    Raises:
        OSError: The folder cannot be created.
    """

    def __init__(self, encoder: Encoder, folder: Path | None) -> None:
        self._encoder = encoder
        self.encoder_id = encoder.encoder_id
        self.dim = encoder.dim
        self.frozen: CachedEncoder = (
            self if encoder.frozen is encoder else CachedEncoder(encoder.frozen, folder)
        )
        self.n_found = 0
        self._record = np.dtype([("key", np.uint8, 32), ("vector", "<f4", (self.dim,))])
        self._files: list[npt.NDArray[np.void]] = []
        self._place: dict[bytes, tuple[int, int]] = {}
        self._waiting: dict[bytes, FloatArray] = {}
        self._folder: Path | None = None
        if folder is not None:
            self._folder = folder / hashlib.sha256(encoder.encoder_id.encode()).hexdigest()[:16]
            self._folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(self._folder.glob("*.npy")):
                self._read(path)

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Encode the texts, in order; cached ones are read from disk. Blocks.

        Returns:
            ``n x d`` float32.

        Raises:
            OSError: The folder cannot be written.
        """
        keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
        missing = {
            key: text
            for key, text in zip(keys, texts, strict=True)
            if key not in self._place and key not in self._waiting
        }
        self.n_found += sum(key not in missing for key in keys)
        if missing:
            vectors = self._encoder.encode(list(missing.values()))
            self._waiting.update(zip(missing, vectors, strict=True))
        found = [self._vector(key) for key in keys]
        if len(self._waiting) >= TEXTS_PER_FILE:
            self.flush()
        return np.array(found, dtype=np.float32).reshape(len(keys), self.dim)

    def flush(self) -> None:
        """Write encodings that are not on disk yet to a new file; call it at the end.

        Raises:
            OSError: The folder cannot be written.
        """
        if self.frozen is not self:
            self.frozen.flush()
        if not self._waiting or self._folder is None:
            return
        records = np.empty(len(self._waiting), self._record)
        records["key"] = np.frombuffer(b"".join(self._waiting), np.uint8).reshape(-1, 32)
        records["vector"] = np.array(list(self._waiting.values()))
        name = hashlib.sha256(records.tobytes()).hexdigest()[:16]
        beside = self._folder / f"{name}.{os.getpid()}.part"
        with beside.open("wb") as file:
            np.save(file, records, allow_pickle=False)
        beside.replace(self._folder / f"{name}.npy")
        self._waiting.clear()
        self._read(self._folder / f"{name}.npy")

    def _read(self, path: Path) -> None:
        try:
            records = np.load(path, mmap_mode="r", allow_pickle=False)
            if records.dtype != self._record or records.ndim != 1:
                raise ValueError(f"records of {records.dtype}")
        except (OSError, ValueError, EOFError) as exc:
            log.warning("Cached encodings in %s are not used: %s", path, exc)
            return
        keys = np.ascontiguousarray(records["key"])
        self._place.update((key.tobytes(), (len(self._files), i)) for i, key in enumerate(keys))
        self._files.append(records)

    def _vector(self, key: bytes) -> FloatArray:
        if key in self._waiting:
            return self._waiting[key]
        file, row = self._place[key]
        return np.asarray(self._files[file][row]["vector"], np.float32)
