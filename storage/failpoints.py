"""Failpoints: named moments at which a test can kill, fail or delay the program. Off by default.

A promise such as "kill -9 loses nothing" is tested at the moments where it could break. Each such moment
calls :func:`failpoint` with its name. Without the environment variable ``SIMPATICO_FAILPOINTS`` that costs
one lookup in an empty dictionary. ``simpatico failpoints`` lists them, and a test fails for a failpoint
without a case. Imports nothing of the project, so every package can use it.

The variable holds ``name=action`` pairs, separated by commas. The actions are ``kill`` (SIGKILL to this
process), ``raise`` (:class:`FailpointReached`), ``disk`` (the exception that SQLite raises on a disk error)
and ``sleep:SECONDS``. ``kill@3`` acts at the third pass.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections import Counter

VARIABLE = "SIMPATICO_FAILPOINTS"

FAILPOINTS = {
    "writer.mid-batch": "some units of a transaction have run, others have not",
    "chat.after-post": "a reply is posted but not recorded",
    "writer.before-commit": "the units have run, their transaction is not committed",
    "writer.after-commit": "the transaction is committed, the callers have no result yet",
    "writer.before-checkpoint": "rows are deleted and committed, old pages are still in the log",
    "writer.after-checkpoint": "the log is empty, the callers have no result yet",
    "rounds.prior-taught": "a new prior is learnt but not stored",
    "rounds.solved": "heads are solved but not stored",
    "learning.heads-deleted": "old heads are deleted, new ones not written, within one transaction",
    "rounds.stored": "heads are stored, memory still serves the old ones",
    "forget.after-ledger": "the ledger lists the keys to destroy; data, keys and memory are unchanged",
    "forget.after-mark": "the member is marked for erasure, memory still holds their data",
    "forget.after-memory": "the member is evicted from memory, their key still exists",
    "forget.after-keys": "the key is destroyed, the rows still exist",
    "forget.before-rows-commit": "rows, heads and prior are deleted, their transaction is not committed",
    "forget.after-rows": "rows, heads and prior are deleted, old pages are still in the log",
    "forget.after-checkpoint": "everything is deleted, not yet verified or reported",
    "restore.copied": "the copy lies in the staging folder, nothing is checked yet",
    "restore.checked": "a store has opened the copy in the staging folder, the live files are unchanged",
    "restore.before-replace": "the old file has a second name, the new one is not in place",
    "restore.after-replace": "the new file is in place, no store has opened it yet",
    "restore.opened": "a store has opened the new file, the old one may still lie beside it",
    "rotate.after-next-key": "the next master key is written, it wraps nothing yet",
    "rotate.before-commit": "all keys are rewrapped, their transaction is not committed",
    "rotate.after-commit": "all keys are rewrapped, the next master key has not replaced the present one",
    "audit.after-line": "the audit trail has a new line, its tip still names the line before",
    "move.begun": "the target has tables and the mark of an unfinished move, no row is copied",
    "move.page-copied": "some rows are copied to the target",
    "move.compared": "all rows are in the target and equal, the source is not marked as moved",
    "move.marked": "the source is marked as moved, the target still as unfinished",
    "move.keys-copied": "keys and ledger are in both places, the old place is not emptied",
    "migration.statement": "a migration is about to run a statement, or to commit after its last one",
}
"""Failpoint -> the state of the program at that moment."""


class FailpointReached(Exception):
    """A failpoint was set to ``raise``. It never occurs outside tests."""


def _wanted(text: str) -> dict[str, str]:
    pairs = dict(pair.split("=", 1) for pair in text.split(",") if pair)
    if unknown := pairs.keys() - FAILPOINTS.keys():
        raise ValueError(
            f"Expected names of failpoints in {VARIABLE}, found {sorted(unknown)}; `simpatico failpoints` "
            "lists them."
        )
    return pairs


_active = _wanted(os.environ.get(VARIABLE, ""))
_passed: Counter[str] = Counter()


def switch_on(text: str) -> None:
    """Replace the active failpoints of this process; an empty text deactivates all. For tests.

    Raises:
        ValueError: ``text`` names a failpoint that does not exist.
    """
    global _active
    _active = _wanted(text)
    _passed.clear()


def failpoint(name: str) -> None:
    """Run the action of a failpoint, if it is active.

    Raises:
        FailpointReached: The action is ``raise``.
        OperationalError: The action is ``disk``.
    """
    if not _active or (action := _active.get(name)) is None:
        return
    action, _, turn = action.partition("@")
    _passed[name] += 1
    if turn and _passed[name] != int(turn):
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "raise":
        raise FailpointReached(f"failpoint {name}")
    elif action == "disk":
        raise sqlite3.OperationalError("disk I/O error")
    else:
        time.sleep(float(action.removeprefix("sleep:")))
