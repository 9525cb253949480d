"""The erasure ledger ``ledger.db``: what was erased, so that no restored backup brings it back.

Written, and on the disk, before anything else of a forget happens; read at every start, before Discord is
reached. It lies beside the keys and outlives data and keys: neither is ever restored over it. It knows two
things and nobody's name:

* which *keys* were destroyed, as an HMAC of the key's random number. A row or a key with such a number is
  from before the erasure and goes; a member who comes back has a new key, and keeps what it seals. So no
  clock decides, and an entry is about nobody any more. Entries stay for good: 16 bytes each.
* who said *no*, as pseudonyms. A no outlives every deletion, until the member agrees.

Like the key store, its methods run inside :meth:`AsyncConnection.run_sync`, and only the writer's jobs change
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
from storage.database.schema import UtcTime
from storage.database.sqlite import PRAGMAS as DATA_PRAGMAS
from storage.database.sqlite import check_sound, open_engine, pragma
from storage.errors import DatabaseFailed, DatabaseNewer, KeyUnreadable, LedgerBehind
from storage.keys.master_key import require_private
from storage.keys.pseudonyms import Pseudonyms
from storage.records import MemberId

FILE = "ledger.db"
# As for keys.db; and the folder is synced too, so that the entry is there after a power cut.
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
    """Who decided in which server, and when; names are pseudonyms."""

    member_id: MemberId
    person: bytes
    guild: bytes
    decided_at: datetime


class Ledger:
    """What was erased and who said no."""

    def __init__(self, engine: AsyncEngine, names: Pseudonyms) -> None:
        self._engine = engine
        self._names = names

    @classmethod
    async def open(cls, folder: Path, names: Pseudonyms) -> Ledger:
        """Open the ledger in this folder, or make it.

        Raises:
            DatabaseDamaged: It is not a sound database.
            DatabaseNewer: It was written by a newer version.
            DatabaseFailed: The folder cannot be written to.
            KeyUnreadable: It belongs to other keys.
        """
        path = folder / FILE
        async with AsyncExitStack() as stack:
            try:
                engine = open_engine(path, connections=2, begin="BEGIN", pragmas=PRAGMAS)
            except OSError as exc:
                raise DatabaseFailed(f"Expected to write to {path}: {exc}.") from exc
            stack.push_async_callback(engine.dispose)
            with translated_errors(FILE):
                async with engine.connect() as connection:
                    require_private(path)
                    await connection.run_sync(_prepare, path, names.check())
                    await connection.commit()
            stack.pop_all()
        return cls(engine, names)

    def record(self, key_ids: Collection[bytes], refused: Sequence[Decision] = ()) -> None:
        """Write down keys that are about to be destroyed, and a no, on the disk at the return. Idempotent."""
        if not key_ids and not refused:
            return
        with self._engine.sync_engine.connect() as connection:
            for key_id in key_ids:
                entry = upsert(erased_keys).values(key_hash=self._names.erased(key_id))
                connection.execute(entry.on_conflict_do_nothing())
            for refusal in refused:
                entry = upsert(refusals).values(refusal._asdict())
                connection.execute(entry.on_conflict_do_nothing())
            self._count(connection)

    def cancel_refusal(self, member_id: MemberId) -> None:
        """Forget a no, because the member agrees; before that is recorded anywhere else. Idempotent."""
        with self._engine.sync_engine.connect() as connection:
            connection.execute(delete(refusals).where(refusals.c.member_id == member_id))
            self._count(connection)

    def named(self, key_ids: Iterable[bytes]) -> set[bytes]:
        """Those of these keys that were erased."""
        by_hash = {self._names.erased(key_id): key_id for key_id in key_ids}
        found: set[bytes] = set()
        with self._engine.sync_engine.connect() as connection:
            for page in pages(list(by_hash)):
                named = select(erased_keys.c.key_hash).where(erased_keys.c.key_hash.in_(page))
                found |= set(connection.execute(named).scalars())
        return {by_hash[key_hash] for key_hash in found}

    def refusals(self) -> list[Decision]:
        """Everybody who said no."""
        with self._engine.sync_engine.connect() as connection:
            return [Decision(*row) for row in connection.execute(select(refusals))]

    def changes(self) -> int:
        """How often it was changed; the data remember the number they saw last."""
        with self._engine.sync_engine.connect() as connection:
            return connection.execute(select(ledger_origin.c.changes)).scalar_one()

    def require(self, seen: int) -> None:
        """Stop when the data have seen more of the ledger than there is.

        Raises:
            LedgerBehind: It is older than the data, or gone.
        """
        if (found := self.changes()) < seen:
            raise LedgerBehind(
                f"The data have seen {seen} changes of the erasure ledger, but {FILE} beside the keys has "
                f"{found}: put its newest copy back. Only if that is lost for good, run `simpatico ledger "
                "--accept-loss`."
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
        raise DatabaseNewer(f"{path} has schema {version}, this version knows up to {SCHEMA}.")
    metadata.create_all(connection)
    connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA}")
    found = connection.execute(select(ledger_origin.c.key_check)).scalar()
    if found is None:
        connection.execute(insert(ledger_origin).values(id=1, key_check=check, changes=0))
    elif found != check:
        raise KeyUnreadable(f"{path} was written under another key store; restore the two as a pair.")
