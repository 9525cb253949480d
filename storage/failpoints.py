"""Failpoints: named moments at which a test may kill, fail or delay the program. Off unless a test says so.

A promise such as "kill -9 loses nothing" is proven at the moments where it could break. Each such moment
calls :func:`failpoint` with its name; without the environment variable ``SIMPATICO_FAILPOINTS`` that is one
look into an empty dictionary. ``simpatico failpoints`` lists them, and a test fails while a new one has no
case. Imports nothing of the project, so that every package may name its moments.

The variable holds ``name=action`` pairs, separated by commas; actions are ``kill`` (SIGKILL to the own
process), ``raise`` (:class:`FailpointReached`), ``disk`` (what SQLite raises when the disk fails) and
``sleep:SECONDS``. ``kill@3`` acts at the third passing.
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
    "chat.after-post": "a reply is posted, and not recorded",
    "writer.before-commit": "units have run, their transaction is not committed",
    "writer.after-commit": "committed, and nobody has been told",
    "writer.before-checkpoint": "rows are deleted and committed, old pages are in the log",
    "writer.after-checkpoint": "the log is empty, and nobody has been told",
    "rounds.prior-taught": "a new prior is taught and not stored",
    "rounds.solved": "heads are solved and not stored",
    "learning.heads-deleted": "old heads are deleted, new ones not written, in a transaction",
    "rounds.stored": "heads are stored, and memory still serves the old ones",
    "forget.after-ledger": "the ledger names the keys that will go; data, keys and memory know nothing of it",
    "forget.after-mark": "the member is on the way out, and memory still holds them",
    "forget.after-memory": "memory has let go, the key is there",
    "forget.after-keys": "the key is destroyed, the rows are there",
    "forget.before-rows-commit": "rows, heads and prior are deleted, their transaction is not committed",
    "forget.after-rows": "rows, heads and prior are gone, old pages are in the log",
    "forget.after-checkpoint": "all is gone, nobody has looked or been told",
    "restore.before-replace": "the copy is whole, the old database is still there",
    "rotate.after-next-key": "the next master key is written, nothing is wrapped by it",
    "rotate.before-commit": "all keys are wrapped anew, their transaction is not committed",
    "rotate.after-commit": "all keys are wrapped anew, the next master key has not taken its place",
    "migration.statement": "an upgrade is about to run a statement, or to commit after its last",
}
"""Every failpoint of the product, with the moment it stands for."""


class FailpointReached(Exception):
    """A test asked for a failure at this moment; outside tests nobody should ever see it."""


def _wanted(text: str) -> dict[str, str]:
    pairs = dict(pair.split("=", 1) for pair in text.split(",") if pair)
    if unknown := pairs.keys() - FAILPOINTS.keys():
        raise ValueError(f"{VARIABLE} names {sorted(unknown)}; `simpatico failpoints` lists what there is.")
    return pairs


_active = _wanted(os.environ.get(VARIABLE, ""))
_passed: Counter[str] = Counter()


def switch_on(text: str) -> None:
    """Replace what is switched on in this process; an empty text switches all off. For tests.

    Raises:
        ValueError: ``text`` names a failpoint that does not exist.
    """
    global _active
    _active = _wanted(text)
    _passed.clear()


def failpoint(name: str) -> None:
    """Pass the named moment.

    Raises:
        FailpointReached: A test switched this one to ``raise``.
        OperationalError: A test switched this one to ``disk``.
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
