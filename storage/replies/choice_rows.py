"""Rows of choices between two replies: insert, read, open, delete, replace, and put back what was replaced.

Statements inside the caller's transaction, used by :mod:`storage.replies.preferences` and
:mod:`storage.replies.taps`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from storage.database.change_numbers import mark_due, next_number, pages
from storage.database.schema import MemberStatus, members, preferences
from storage.errors import SealBroken
from storage.keys.key_store import KeyStore
from storage.keys.sealing import SealingKey, Slot
from storage.records import MemberId, Picked, PreferenceRow, ReplyId

Rows = Sequence[Any]


def slot(column: str, preference_id: int, member_id: MemberId) -> Slot:
    """Return the place of a sealed part of a choice."""
    return Slot("preferences", column, preference_id, member_id)


def choosers_of(connection: Connection, reply_ids: Iterable[ReplyId]) -> set[MemberId]:
    """Return the members whose choices are about one of these replies, and are deleted with it."""
    wanted = list(reply_ids)
    about = or_(preferences.c.first_reply.in_(wanted), preferences.c.second_reply.in_(wanted))
    return {MemberId(m) for m in connection.execute(select(preferences.c.member_id).where(about)).scalars()}


def delete_choices(connection: Connection, member_id: MemberId, preference_id: int | None = None) -> int:
    """Delete one choice of a member, or all with None; mark the member due and return the number deleted."""
    which = delete(preferences).where(preferences.c.member_id == member_id)
    if preference_id is not None:
        which = which.where(preferences.c.preference_id == preference_id)
    count = connection.execute(which).rowcount
    if count:
        mark_due(connection, [member_id])
    return count


def take_back(connection: Connection, keys: KeyStore, member_id: MemberId, preference_id: int) -> bool:
    """Delete a choice, and put back the one that it replaced; return whether it existed.

    The choice that is put back has its number, time and row of taps again. Its features are those of the
    choice that replaced it: they are equal (:func:`replaced`).
    """
    own = preferences.c.preference_id == preference_id, preferences.c.member_id == member_id
    row = connection.execute(select(preferences).where(*own)).first()
    if row is None or not delete_choices(connection, member_id, preference_id):
        return False
    key = keys.usable_keys_of([member_id]).get(member_id)
    try:
        choice = {} if key is None else choice_of(row, key)
        if key is None or (before := choice.pop("replaced", None)) is None:
            return True
        features = key.open(row.features, slot("features", preference_id, member_id))
    except SealBroken:  # nothing can be put back
        return True
    about = {
        "first_reply": row.first_reply,
        "second_reply": row.second_reply,
        "feature_id": row.feature_id,
        "told_at": datetime.fromisoformat(before["told_at"]),
    }
    restored = choice | {"picked": before["picked"], "row": before.get("row")}
    insert_choice(
        connection, keys, member_id, restored, about=about, features=features, number=before["number"]
    )
    return True


def replaced(
    connection: Connection,
    keys: KeyStore,
    member_id: MemberId,
    preference_id: int,
    *,
    feature_id: str,
    features: bytes,
) -> dict[str, object] | None:
    """Delete a choice, and return what :func:`take_back` needs to put it back.

    Args:
        connection: An open transaction.
        keys: Keys of members.
        member_id: The member.
        preference_id: Number of the choice.
        feature_id: Encoder and style features of the choice that replaces it.
        features: Features of the choice that replaces it.

    Returns:
        None if the two choices have different features. A pair of the six taps has the same name in each
        language, so the member saw other texts then, or the features were made in another way.
    """
    row = connection.execute(select(preferences).where(preferences.c.preference_id == preference_id)).one()
    delete_choices(connection, member_id, preference_id)
    key = keys.key_of(member_id)
    try:
        before = key.open(row.features, slot("features", preference_id, member_id))
    except SealBroken:  # nothing could be put back
        return None
    if (row.feature_id, before) != (feature_id, features):
        return None
    choice = choice_of(row, key)
    return {
        "number": preference_id,
        "picked": choice["picked"],
        "row": choice.get("row"),
        "told_at": row.told_at.isoformat(),
    }


def drop_replaced(connection: Connection, keys: KeyStore, member_id: MemberId, preference_id: int) -> None:
    """Delete from a choice what it replaced, so that its undo puts nothing back."""
    row = connection.execute(select(preferences).where(preferences.c.preference_id == preference_id)).one()
    key = keys.key_of(member_id)
    choice = choice_of(row, key)
    choice.pop("replaced", None)
    sealed = key.seal(json.dumps(choice).encode(), slot("choice", preference_id, member_id))
    changed = update(preferences).where(preferences.c.preference_id == preference_id)
    connection.execute(changed.values(choice=sealed))


def insert_choice(
    connection: Connection,
    keys: KeyStore,
    member_id: MemberId,
    choice: Mapping[str, object],
    *,
    about: Mapping[str, object],
    features: bytes,
    number: int | None = None,
) -> int:
    """Store a choice and mark the member due; return its number, which is a new one unless it is given."""
    preference_id = next_number(connection) if number is None else number
    key = keys.key_of(member_id)
    parts = {"choice": json.dumps(choice).encode(), "features": features}
    sealed = {
        column: key.seal(value, slot(column, preference_id, member_id)) for column, value in parts.items()
    }
    names = {"preference_id": preference_id, "member_id": member_id}
    connection.execute(insert(preferences).values(**names, **about, **sealed))
    mark_due(connection, [member_id])
    return preference_id


def rows_of(
    connection: Connection, member_ids: Sequence[MemberId], newest: int, about: ReplyId | None = None
) -> Rows:
    """Return the newest choices of each member who agrees now, oldest first.

    With ``about``, only picks about one reply. Reads at most ``newest`` rows per member.
    """
    rank = func.row_number().over(
        partition_by=preferences.c.member_id, order_by=preferences.c.preference_id.desc()
    )
    rows: list[Any] = []
    for page in pages(member_ids):
        own = (
            select(preferences.c.preference_id, rank.label("rank"))
            .join(members)
            .where(preferences.c.member_id.in_(page), members.c.standing == MemberStatus.AGREED)
        )
        if about is not None:
            own = own.where(preferences.c.first_reply == about, preferences.c.second_reply == about)
        latest = own.subquery()
        wanted = (
            select(preferences, members.c.guild)
            .join(members)
            .join(latest, latest.c.preference_id == preferences.c.preference_id)
            .where(latest.c.rank <= newest)
            .order_by(preferences.c.preference_id)
        )
        rows += connection.execute(wanted).all()
    return rows


def open_rows(
    rows: Rows, keys: Mapping[MemberId, SealingKey]
) -> tuple[dict[MemberId, list[PreferenceRow]], int]:
    """Open the rows; return them by member, and the number of unreadable ones."""
    opened: dict[MemberId, list[PreferenceRow]] = {}
    n_unreadable = 0
    for row in rows:
        try:
            if row.member_id not in keys:
                raise SealBroken("A key is missing.")
            opened.setdefault(MemberId(row.member_id), []).append(_opened(row, keys[row.member_id]))
        except SealBroken:
            n_unreadable += 1
    return opened, n_unreadable


def _opened(row: Any, key: SealingKey) -> PreferenceRow:
    features = key.open(row.features, slot("features", row.preference_id, row.member_id))
    choice = choice_of(row, key)
    picked, before = Picked(choice["picked"]), choice.get("replaced")
    half = len(features) // 2
    return PreferenceRow(
        preference_id=row.preference_id,
        picked=picked,
        replies=(row.first_reply, row.second_reply) if picked is Picked.AGAIN else None,
        feature_id=row.feature_id,
        first=features[:half],
        second=features[half:],
        told_at=row.told_at,
        guild=row.guild,
        tap=choice.get("tap"),
        earlier=Picked(before["picked"]) if before else None,
    )


def choice_of(row: Any, key: SealingKey) -> dict[str, Any]:
    """Open what was picked in a row of choices.

    Raises:
        SealBroken: The row cannot be opened.
    """
    return json.loads(key.open(row.choice, slot("choice", row.preference_id, row.member_id)))
