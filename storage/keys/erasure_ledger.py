"""The erasure ledger: list of erasures, so that no restored backup brings erased data back.

An entry is on disk before any other step of an erasure. The ledger is read at every start, before the bot
connects to Discord. It is stored next to the keys, as ``ledger.db`` or in their database, and no restore
overwrites it. It holds two lists and no name:

* destroyed *keys*, each as an HMAC of the key's random number. A row or a key with such a number is from
  before the erasure and is deleted. A member who returns has a new key and keeps everything sealed under it.
  So no clock is involved, and an entry no longer refers to a person. Entries stay forever: 16 bytes each.
* *refusals*, as pseudonyms. A refusal outlives every deletion, until the member agrees.

As in the key store, methods run inside :meth:`AsyncConnection.run_sync`, and only jobs of the writer change
it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    delete,
    insert,
    select,
    update,
)

from storage.database.change_numbers import pages
from storage.database.schema import UtcTime
from storage.errors import KeyUnreadable, LedgerBehind
from storage.keys.key_place import Part, add_missing, check_version, lock_for_writing, put_version
from storage.keys.pseudonyms import Pseudonyms
from storage.records import MemberId
from storage.wording import counted

PART = "ledger"
SCHEMA = 1

metadata = MetaData()
erased_keys = Table("erased_keys", metadata, Column("key_hash", LargeBinary, primary_key=True))
refusals = Table(
    "refusals",
    metadata,
    Column("member_id", LargeBinary, primary_key=True),
    Column("person", LargeBinary, nullable=False),
    Column("guild", LargeBinary, nullable=False),
    Column("decided_at", UtcTime, nullable=False),
)
ledger_origin = Table(
    "ledger_origin",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key_check", LargeBinary, nullable=False),
    Column("changes", Integer, nullable=False),
)


class Decision(NamedTuple):
    """A member's decision in one server, with its time; all names are pseudonyms."""

    member_id: MemberId
    person: bytes
    guild: bytes
    decided_at: datetime


class Ledger:
    """Destroyed keys and refusals."""

    def __init__(self, part: Part, names: Pseudonyms) -> None:
        self._part = part
        self._names = names

    @classmethod
    async def open(cls, part: Part, names: Pseudonyms) -> Ledger:
        """Open the ledger in its place, or create it.

        Raises:
            DatabaseDamaged: The file is damaged or not a database.
            DatabaseNewer: A newer version wrote it.
            DatabaseFailed: The place cannot be written to.
            KeyUnreadable: It belongs to other keys.
        """
        await part.run(partial(_prepare, what=part.what, check=names.check()))
        return cls(part, names)

    def record(self, key_ids: Collection[bytes], refused: Sequence[Decision] = ()) -> None:
        """Record keys that are about to be destroyed, and refusals; on disk at the return. Idempotent."""
        if not key_ids and not refused:
            return
        with self._part.connected() as connection:
            lock_for_writing(connection, ledger_origin)
            hashes = [{"key_hash": self._names.erased(key_id)} for key_id in key_ids]
            add_missing(connection, erased_keys, hashes)
            add_missing(connection, refusals, [refusal._asdict() for refusal in refused])
            _count(connection)

    def cancel_refusal(self, member_id: MemberId) -> None:
        """Delete a refusal because the member agrees; must precede every other record of that. Idempotent."""
        with self._part.connected() as connection:
            lock_for_writing(connection, ledger_origin)
            connection.execute(delete(refusals).where(refusals.c.member_id == member_id))
            _count(connection)

    def named(self, key_ids: Iterable[bytes]) -> set[bytes]:
        """Return the subset of these keys that the ledger lists as destroyed."""
        by_hash = {self._names.erased(key_id): key_id for key_id in key_ids}
        found: set[bytes] = set()
        with self._part.connected() as connection:
            for page in pages(list(by_hash)):
                named = select(erased_keys.c.key_hash).where(erased_keys.c.key_hash.in_(page))
                found |= set(connection.execute(named).scalars())
        return {by_hash[key_hash] for key_hash in found}

    def refusals(self) -> list[Decision]:
        """Return all refusals."""
        with self._part.connected() as connection:
            return [Decision(*row) for row in connection.execute(select(refusals))]

    def changes(self) -> int:
        """Return the number of changes; the data store the last number they saw."""
        with self._part.connected() as connection:
            return connection.execute(select(ledger_origin.c.changes)).scalar_one()

    def require(self, seen: int) -> None:
        """Check that the ledger is not older than the data.

        Args:
            seen: Number of changes that the data saw last.

        Raises:
            LedgerBehind: The ledger is missing or older than the data.
        """
        if (found := self.changes()) < seen:
            raise LedgerBehind(
                f"Expected at least {counted(seen, 'change')} of the erasure ledger in"
                f" {self._part.what}, found {found}: restore its newest copy. Only if that is lost for good,"
                " run `simpatico ledger --accept-loss`, or restore the copy with --accept-ledger-loss."
            )


def _count(connection: Connection) -> None:
    connection.execute(update(ledger_origin).values(changes=ledger_origin.c.changes + 1))
    connection.commit()


def _prepare(connection: Connection, what: str, check: bytes) -> None:
    version = check_version(connection, PART, SCHEMA, what)
    metadata.create_all(connection)
    if version != SCHEMA:
        put_version(connection, PART, SCHEMA)
    found = connection.execute(select(ledger_origin.c.key_check)).scalar()
    if found is None:
        connection.execute(insert(ledger_origin).values(id=1, key_check=check, changes=0))
    elif found != check:
        raise KeyUnreadable(f"{what} belongs to another key store; restore the two as a pair.")
