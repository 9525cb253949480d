"""Export of everything stored about one person, decrypted: the content of ``/my-data``.

It is generated from the tables: it contains every column of every table with rows of the member. So a new
column appears by itself, and a sealed column without an opener here fails. The wrapped data key is left out,
because a copy of it would outlive an erasure. Other members' feedback on the member's replies is theirs and
is left out. It is read page by page, so that memory does not grow with the history. Reached as
``Store.privacy.export`` and ``Store.privacy.export_pages``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, Table, select

from storage.database.schema import (
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
from storage.keys.key_store import KeyStore
from storage.keys.sealing import SealingKey, Slot
from storage.learning.queries import head_slot
from storage.members.wishes import slot as wish_slot
from storage.privacy.personal_data import PERSONAL_DATA, Form
from storage.records import MemberId
from storage.replies.choice_rows import slot as preference_slot
from storage.replies.coarse import exported
from storage.replies.feedback import slot as feedback_slot
from storage.replies.impressions import place_slot
from storage.replies.impressions import slot as reply_slot
from storage.replies.remarks import slot as remark_slot
from storage.replies.reported_replies import slot as report_slot

SEALED = {(kept.table, kept.column) for kept in PERSONAL_DATA if kept.form is Form.SEALED}
WORDS = {(kept.table, kept.column): kept.what for kept in PERSONAL_DATA if kept.exported}

Exported = dict[str, list[dict[str, Any]]]

PAGE = 200
"""Rows of one table that are read and opened at once; texts of a reply take up to some 100 KB."""


class Own(NamedTuple):
    """How the rows of one member are found in a table.

    Attributes:
        rows: All rows of the table, joined to its owner, in the order of the export.
        owner: The column of the member.
        key: The column by which pages are read; several rows may share a value.
    """

    rows: Select[Any]
    owner: ColumnElement[Any]
    key: ColumnElement[Any]


def _own(table: Table, key: str, *, of_reply: bool = False) -> Own:
    rows = select(table).join(replies) if of_reply else select(table)
    owner = replies.c.member_id if of_reply else table.c.member_id
    order = [table.c[name] for name in (key, "position") if name in table.c]
    return Own(rows.order_by(*order), owner, table.c[key])


_OWN: dict[str, Own] = {
    "members": _own(members, "member_id"),
    "replies": _own(replies, "reply_id"),
    "messages": _own(messages, "reply_id", of_reply=True),
    "reports": _own(reports, "reply_id", of_reply=True),
    "feedback": _own(feedback, "reply_id"),
    "preferences": _own(preferences, "preference_id"),
    "remarks": _own(remarks, "reply_id"),
    "heads": _own(heads, "member_id"),
    "wishes": _own(wishes, "member_id"),
}


@dataclass(frozen=True, slots=True)
class SealedPage:
    """Some rows that a table holds of one member."""

    member_id: MemberId
    table: str
    rows: Sequence[RowMapping]

    def open(self, key: SealingKey | None) -> Exported:
        """Decrypt every value; without the key, sealed values are None. Blocks; call from a thread."""
        opened = [
            {column: _readable(self.table, column, row, self.member_id, key) for column in row}
            for row in self.rows
        ]
        if self.table == "replies":
            for row in opened:
                row["texts"] = _posted_only(row["texts"], row["decision"])
        return {self.table: opened}


def members_of(connection: Connection, person: bytes) -> list[MemberId]:
    """Return the person's pseudonym in every server with stored data."""
    own = select(members.c.member_id).where(members.c.person == person).order_by(members.c.decided_at)
    return [MemberId(m) for m in connection.execute(own).scalars()]


def page_keys(connection: Connection, member_id: MemberId) -> list[tuple[str, Sequence[Any]]]:
    """Return (table, keys) of each page of one member's rows in one server; at least one page a table."""
    found: list[tuple[str, Sequence[Any]]] = []
    for table, own in _OWN.items():
        wanted = own.rows.with_only_columns(own.key).where(own.owner == member_id).distinct()
        keys = connection.execute(wanted.order_by(None).order_by(own.key)).scalars().all()
        found += [(table, keys[start : start + PAGE]) for start in range(0, max(1, len(keys)), PAGE)]
    return found


def sealed_page(connection: Connection, member_id: MemberId, table: str, keys: Sequence[Any]) -> SealedPage:
    """Return the rows of one member with these keys; rows that were deleted meanwhile are left out."""
    own = _OWN[table]
    wanted = own.rows.where(own.owner == member_id, own.key.in_(keys))
    return SealedPage(member_id, table, connection.execute(wanted).mappings().all())


def key_and_ledger_rows(keys: KeyStore, member_ids: Sequence[MemberId]) -> Exported:
    """Return the rows of these members in key store and ledger, without the keys."""
    wanted = set(member_ids)
    refusals = [refusal._asdict() for refusal in keys.ledger.refusals() if refusal.member_id in wanted]
    rows = {"member_keys": keys.entries_of(member_ids), "refusals": refusals}
    return {table: [{c: _plain(v) for c, v in row.items()} for row in some] for table, some in rows.items()}


def _readable(table: str, column: str, row: RowMapping, owner: MemberId, key: SealingKey | None) -> Any:
    value = row[column]
    if (table, column) not in SEALED or value is None:
        return _plain(value)
    if key is None:
        return None
    slot, shown = _OPENERS[table, column]
    return shown(key.open(value, slot(row, owner)))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, datetime) else value


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _posted_only(texts: list[str] | None, decision: dict[str, Any] | None) -> list[str] | None:
    """Keep the posted text: next to the others, the choice would tell what the prior likes."""
    return texts if texts is None or decision is None else [texts[decision["chosen"]]]


def _decision(value: bytes) -> dict[str, Any]:
    return exported(json.loads(value))


def _size(value: bytes) -> dict[str, int]:
    """Describe a head by its size: its numbers start at the prior, which other members taught."""
    return {"bytes": len(value)}


_OPENERS: dict[tuple[str, str], tuple[Callable[[RowMapping, MemberId], Slot], Callable[[bytes], Any]]] = {
    ("replies", "features"): (lambda row, m: reply_slot("features", row["reply_id"], m), _base64),
    ("replies", "decision"): (lambda row, m: reply_slot("decision", row["reply_id"], m), _decision),
    ("replies", "texts"): (lambda row, m: reply_slot("texts", row["reply_id"], m), json.loads),
    ("messages", "place"): (lambda row, m: place_slot(row["reply_id"], row["position"], m), json.loads),
    ("reports", "reasons"): (lambda row, m: report_slot(row["reply_id"], m, row["version"]), json.loads),
    ("feedback", "state"): (lambda row, m: feedback_slot(m, row["reply_id"], row["changed_seq"]), json.loads),
    ("preferences", "features"): (
        lambda row, m: preference_slot("features", row["preference_id"], m),
        _base64,
    ),
    ("preferences", "choice"): (
        lambda row, m: preference_slot("choice", row["preference_id"], m),
        json.loads,
    ),
    **{
        ("remarks", column): (
            lambda row, m, column=column: remark_slot(column, m, row["reply_id"], row["changed_seq"]),
            json.loads,
        )
        for column in ("reasons", "words")
    },
    ("heads", "body"): (lambda row, m: head_slot(m, row["version"]), _size),
    ("wishes", "body"): (lambda row, m: wish_slot(m, row["number"]), json.loads),
}
