"""The last step of a forget: look for what should be gone.

Two looks, neither of which trusts what was deleted: the tables are asked for the members who left, and the
files are read byte by byte for the numbers of the destroyed keys and the members' names, as they would stay
behind if a deleted page had not been overwritten.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
"""Larger files are not read byte by byte: the member waits for it, and so does every write."""
MOST_NEEDLES = 16
BLOCK_BYTES = 2**18
"""A quarter of a millisecond's search or less for each needle."""


def traces_in_tables(connection: Connection, keys: KeyStore, member_ids: Sequence[MemberId]) -> int:
    """Count rows and keys of members who left; a remembered no is none."""
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
    """What must not stand in any file any more."""
    remembered: set[bytes] = set()
    for page in pages(member_ids):
        still_there = select(members.c.member_id).where(members.c.member_id.in_(page))
        remembered |= set(connection.execute(still_there).scalars())
    return [*key_ids, *(member_id for member_id in member_ids if member_id not in remembered)]


def can_search(files: Sequence[Path], needles: Sequence[bytes]) -> bool:
    """Whether there is something to look for, and the look through the files is over soon."""
    size = sum(path.stat().st_size for path in files if path.exists())
    return 0 < len(needles) <= MOST_NEEDLES and size <= MOST_BYTES


def traces_in_files(files: Sequence[Path], needles: Sequence[bytes]) -> int:
    """Count needles that some file holds. Blocks; call from a thread.

    Read block by block, because a search holds all other threads up, the event loop with them, for as long as
    it goes through its bytes; while a block is read they have their turn.
    """
    return sum(len(_needles_in(path, frozenset(needles))) for path in files if path.exists())


def _needles_in(path: Path, needles: frozenset[bytes]) -> set[bytes]:
    overlap = max(map(len, needles), default=1) - 1
    held: set[bytes] = set()
    window = b""
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            window = window[len(window) - min(overlap, len(window)) :] + block
            held |= {needle for needle in needles - held if needle in window}
    return held
