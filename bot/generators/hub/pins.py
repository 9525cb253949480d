"""Pins: commit, hash and size of each file that was downloaded, kept in a file of ``model_dir``.

The first download of a repository pins its files. Every later download asks for the pinned commit and
refuses other bytes, whatever the hub or a mirror offers. One JSON file: repository -> commit and files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from bot.generation import ModelMissing

FILE = "hub-pins.json"


@dataclass(frozen=True, slots=True)
class FilePin:
    """One file: the hub's hash of it (SHA-256, or Git's SHA-1 for small files), and its size in bytes."""

    hash: str
    size: int


@dataclass(frozen=True, slots=True)
class Pin:
    """One repository at one commit; ``files`` maps names to pins."""

    commit: str
    files: Mapping[str, FilePin]


_ADAPTER = TypeAdapter(dict[str, Pin])


class Pins:
    """The pins of one ``model_dir``. Blocks while it reads or writes its file.

    Args:
        model_dir: ``[generator] model_dir``.
    """

    def __init__(self, model_dir: Path) -> None:
        self.path = model_dir / FILE

    def of(self, repo: str) -> Pin | None:
        """Return the pin of a repository; None: it was never downloaded.

        Raises:
            ModelMissing: The file is damaged.
        """
        return self._read().get(repo)

    def add(self, repo: str, pin: Pin) -> None:
        """Pin the files of a repository, beside those of the same commit that are pinned already.

        Raises:
            ModelMissing: The file is damaged.
            OSError: The file cannot be written.
        """
        from huggingface_hub.utils import WeakFileLock

        self.path.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(self.path.with_name(f"{FILE}.lock")):
            pins = self._read()
            known = pins.get(repo)
            files = {**known.files, **pin.files} if known and known.commit == pin.commit else pin.files
            content = {**pins, repo: Pin(pin.commit, files)}
            new = self.path.with_name(f"{FILE}.new")
            new.write_bytes(_ADAPTER.dump_json(content, indent=2) + b"\n")
            new.replace(self.path)

    def _read(self) -> dict[str, Pin]:
        try:
            return _ADAPTER.validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValidationError as exc:
            raise ModelMissing(
                f"{self.path} is damaged, so downloaded models cannot be compared with their pinned hashes;"
                " restore it, or delete it to pin them anew at the next download"
            ) from exc
