"""Export of everything stored about one person, decrypted: the content of ``/my-data``.

It is generated from the tables: it contains every column of every table with rows of the member. So a new
column appears by itself, and a sealed column without an opener here fails. The wrapped data key is left out,
because a copy of it would outlive an erasure. Other members' feedback on the member's replies is theirs and
is left out. Reached as ``Store.privacy.export``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, select

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
from storage.replies.coarse import exported
from storage.replies.feedback import slot as feedback_slot
from storage.replies.impressions import place_slot
from storage.replies.impressions import slot as reply_slot
from storage.replies.preferences import slot as preference_slot
from storage.replies.remarks import slot as remark_slot
from storage.replies.reported_replies import slot as report_slot

SEALED = {(kept.table, kept.column) for kept in PERSONAL_DATA if kept.form is Form.SEALED}
WORDS = {(kept.table, kept.column): kept.what for kept in PERSONAL_DATA if kept.exported}

Rows = Mapping[str, Sequence[RowMapping]]
Exported = dict[str, list[dict[str, Any]]]

_OWN: dict[str, Callable[[MemberId], Select[Any]]] = {
    "members": lambda m: select(members).where(members.c.member_id == m),
    "replies": lambda m: select(replies).where(replies.c.member_id == m).order_by(replies.c.reply_id),
    "messages": lambda m: (
        select(messages)
        .join(replies)
        .where(replies.c.member_id == m)
        .order_by(messages.c.reply_id, messages.c.position)
    ),
    "reports": lambda m: (
        select(reports).join(replies).where(replies.c.member_id == m).order_by(reports.c.reply_id)
    ),
    "feedback": lambda m: select(feedback).where(feedback.c.member_id == m).order_by(feedback.c.reply_id),
    "preferences": lambda m: (
        select(preferences).where(preferences.c.member_id == m).order_by(preferences.c.preference_id)
    ),
    "remarks": lambda m: select(remarks).where(remarks.c.member_id == m).order_by(remarks.c.reply_id),
    "heads": lambda m: select(heads).where(heads.c.member_id == m),
    "wishes": lambda m: select(wishes).where(wishes.c.member_id == m),
}


@dataclass(frozen=True, slots=True)
class SealedData:
    """Stored rows of one member, by table."""

    member_id: MemberId
    rows: Rows

    def open(self, key: SealingKey | None) -> Exported:
        """Decrypt every value; without the key, sealed values are None. Blocks; call from a thread."""
        opened = {
            table: [
                {column: _readable(table, column, row, self.member_id, key) for column in row} for row in rows
            ]
            for table, rows in self.rows.items()
        }
        for row in opened["replies"]:
            row["texts"] = _posted_only(row["texts"], row["decision"])
        return opened


def members_of(connection: Connection, person: bytes) -> list[MemberId]:
    """Return the person's pseudonym in every server with stored data."""
    own = select(members.c.member_id).where(members.c.person == person).order_by(members.c.decided_at)
    return [MemberId(m) for m in connection.execute(own).scalars()]


def sealed_data(connection: Connection, member_id: MemberId) -> SealedData:
    """Return all rows of one member in one server."""
    rows = {name: connection.execute(own(member_id)).mappings().all() for name, own in _OWN.items()}
    return SealedData(member_id, rows)


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
