"""The audit trail ``audit.jsonl``: an append-only, hash-chained record of administrative acts.

Each line is one act as JSON, with its number, its time, the SHA-256 of the line before it, and its own
SHA-256 over all of that. A line that is changed, dropped or reordered breaks the chain. The end of the file
has no successor, so the number and hash of the last line are also kept in ``audit.tip`` in the key folder: a
dropped end shows there. An act after a dropped end is linked to a mark, so the gap shows for good.

The trail lies in the data folder, is in no backup, and no restore replaces it. It holds no personal data:
names of acts and of configuration keys, and counts. It does not stop a person who can write to both folders.
Such a person can compute a new chain.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from storage.clock import utcnow
from storage.database.replacing import rename_on_disk
from storage.errors import StorageError
from storage.failpoints import failpoint
from storage.settings import StorageSettings
from storage.wording import counted

log = logging.getLogger(__name__)

FILE, TIP = "audit.jsonl", "audit.tip"
_START = "0" * 64
"""Stands for the hash of the line before the first."""
_GAP = "f" * 64
"""Stands for the hash of the line before, where the tip showed that the end of the trail was changed."""


_DAMAGED_BYTES = "surrogateescape"
"""How bytes of a damaged line are read: appending goes on, and the check names the line."""


class Act(StrEnum):
    """Administrative acts that are recorded."""

    START = "start"
    CONSENTS = "consents"
    CONFIGURATION = "configuration"
    PAUSE = "pause"
    RESUME = "resume"
    BACKUP = "backup"
    BACKUP_KEYS = "backup-keys"
    RESTORE = "restore"
    RESTORE_KEYS = "restore-keys"
    ROTATE_KEY = "rotate-key"
    LEDGER = "ledger"
    FORGET = "forget"
    MOVE = "move"


class AuditBroken(StorageError):
    """The audit trail was changed after it was written; the message names the first line that is wrong."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One recorded act.

    Attributes:
        number: Position in the trail, from 1.
        at: Time of the act, aware UTC, to the second.
        act: What was done.
        details: Counts, and names of configuration keys; no personal data.
        previous: SHA-256 of the line before it, hexadecimal.
        digest: SHA-256 of this entry, hexadecimal.
    """

    number: int
    at: datetime
    act: str
    details: dict[str, int | str]
    previous: str
    digest: str


class AuditTrail:
    """Appends to and checks the trail of one host.

    Args:
        settings: Names the data folder and the key folder.
        now: The clock, aware UTC.
    """

    def __init__(self, settings: StorageSettings, now: Callable[[], datetime] = utcnow) -> None:
        self._path = settings.data_dir / FILE
        self._tip = settings.key_dir / TIP
        self._now = now

    def record(self, act: Act, **details: int | str) -> None:
        """Append an act; on disk at the return. Blocks for two fsyncs.

        A line that a crash left incomplete was never acknowledged, so it is cut off first.

        Raises:
            StorageError: A folder cannot be written to.
        """
        try:
            with self._locked() as file:
                lines = _whole_lines(file)
                number = len(lines) + 1
                fields = _fields(number, self._now(), act, details, self._link(lines))
                file.write(_line(fields) + "\n")
                file.flush()
                os.fsync(file.fileno())
                failpoint("audit.after-line")
                self._put_tip(number, _hash(fields))
        except OSError as exc:
            where = exc.filename or self._path
            raise StorageError(f"Cannot write the audit trail {where} ({exc.strerror}).") from exc

    def note(self, act: Act, **details: int | str) -> None:
        """Record an act that was done already; log a warning where it cannot be written. Blocks."""
        try:
            self.record(act, **details)
        except (StorageError, ImportError) as exc:  # there are no file locks on Windows
            log.warning("the act %s was done but is not in the audit trail: %s", act, exc)

    def verify(self) -> list[Entry]:
        """Return all entries, after checking the chain and its end.

        Raises:
            AuditBroken: A line was changed, dropped or reordered, or the end is missing.
        """
        lines, (number, digest) = self._read()
        entries = list(self._checked(lines))
        # A crash between a line and its tip leaves the trail one line ahead.
        if not number <= len(entries) <= number + 1:
            raise AuditBroken(
                f"{self._path}: {self._tip} counts {counted(number, 'line')}, found {len(entries)}"
            )
        if number and entries[number - 1].digest != digest:
            raise AuditBroken(f"{self._path}: line {number} is not the one that {self._tip} names")
        return entries

    def _checked(self, lines: Iterable[str]) -> Iterator[Entry]:
        previous = _START
        for number, line in enumerate(lines, 1):
            try:
                entry = _parsed(line)
            except (ValueError, KeyError, TypeError, AttributeError) as exc:
                raise AuditBroken(f"{self._path}: line {number} is not an entry of the trail") from exc
            if entry.previous == _GAP:
                raise AuditBroken(f"{self._path}: lines were missing when line {number} was written")
            if entry.number != number or entry.previous != previous:
                raise AuditBroken(f"{self._path}: line {number} does not follow the line before it")
            previous = entry.digest
            yield entry

    def _link(self, lines: list[str]) -> str:
        """Return the hash of the last line, or the mark of a gap where the tip names another end."""
        try:
            number, digest = self._read_tip()
        except AuditBroken:
            return _GAP
        # A crash between a line and its tip leaves the trail one line ahead.
        is_sound = number <= len(lines) <= number + 1
        if not is_sound or (number and _digest_of(lines[number - 1]) != digest):
            return _GAP
        return _digest_of(lines[-1]) if lines else _START

    def _read(self) -> tuple[list[str], tuple[int, str]]:
        """Return all lines and the tip, while no process appends."""
        import fcntl

        try:
            with self._path.open(encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_SH)
                return file.read().split("\n")[:-1], self._read_tip()
        except FileNotFoundError:
            return [], self._read_tip()
        except (OSError, UnicodeDecodeError) as exc:
            raise AuditBroken(f"{self._path} cannot be read ({type(exc).__name__})") from exc

    def _read_tip(self) -> tuple[int, str]:
        try:
            number, digest = self._tip.read_text("ascii").split()
            return int(number), digest
        except FileNotFoundError:
            return 0, _START
        except (OSError, ValueError) as exc:
            raise AuditBroken(f"{self._tip} cannot be read; expected a number and a hash") from exc

    def _put_tip(self, number: int, digest: str) -> None:
        draft = self._tip.with_name(f"{TIP}.new")
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w") as file:
            file.write(f"{number} {digest}\n")
        rename_on_disk(draft, self._tip)

    @contextmanager
    def _locked(self) -> Generator[Any]:
        """Open the trail while no other process appends to it or reads it."""
        import fcntl  # not on Windows, where other commands still work

        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # there is none yet with PostgreSQL
        handle = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
        with os.fdopen(handle, "a+", encoding="utf-8", errors=_DAMAGED_BYTES) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file


def _whole_lines(file: Any) -> list[str]:
    """Return the complete lines; cut off an incomplete one."""
    file.seek(0)
    whole, newline, torn = file.read().rpartition("\n")
    if torn:
        file.truncate(len((whole + newline).encode(errors=_DAMAGED_BYTES)))
    return whole.split("\n") if newline else []


def _digest_of(line: str) -> str:
    """Return the hash to link to: of the entry, or of the line itself where it is damaged."""
    try:
        return str(json.loads(line)["hash"])
    except (ValueError, KeyError, TypeError):
        return hashlib.sha256(line.encode(errors=_DAMAGED_BYTES)).hexdigest()


def _fields(
    number: int, at: datetime, act: str, details: dict[str, int | str], previous: str
) -> dict[str, Any]:
    when = at.astimezone(UTC).isoformat(timespec="seconds")
    return {"n": number, "at": when, "act": str(act), "details": details, "previous": previous}


def _hash(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _line(fields: dict[str, Any]) -> str:
    return json.dumps(fields | {"hash": _hash(fields)})


def _parsed(line: str) -> Entry:
    found = json.loads(line)
    fields = _fields(
        found["n"], datetime.fromisoformat(found["at"]), found["act"], found["details"], found["previous"]
    )
    if line != _line(fields):
        raise ValueError("changed")
    return Entry(
        number=fields["n"],
        at=datetime.fromisoformat(fields["at"]),
        act=fields["act"],
        details=fields["details"],
        previous=fields["previous"],
        digest=_hash(fields),
    )
