"""Wrapping of the keys in the key store: the wrapping key, derived from the master key, and the tables.

Another process may replace the master key while this one runs (:mod:`storage.maintenance.rotation`); it
rewraps all keys in one transaction. Therefore every transaction that opens or writes a wrapped key first
determines which master key is valid.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import (
    Column,
    Connection,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from storage.database.change_numbers import pages
from storage.errors import KeyMissing, KeyUnreadable, SealBroken
from storage.keys.key_place import SERVER, add_missing, check_version, lock_for_writing, put_version
from storage.keys.master_key import source_of
from storage.keys.sealing import KEY_BYTES, SealingKey, Slot, new_key
from storage.records import MemberId
from storage.settings import StorageSettings

PART = "keys"
SCHEMA = 2
NUMBER_BYTES = 16
TRIES = 2
"""Attempts to find the valid master key: a rotation may end between two reads."""

metadata = MetaData()
system_keys = Table(
    "system_keys",
    metadata,
    Column("name", String, primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
)
member_keys = Table(
    "member_keys",
    metadata,
    Column("member_id", LargeBinary, primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
    Column("key_id", LargeBinary),
    Column("person", LargeBinary),
)


def member_slot(member_id: MemberId) -> Slot:
    """Return the place of a member's wrapped key."""
    return Slot("member_keys", "wrapped", member=member_id)


def system_slot(name: str) -> Slot:
    """Return the place of a wrapped key of the program."""
    return Slot("system_keys", "wrapped", name)


def derived(master: bytes) -> SealingKey:
    """Derive the wrapping key from a master key."""
    info = b"simpatico: wrapping key, version 1"
    return SealingKey(HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(master))


class Wrapping:
    """The wrapping key in use.

    Args:
        settings: Where the master key is.
        what: Name of the key store in messages.
        may_make: Whether a master key may be created; only when no data exists.

    Raises:
        KeyMissing: There is no master key.
        KeyUnreadable: The master key is malformed, or readable by other users.
    """

    def __init__(self, settings: StorageSettings, what: str, *, may_make: bool) -> None:
        self._source = source_of(settings)
        self._what = what
        present, _ = self._source.keys(may_make=may_make)
        self.latest = derived(present)

    def current(self, connection: Connection) -> SealingKey:
        """Return the key that wraps the keys this transaction sees.

        Reads the master key again only when the latest does not open them, as after a rotation.

        Raises:
            KeyUnreadable: No available master key opens them.
        """
        for turn in range(1 + TRIES):
            wrapped = _wrapped(connection)
            for candidate in self._candidates() if turn else [self.latest]:
                if _opened(candidate, wrapped) is not None:
                    self.latest = candidate
                    return candidate
        raise KeyUnreadable(
            f"The master key does not open {self._what}: expected the key that it was created with, found the"
            f" one in {self._source.what}. Restore that key; a new one would make all data unreadable."
        )

    def is_next(self, connection: Connection) -> bool:
        """Return whether the next master key, not the present one, wraps the keys this transaction sees."""
        _, after = self._source.keys()
        return after is not None and _opened(derived(after), _wrapped(connection)) is not None

    def system(self, connection: Connection) -> dict[str, bytes]:
        """Return the opened keys of the program, by name."""
        opened = _opened(self.current(connection), _wrapped(connection))
        assert opened is not None, "current() returns a key that opens them"
        return opened

    def _candidates(self) -> list[SealingKey]:
        return [derived(master) for master in self._source.keys() if master is not None]


def begin_writing(connection: Connection) -> None:
    """Begin a transaction that changes keys; no other does until its end."""
    lock_for_writing(connection, system_keys)


def rewrap(connection: Connection, old: SealingKey, new: SealingKey) -> int:
    """Rewrap every key, in the caller's transaction; keys that cannot be opened stay unchanged.

    Returns:
        The number of members' keys that were rewrapped.
    """
    for name, wrapped in _wrapped(connection).items():
        again = new.seal(old.open(wrapped, system_slot(name)), system_slot(name))
        connection.execute(update(system_keys).where(system_keys.c.name == name).values(wrapped=again))
    rows: list[dict[str, bytes]] = []
    every = select(member_keys.c.member_id, member_keys.c.wrapped)
    for member_id, wrapped in connection.execute(every).all():
        slot = member_slot(MemberId(member_id))
        try:
            rows.append({"whose": member_id, "again": new.seal(old.open(wrapped, slot), slot)})
        except SealBroken:
            continue
    if rows:
        own = member_keys.c.member_id == bindparam("whose")
        connection.execute(update(member_keys).where(own).values(wrapped=bindparam("again")), rows)
    return len(rows)


def copy_usable(source: Connection, old: SealingKey, target: Connection, new: SealingKey) -> int:
    """Copy every member's key that opens into another store, in place of a key of the same member there.

    Args:
        source: The store to copy from; only read.
        old: Opens its keys.
        target: The store to copy into. Commits are the caller's.
        new: Wraps the copied keys.

    Returns:
        The number of members' keys that were copied.
    """
    rows: list[dict[str, bytes]] = []
    for row in source.execute(select(member_keys)).mappings():
        slot = member_slot(MemberId(row["member_id"]))
        try:
            rows.append({**row, "wrapped": new.seal(old.open(row["wrapped"], slot), slot)})
        except SealBroken:
            continue
    for page in pages([row["member_id"] for row in rows]):
        target.execute(delete(member_keys).where(member_keys.c.member_id.in_(page)))
    add_missing(target, member_keys, rows)
    return len(rows)


def prepare(connection: Connection, wrapping: Wrapping, what: str, may_make: bool) -> dict[str, bytes]:
    """Check and migrate the key store; open the keys of the program, or create them.

    Args:
        connection: Commits are the caller's.
        wrapping: The wrapping key.
        what: Name of the key store in messages.
        may_make: Whether keys may be created; only when no data exists.

    Raises:
        DatabaseDamaged: The file is damaged or not a database.
        DatabaseNewer: A newer version wrote it.
        KeyMissing: It holds no keys, but data exist.
        KeyUnreadable: No available master key opens the keys.
    """
    version = check_version(connection, PART, SCHEMA, what)
    metadata.create_all(connection)
    if version == 1 and connection.dialect.name != SERVER:
        for column in ("key_id", "person"):
            connection.exec_driver_sql(f"ALTER TABLE member_keys ADD COLUMN {column} BLOB")
        connection.execute(update(member_keys).values(key_id=func.randomblob(NUMBER_BYTES)))
    if version != SCHEMA:  # a needless write would collide with another writing process
        put_version(connection, PART, SCHEMA)
    if not _wrapped(connection):
        if not may_make:
            raise KeyMissing(f"Data exists, but {what} holds no keys; restore it from its backup.")
        for name in ("pseudonym", "system"):
            sealed = wrapping.latest.seal(new_key(), system_slot(name))
            connection.execute(insert(system_keys).values(name=name, wrapped=sealed))
    return wrapping.system(connection)


def _wrapped(connection: Connection) -> dict[str, bytes]:
    return {name: wrapped for name, wrapped in connection.execute(select(system_keys))}


def _opened(key: SealingKey, wrapped: dict[str, bytes]) -> dict[str, bytes] | None:
    try:
        return {name: key.open(value, system_slot(name)) for name, value in wrapped.items()}
    except SealBroken:
        return None
