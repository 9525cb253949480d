"""Repairs data after a restored backup, when the store opens.

Data and keys can be restored completely, or a single table by hand. The erasure ledger lists rows of
forgotten members (:mod:`storage.privacy.erasing`). This module handles the rest: rows without a member, and
heads and a prior from before an erasure, which may contain an erased member's influence.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, func, select, update

from storage.database.change_numbers import drop_prior, mark_due
from storage.database.erasure_count import ERASED_NOTE
from storage.database.notes import note_of
from storage.database.schema import (
    MemberStatus,
    feedback,
    heads,
    members,
    messages,
    preferences,
    remarks,
    replies,
    reports,
    wishes,
)
from storage.errors import SealBroken
from storage.keys.key_store import KeyStore
from storage.learning.queries import cursor, learnt_prior
from storage.records import MemberId
from storage.wording import counted

log = logging.getLogger(__name__)


def fill_key_ids(connection: Connection, keys: KeyStore) -> None:
    """Write the number of their key into rows of members from before keys had numbers.

    A member who agreed but has neither number nor key was forgotten after that backup; they are marked for
    erasure.
    """
    unnumbered = members.c.key_id.is_(None) & (members.c.standing == MemberStatus.AGREED)
    member_ids = [
        MemberId(m) for m in connection.execute(select(members.c.member_id).where(unnumbered)).scalars()
    ]
    for member_id, key_id in keys.key_ids_of(member_ids).items():
        connection.execute(update(members).where(members.c.member_id == member_id).values(key_id=key_id))
    connection.execute(update(members).where(unnumbered).values(standing=MemberStatus.FORGETTING))


def keep_newer_consents(
    connection: Connection, keys: KeyStore, member_ids: Sequence[MemberId], at: datetime
) -> tuple[MemberId, ...]:
    """Keep the consent of members who are erased from older data, but agreed again after that erasure.

    Their new key proves it: an erasure destroys every key that it finds. The row stays, under the new key.

    Args:
        connection: Inside the transaction that erases the members, after their old keys were destroyed.
        keys: The key store.
        member_ids: Members that are marked for erasure.
        at: Stored as the date of the consent; the true one is not known.

    Returns:
        The members who stay.
    """
    returned: list[MemberId] = []
    for member_id, key_id in keys.key_ids_of(member_ids).items():
        erased = (
            (members.c.member_id == member_id)
            & (members.c.standing == MemberStatus.FORGETTING)
            & (members.c.key_id != key_id)
        )
        fresh = {"standing": MemberStatus.AGREED, "decided_at": at, "key_id": key_id}
        fresh |= {"changed_seq": None, "paused": False, "resumed_at": None}
        if connection.execute(update(members).where(erased).values(fresh)).rowcount:
            returned.append(member_id)
    return tuple(returned)


def log_spare_keys(count: int) -> None:
    """Log how many keys belong to no member of these data."""
    if count:
        log.info(
            "%s to members who agreed after these data were copied; each is used again when the "
            "member agrees, or destroyed when the member is forgotten",
            counted(count, "key belongs", "keys belong"),
        )


def delete_orphans(connection: Connection) -> None:
    """Delete rows whose member or reply does not exist, as after a table was restored by hand."""
    there = select(members.c.member_id)
    posted = select(replies.c.reply_id)
    connection.execute(delete(heads).where(heads.c.member_id.not_in(there)))
    connection.execute(delete(wishes).where(wishes.c.member_id.not_in(there)))
    connection.execute(delete(replies).where(replies.c.member_id.not_in(there)))
    for table in (messages, reports):
        connection.execute(delete(table).where(table.c.reply_id.not_in(posted)))
    orphans = feedback.c.member_id.not_in(there) | feedback.c.reply_id.not_in(posted)
    connection.execute(delete(feedback).where(orphans))
    connection.execute(
        delete(preferences).where(
            preferences.c.member_id.not_in(there)
            | preferences.c.first_reply.not_in(posted)
            | preferences.c.second_reply.not_in(posted)
        )
    )
    connection.execute(
        delete(remarks).where(remarks.c.member_id.not_in(there) | remarks.c.reply_id.not_in(posted))
    )


def drop_old_prior(connection: Connection, keys: KeyStore) -> None:
    """Delete a prior that does not open: it is bound to the number of erasures at its creation."""
    try:
        learnt_prior(connection, keys)
    except SealBroken:
        drop_prior(connection)


def mark_old_heads(connection: Connection) -> None:
    """Mark members due whose head is from before an erasure, unless they are due already."""
    erased = int(note_of(connection, ERASED_NOTE) or 0)
    old = (
        select(heads.c.member_id)
        .join(members)
        .where(heads.c.version <= erased, func.coalesce(members.c.changed_seq, 0) <= cursor(connection))
    )
    mark_due(connection, [MemberId(m) for m in connection.execute(old).scalars()])
