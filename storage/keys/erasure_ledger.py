"""The erasure ledger ``ledger.db``: list of erasures, so that no restored backup brings erased data back.

An entry is on disk before any other step of an erasure. The ledger is read at every start, before the bot
connects to Discord. It is stored next to the keys, and no restore overwrites it. It holds two lists and no
name:

* destroyed *keys*, each as an HMAC of the key's random number. A row or a key with such a number is from
  before the erasure and is deleted. A member who returns has a new key and keeps everything sealed under it.
  So no clock is involved, and an entry no longer refers to a person. Entries stay forever: 16 bytes each.
* *refusals*, as pseudonyms. A refusal outlives every deletion, until the member agrees.

As in the key store, methods run inside :meth:`AsyncConnection.run_sync`, and only jobs of the writer change
it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
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
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.database.backend import translated_errors
from storage.database.change_numbers import pages
from storage.database.replacing import followed
from storage.database.schema import UtcTime
from storage.database.sqlite import PRAGMAS as DATA_PRAGMAS
from storage.database.sqlite import check_sound, connected, open_engine, pragma
from storage.errors import DatabaseFailed, DatabaseNewer, KeyUnreadable, LedgerBehind
from storage.keys.master_key import require_private
from storage.keys.pseudonyms import Pseudonyms
from storage.records import MemberId
from storage.wording import counted

FILE = "ledger.db"
# As for keys.db. The folder is fsynced too, so that an entry survives a power failure.
PRAGMAS = DATA_PRAGMAS | {"journal_mode": "truncate", "synchronous": 3}
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

    def __init__(self, path: Path, engine: AsyncEngine, names: Pseudonyms) -> None:
        self._path = path
        self._engine = engine
        self._names = names

    @classmethod
    async def open(cls, folder: Path, names: Pseudonyms) -> Ledger:
        """Open the ledger in this folder, or create it.

        Raises:
            DatabaseDamaged: The file is damaged or not a database.
            DatabaseNewer: The file was written by a newer version.
            DatabaseFailed: The folder cannot be written to.
            KeyUnreadable: The file belongs to other keys.
        """
        path = followed(folder / FILE)
        async with AsyncExitStack() as stack:
            try:
                engine = open_engine(path, connections=2, begin="BEGIN", pragmas=PRAGMAS)
            except OSError as exc:
                raise DatabaseFailed(f"Cannot write to {path} ({exc}); check its permissions.") from exc
            stack.push_async_callback(engine.dispose)
            with translated_errors(str(path)):
                async with engine.connect() as connection:
                    require_private(path)
                    await connection.run_sync(_prepare, path, names.check())
                    await connection.commit()
            stack.pop_all()
        return cls(path, engine, names)

    def record(self, key_ids: Collection[bytes], refused: Sequence[Decision] = ()) -> None:
        """Record keys that are about to be destroyed, and refusals; on disk at the return. Idempotent."""
        if not key_ids and not refused:
            return
        with connected(self._engine, self._path) as connection:
            for key_id in key_ids:
                entry = upsert(erased_keys).values(key_hash=self._names.erased(key_id))
                connection.execute(entry.on_conflict_do_nothing())
            for refusal in refused:
                entry = upsert(refusals).values(refusal._asdict())
                connection.execute(entry.on_conflict_do_nothing())
            self._count(connection)

    def cancel_refusal(self, member_id: MemberId) -> None:
        """Delete a refusal because the member agrees; must precede every other record of that. Idempotent."""
        with connected(self._engine, self._path) as connection:
            connection.execute(delete(refusals).where(refusals.c.member_id == member_id))
            self._count(connection)

    def named(self, key_ids: Iterable[bytes]) -> set[bytes]:
        """Return the subset of these keys that the ledger lists as destroyed."""
        by_hash = {self._names.erased(key_id): key_id for key_id in key_ids}
        found: set[bytes] = set()
        with connected(self._engine, self._path) as connection:
            for page in pages(list(by_hash)):
                named = select(erased_keys.c.key_hash).where(erased_keys.c.key_hash.in_(page))
                found |= set(connection.execute(named).scalars())
        return {by_hash[key_hash] for key_hash in found}

    def refusals(self) -> list[Decision]:
        """Return all refusals."""
        with connected(self._engine, self._path) as connection:
            return [Decision(*row) for row in connection.execute(select(refusals))]

    def changes(self) -> int:
        """Return the number of changes; the data store the last number they saw."""
        with connected(self._engine, self._path) as connection:
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
                f"Expected at least {counted(seen, 'change')} of the erasure ledger in {FILE} beside the"
                f" keys, found {found}: restore its newest copy. Only if that is lost for good, run"
                " `simpatico ledger --accept-loss`, or restore the copy with --accept-ledger-loss."
            )

    async def close(self) -> None:
        """Close the file."""
        await self._engine.dispose()

    def _count(self, connection: Connection) -> None:
        connection.execute(update(ledger_origin).values(changes=ledger_origin.c.changes + 1))
        connection.commit()


def _prepare(connection: Connection, path: Path, check: bytes) -> None:
    check_sound(connection, FILE)
    (version,) = pragma(connection, "user_version")
    if version > SCHEMA:
        raise DatabaseNewer(
            f"{path} has schema {version}, and this version supports up to {SCHEMA}; run the version of "
            "Simpatico that wrote it, or a later one."
        )
    metadata.create_all(connection)
    connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA}")
    found = connection.execute(select(ledger_origin.c.key_check)).scalar()
    if found is None:
        connection.execute(insert(ledger_origin).values(id=1, key_check=check, changes=0))
    elif found != check:
        raise KeyUnreadable(f"{path} belongs to another key store; restore the two as a pair.")
