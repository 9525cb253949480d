"""Verification of an erasure: searches tables and files for traces.

Neither search relies on the deletion itself. The first queries the tables for the erased members. The second
reads the files byte by byte for the numbers of destroyed keys and the members' pseudonyms; they would remain
if a deleted page had not been overwritten.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Connection, func, select

from storage.database.change_numbers import pages
from storage.database.schema import (
    MemberStatus,
    feedback,
    heads,
    members,
    preferences,
    remarks,
    replies,
    wishes,
)
from storage.keys.key_store import KeyStore
from storage.records import MemberId

MOST_BYTES = 512 * 2**20
"""Largest total size of files to search: the member and every write wait for the search."""
MOST_NEEDLES = 16
BLOCK_BYTES = 2**18
"""Searching one block takes at most a quarter of a millisecond per needle."""


def traces_in_tables(connection: Connection, keys: KeyStore, member_ids: Sequence[MemberId]) -> int:
    """Count rows and keys of erased members; a stored refusal does not count."""
    found = len(keys.key_ids_of(member_ids))
    for page in pages(member_ids):
        for table in (replies, feedback, preferences, remarks, heads, wishes, members):
            own = select(func.count()).select_from(table).where(table.c.member_id.in_(page))
            if table is members:
                own = own.where(members.c.standing != MemberStatus.REFUSED)
            found += connection.execute(own).scalar_one()
    return found


def needles_of(
    connection: Connection, key_ids: Sequence[bytes], member_ids: Sequence[MemberId]
) -> list[bytes]:
    """Return the bytes that no file may contain any more."""
    remembered: set[bytes] = set()
    for page in pages(member_ids):
        still_there = select(members.c.member_id).where(members.c.member_id.in_(page))
        remembered |= set(connection.execute(still_there).scalars())
    return [*key_ids, *(member_id for member_id in member_ids if member_id not in remembered)]


def can_search(files: Sequence[Path], needles: Sequence[bytes]) -> bool:
    """Return whether there is something to search for, and the search is short."""
    size = sum(path.stat().st_size for path in files if path.exists())
    return 0 < len(needles) <= MOST_NEEDLES and size <= MOST_BYTES


class HeldFiles:
    """Files that stay open from their first search until the store is closed.

    When a process closes any descriptor of a file, the system drops all its locks on that file, also those of
    SQLite. Another program that then closes the database would believe that it is the last user, and delete
    the write-ahead log under the running bot.
    """

    def __init__(self) -> None:
        self._open: dict[Path, BinaryIO] = {}

    def at_start(self, path: Path) -> BinaryIO:
        """Return the open file, positioned at its start."""
        held = self._open.get(path)
        if held is None or not os.path.samestat(os.fstat(held.fileno()), path.stat()):
            if held is not None:
                held.close()
            held = self._open[path] = path.open("rb", buffering=0)
        held.seek(0)
        return held

    def close(self) -> None:
        """Close all files; call it after the database connections are closed."""
        for held in self._open.values():
            held.close()


def traces_in_files(files: Sequence[Path], needles: Sequence[bytes], held: HeldFiles) -> int:
    """Count needles that some file contains. Blocks; call from a thread.

    Reads block by block: a search holds the GIL, and with it the event loop, while it scans its bytes. Other
    threads run while the next block is read.
    """
    return sum(len(_needles_in(held.at_start(path), frozenset(needles))) for path in files if path.exists())


def _needles_in(file: BinaryIO, needles: frozenset[bytes]) -> set[bytes]:
    overlap = max(map(len, needles), default=1) - 1
    found: set[bytes] = set()
    window = b""
    while block := file.read(BLOCK_BYTES):
        window = window[len(window) - min(overlap, len(window)) :] + block
        found |= {needle for needle in needles - found if needle in window}
    return found
