"""Scopes of erasures: the members who are forgotten, who refuse, or whose erasure is unfinished.

:mod:`storage.privacy.erasing` carries them out.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, select, true, update

from storage.database.change_numbers import pages
from storage.database.notes import note_of
from storage.database.schema import MemberStatus, members
from storage.keys.erasure_ledger import Decision
from storage.keys.key_store import KeyStore
from storage.members.consent import decision_of, put_status, status_of
from storage.privacy.restored_backups import (
    delete_orphans,
    drop_old_prior,
    fill_key_ids,
    log_spare_keys,
    mark_old_heads,
)
from storage.records import Who

LEDGER_NOTE = "ledger"
"""Number of changes of the erasure ledger that these data saw last."""

ERASURE_PENDING = members.c.standing.in_([MemberStatus.FORGETTING, MemberStatus.REFUSING])
"""Condition of members whose erasure has begun."""


class ErasureScope(NamedTuple):
    """Selection of the members to erase.

    Attributes:
        note: Records keys to destroy and refusals in the ledger; returns the numbers of those keys.
        mark: Marks these members for erasure in the data.
        announced: Whether other processes hear of it although nothing was stored: their memory may hold
            something of a member who never agreed.
    """

    note: Callable[[Connection], list[bytes]]
    mark: Callable[[Connection], None]
    announced: bool = False


def forget_scope(keys: KeyStore, person: bytes) -> ErasureScope:
    """Return the scope that erases this person in every server. Refusals are kept."""
    own = and_(members.c.person == person, members.c.standing != MemberStatus.REFUSED)

    def note(connection: Connection) -> list[bytes]:
        key_ids = sorted({*_key_ids(connection, own), *keys.key_ids_of_person(person)})
        keys.ledger.record(key_ids)
        return key_ids

    def mark(connection: Connection) -> None:
        agreed = and_(own, members.c.standing == MemberStatus.AGREED)
        connection.execute(update(members).where(agreed).values(standing=MemberStatus.FORGETTING))

    return ErasureScope(note, mark, announced=True)


def refusal_scope(keys: KeyStore, who: Who, at: datetime) -> ErasureScope:
    """Return the scope of a refusal or withdrawal in one server; final at once if nothing is stored."""
    decision = decision_of(keys, who, at)

    def note(connection: Connection) -> list[bytes]:
        own = members.c.member_id == decision.member_id
        key_ids = sorted({*_key_ids(connection, own), *keys.key_ids_of([decision.member_id]).values()})
        keys.ledger.record(key_ids, [decision])
        return key_ids

    def mark(connection: Connection) -> None:
        nothing_kept = status_of(connection, decision.member_id) in (None, MemberStatus.REFUSED)
        standing = MemberStatus.REFUSED if nothing_kept else MemberStatus.REFUSING
        put_status(connection, decision, standing)

    return ErasureScope(note, mark, announced=True)


def leftover_scope(keys: KeyStore) -> ErasureScope:
    """Return the scope of unfinished erasures, and of erasures that a restored backup undid."""

    def note(connection: Connection) -> list[bytes]:
        keys.ledger.require(int(note_of(connection, LEDGER_NOTE) or 0))
        fill_key_ids(connection, keys)
        refused = select(members.c.member_id, members.c.person, members.c.guild, members.c.decided_at).where(
            members.c.standing.in_([MemberStatus.REFUSED, MemberStatus.REFUSING])
        )
        known = {refusal.member_id for refusal in keys.ledger.refusals()}
        new = [row for row in map(Decision._make, connection.execute(refused)) if row.member_id not in known]
        # A key of a member who refused: they agreed after the restored copy. The copy's no stays.
        unwanted = keys.key_ids_of([row.member_id for row in new]).values()
        keys.ledger.record([*_key_ids(connection, ERASURE_PENDING), *unwanted], new)
        numbered, existing = set(_key_ids(connection)), set(keys.key_ids_of_person(None))
        named = keys.ledger.named(numbered | existing)
        log_spare_keys(len(existing - numbered - named))
        return sorted(named)

    def mark(connection: Connection) -> None:
        delete_orphans(connection)
        drop_old_prior(connection, keys)
        mark_old_heads(connection)
        for page in pages(sorted(keys.ledger.named(_key_ids(connection)))):
            named = and_(members.c.key_id.in_(page), members.c.standing == MemberStatus.AGREED)
            connection.execute(update(members).where(named).values(standing=MemberStatus.FORGETTING))
        for refusal in keys.ledger.refusals():
            standing = status_of(connection, refusal.member_id)
            if standing in (MemberStatus.AGREED, MemberStatus.FORGETTING):
                put_status(connection, refusal, MemberStatus.REFUSING)
            elif standing is None:
                put_status(connection, refusal, MemberStatus.REFUSED)

    return ErasureScope(note, mark)


def _key_ids(connection: Connection, which: ColumnElement[bool] | None = None) -> list[bytes]:
    """Return the numbers of these members' keys; of all members by default."""
    numbered = select(members.c.key_id).where(
        members.c.key_id.is_not(None), true() if which is None else which
    )
    return list(connection.execute(numbered).scalars())
