"""The key store: one data key per member, wrapped by the master key, separate from the data.

It is a file of this host by default, even when the data are in PostgreSQL, or a PostgreSQL database of its
own (:class:`storage.keys.key_place.KeyPlace`). Several processes may share it.

Destroying a member's key makes everything sealed under it unreadable at once, in every copy. The methods
without ``async`` are for queries and units of work: they run inside :meth:`AsyncConnection.run_sync`, and
only the writer calls the ones that change something.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from cachetools import LRUCache
from sqlalchemy import Connection, delete, insert, select

from storage.database.change_numbers import pages
from storage.errors import KeyMissing, SealBroken
from storage.failpoints import failpoint
from storage.keys.erasure_ledger import Ledger
from storage.keys.key_files import KeyFiles
from storage.keys.key_place import KeyPlace, Part
from storage.keys.pseudonyms import Pseudonyms
from storage.keys.sealing import SealingKey, new_key
from storage.keys.wrapping import (
    NUMBER_BYTES,
    Wrapping,
    begin_writing,
    copy_usable,
    member_keys,
    member_slot,
    prepare,
    rewrap,
)
from storage.records import MemberId
from storage.settings import StorageSettings
from storage.wording import counted

CACHED_KEYS = 10_000


def place_of(settings: StorageSettings, *, quick: bool = False) -> KeyPlace:
    """Return the place of the keys that the settings name.

    Args:
        settings: Name the place.
        quick: Whether a server that does not answer within seconds fails, as for a bot. Commands wait longer.

    Raises:
        StorageError: ``key_url`` is not an address of PostgreSQL, or holds a password.
    """
    if not settings.key_url:
        return KeyFiles(settings.key_dir)
    from storage.keys.key_database import KeyDatabase  # so that SQLite does not load asyncpg

    return KeyDatabase(settings, quick=quick)


class KeyStore:
    """Cache of opened keys, and the pseudonyms that only this store can compute.

    Every key has a random number, ``key_id``, which the member's row in ``data.db`` repeats. It separates
    data from before an erasure from data of the same member after returning.

    Attributes:
        files: Files in which a key could leave a trace.
        pseudonyms: Computes pseudonyms of Discord ids.
        system: Key of data that belongs to no single member, such as the prior.
        ledger: Destroyed keys and refusals.
    """

    def __init__(
        self,
        part: Part,
        files: tuple[Path, ...],
        wrapping: Wrapping,
        system: dict[str, bytes],
        ledger: Ledger,
        cleanup: AsyncExitStack,
    ) -> None:
        self._part = part
        self._wrapping = wrapping
        self._cleanup = cleanup
        self._opened: LRUCache[MemberId, SealingKey] = LRUCache(CACHED_KEYS)
        self._destroyed = 0
        self.files = files
        self.pseudonyms = Pseudonyms(system["pseudonym"])
        self.system = SealingKey(system["system"])
        self.ledger = ledger

    @classmethod
    async def open(cls, settings: StorageSettings, *, data_exists: bool, quick: bool = False) -> KeyStore:
        """Open the key store, or create it if there is no data yet.

        Args:
            settings: Name its place.
            data_exists: Whether there are data, which need it.
            quick: As in :func:`place_of`.

        Raises:
            KeyMissing: Data or wrapped keys exist, but not the key they need.
            KeyUnreadable: The master key is malformed, or did not wrap these keys.
            DatabaseDamaged: A file is damaged or not a database.
            DatabaseNewer: A newer version wrote it.
            DatabaseFailed: The folder or the database cannot be written to.
            StorageError: The place must not hold the keys of these data.
        """
        place = place_of(settings, quick=quick)
        if data_exists and not await place.is_there():
            raise KeyMissing(
                f"Data exists, but its key store {place.what} does not; restore the keys of these data from a"
                " copy, or name the place they were moved to in [storage] key_url."
            )
        async with place.opening(), AsyncExitStack() as stack:
            may_make = not await place.is_there()
            wrap = partial(Wrapping, settings, place.what, may_make=may_make)
            wrapping = await asyncio.to_thread(wrap) if settings.master_key_command else wrap()
            part = place.open_keys(stack)
            system = await part.run(
                partial(prepare, wrapping=wrapping, what=place.what, may_make=not data_exists)
            )
            ledger = await Ledger.open(place.open_ledger(stack), Pseudonyms(system["pseudonym"]))
            return cls(part, place.files, wrapping, system, ledger, stack.pop_all())

    async def ask(self) -> None:
        """Find out whether the place answers, before a lock is held that others wait for.

        It never fails; what needs a key fails at once while there is no answer.
        """
        await self._part.ask()

    def key_of(self, member_id: MemberId) -> SealingKey:
        """Return the data key of one member.

        Raises:
            KeyMissing: The member has no key: it was destroyed or lost.
            SealBroken: The key was changed.
        """
        return self.keys_of([member_id])[member_id]

    def keys_of(self, member_ids: Iterable[MemberId]) -> dict[MemberId, SealingKey]:
        """Return the data keys of many members.

        Raises:
            KeyMissing: A member has no key.
            SealBroken: A key was changed.
        """
        wanted = list(dict.fromkeys(member_ids))
        found = self._look_up(wanted, skip_broken=False)
        if len(found) < len(wanted):
            lacking = counted(len(wanted) - len(found), "member has", "members have")
            raise KeyMissing(f"{lacking} data but no key in {self._part.what}; restore its backup.")
        return found

    def usable_keys_of(self, member_ids: Iterable[MemberId]) -> dict[MemberId, SealingKey]:
        """Return the data keys that exist and can be opened; other members are left out."""
        return self._look_up(list(dict.fromkeys(member_ids)), skip_broken=True)

    def make(self, member_id: MemberId, person: bytes) -> bytes:
        """Create a data key for this member unless a usable one exists; return its number. In the writer."""
        if self.usable_keys_of([member_id]) and (known := self.key_ids_of([member_id])):
            return known[member_id]
        number = secrets.token_bytes(NUMBER_BYTES)
        with self._part.connected() as connection:
            begin_writing(connection)  # from now on, no rotation changes what wraps the keys
            connection.execute(delete(member_keys).where(member_keys.c.member_id == member_id))
            wrapping = self._wrapping.current(connection)
            wrapped = wrapping.seal(new_key(), member_slot(member_id))
            row = {"member_id": member_id, "wrapped": wrapped, "key_id": number, "person": person}
            connection.execute(insert(member_keys).values(row))
            connection.commit()
        return number

    def key_ids_of(self, member_ids: Sequence[MemberId]) -> dict[MemberId, bytes]:
        """Return the numbers of these members' keys; members without a key are left out."""
        found: dict[MemberId, bytes] = {}
        with self._part.connected() as connection:
            for page in pages(member_ids):
                rows = select(member_keys.c.member_id, member_keys.c.key_id)
                rows = connection.execute(rows.where(member_keys.c.member_id.in_(page)))
                found |= {MemberId(member_id): key_id for member_id, key_id in rows}
        return found

    def entries_of(self, member_ids: Sequence[MemberId]) -> list[dict[str, bytes | None]]:
        """Return the stored columns of these members' keys, without the keys."""
        shown = [column for column in member_keys.c if column is not member_keys.c.wrapped]
        wanted = select(*shown).where(member_keys.c.member_id.in_(member_ids))
        with self._part.connected() as connection:
            return [dict(row) for row in connection.execute(wanted).mappings()]

    def key_ids_of_person(self, person: bytes | None) -> list[bytes]:
        """Return the numbers of one person's keys in every server; None: of all keys."""
        wanted = select(member_keys.c.key_id)
        if person is not None:
            wanted = wanted.where(member_keys.c.person == person)
        with self._part.connected() as connection:
            return list(connection.execute(wanted).scalars())

    def destroy(self, key_ids: Sequence[bytes]) -> None:
        """Destroy the keys with these numbers, on disk and in memory. In the writer; idempotent.

        Raises:
            DatabaseFailed: The key store cannot be written to: another program keeps reading ``keys.db``, or
                the server cannot be reached.
        """
        whose: list[MemberId] = []
        with self._part.connected() as connection:
            begin_writing(connection)
            for page in pages(key_ids):
                named = member_keys.c.key_id.in_(page)
                whose += connection.execute(select(member_keys.c.member_id).where(named)).scalars()
                self._drop(whose)
                connection.execute(delete(member_keys).where(named))
            connection.commit()
        self._drop(whose)  # again: a reader may have cached one before the commit

    async def purge(self) -> int:
        """Destroy every key that the ledger lists, as after a restore of older keys; return the number."""

        def work(_: Connection) -> int:
            named = sorted(self.ledger.named(self.key_ids_of_person(None)))
            self.destroy(named)
            return len(named)

        return await self._part.run(work)

    async def rewrap(self, new: SealingKey) -> int:
        """Rewrap every key in one transaction; return the number of members' keys."""

        def work(connection: Connection) -> int:
            begin_writing(connection)
            count = rewrap(connection, self._wrapping.current(connection), new)
            failpoint("rotate.before-commit")
            return count

        return await self._part.run(work)

    async def adopt(self, other: KeyStore) -> int:
        """Take over every member's key that opens in another key store of the same bot; return the number."""

        def work(connection: Connection) -> int:
            begin_writing(connection)
            with other._part.connected() as source:
                old, new = other._wrapping.current(source), self._wrapping.current(connection)
                return copy_usable(source, old, connection, new)

        return await self._part.run(work)

    async def wrapped_by_next(self) -> bool:
        """Return whether the next master key already wraps these keys."""
        return await self._part.run(self._wrapping.is_next)

    def evict_opened(self) -> None:
        """Evict every opened key: another process may have destroyed one."""
        self._destroyed += 1
        self._opened.clear()

    async def close(self) -> None:
        """Close both parts and evict every opened key."""
        self._opened.clear()
        await self._cleanup.aclose()

    def _look_up(self, wanted: list[MemberId], *, skip_broken: bool) -> dict[MemberId, SealingKey]:
        destroyed = self._destroyed
        found = {m: self._opened[m] for m in wanted if m in self._opened}
        missing = [m for m in wanted if m not in found]
        for page in pages(missing):
            found |= self._fetched(page, skip_broken=skip_broken)
        if destroyed == self._destroyed:  # else a key may have been destroyed since it was read
            self._opened.update(found)
        return found

    def _fetched(self, page: Sequence[MemberId], *, skip_broken: bool) -> dict[MemberId, SealingKey]:
        opened: dict[MemberId, SealingKey] = {}
        wrapped_keys = select(member_keys.c.member_id, member_keys.c.wrapped)
        with self._part.connected() as connection:
            wrapping = self._wrapping.latest
            for member_id, wrapped in connection.execute(
                wrapped_keys.where(member_keys.c.member_id.in_(page))
            ).all():
                slot = member_slot(member_id)
                try:
                    opened[member_id] = SealingKey(wrapping.open(wrapped, slot))
                except SealBroken:
                    before, wrapping = wrapping, self._wrapping.current(connection)
                    try:
                        if wrapping is before:
                            raise
                        opened[member_id] = SealingKey(wrapping.open(wrapped, slot))
                    except SealBroken:
                        if not skip_broken:
                            raise
        return opened

    def _drop(self, member_ids: Sequence[MemberId]) -> None:
        self._destroyed += 1
        for member_id in member_ids:
            self._opened.pop(member_id, None)
