"""Queries of learning: members due, labels with features, heads, rounds, the prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, type_coerce
from sqlalchemy.types import NullType

from storage.database.change_numbers import mark_all_due, pages
from storage.database.erasure_count import ERASURES_NOTE
from storage.database.notes import note_of
from storage.database.schema import (
    MemberStatus,
    feedback,
    heads,
    members,
    prior,
    replies,
    rounds,
    utc_time,
)
from storage.errors import SealBroken
from storage.failpoints import failpoint
from storage.keys.key_store import KeyStore
from storage.keys.sealing import SealingKey, Slot
from storage.records import (
    ChangedMember,
    FeedbackRow,
    HeadRecord,
    MemberId,
    NewHead,
    PriorRecord,
    ReplyId,
    RoundRecord,
)
from storage.replies.feedback import FeedbackState
from storage.replies.feedback import slot as feedback_slot
from storage.replies.impressions import slot as reply_slot

_agreed = members.c.standing == MemberStatus.AGREED


_asker = members.alias("asker")
_columns = (
    feedback.c.member_id,
    feedback.c.reply_id,
    feedback.c.changed_seq,
    feedback.c.changed_at,
    feedback.c.state,
    _asker.c.member_id.label("asker"),
    members.c.guild,
    members.c.person,
    replies.c.feature_id,
    replies.c.features,
)
_feedback = (
    # As the driver returns them: converting ten columns of each row took a quarter of the reading.
    select(*(type_coerce(column, NullType()) for column in _columns))
    .join(members, feedback.c.member_id == members.c.member_id)
    .join(replies, feedback.c.reply_id == replies.c.reply_id)
    .join(_asker, replies.c.member_id == _asker.c.member_id)
    .where(_agreed, _asker.c.standing == MemberStatus.AGREED)
)
_all_feedback = _feedback.where(feedback.c.member_id.in_(bindparam("members", expanding=True))).order_by(
    feedback.c.member_id, feedback.c.reply_id
)
_newest_feedback = (
    _feedback.where(feedback.c.member_id == bindparam("member"))
    .order_by(feedback.c.reply_id.desc())
    .limit(bindparam("newest"))
)


@dataclass(frozen=True, slots=True)
class SealedFeedback:
    """Stored feedback rows of these members, still sealed, each member's oldest reply first."""

    member_ids: Sequence[MemberId]
    rows: Sequence[tuple[Any, ...]]

    def owners(self) -> set[MemberId]:
        """Return the members whose keys open the rows: givers of feedback, and askers of the replies."""
        return {row[0] for row in self.rows} | {row[5] for row in self.rows}

    def open(self, keys: Mapping[MemberId, SealingKey]) -> tuple[dict[MemberId, list[FeedbackRow]], int]:
        """Open the rows and skip unreadable ones. Blocks; call from a thread.

        One member's lost key or damaged row must not block the learning of all others. A reply with feedback
        of many members is opened once.

        Returns:
            The rows of each member, oldest reply first, and the number of unreadable rows.
        """
        opened: dict[MemberId, list[FeedbackRow]] = {member_id: [] for member_id in self.member_ids}
        features: dict[ReplyId, bytes] = {}
        # Most rows hold one of a few states.
        states: dict[bytes, tuple[tuple[str, ...], int | None]] = {}
        n_unreadable = 0
        for (
            member_id,
            reply_id,
            seq,
            changed_at,
            state,
            asker_id,
            guild,
            person,
            feature_id,
            sealed,
        ) in self.rows:
            own, asker = keys.get(member_id), keys.get(asker_id)
            try:
                if own is None or asker is None:
                    raise SealBroken("A key is missing.")
                body = own.open(state, feedback_slot(member_id, reply_id, seq))
                if reply_id not in features:
                    features[reply_id] = asker.open(sealed, reply_slot("features", reply_id, asker_id))
            except SealBroken:
                n_unreadable += 1
                continue
            if body not in states:
                told = FeedbackState.from_bytes(body)
                states[body] = told.emoji, told.rating
            emoji, rating = states[body]
            at = utc_time(changed_at)
            vector = features[reply_id]
            opened[member_id].append(
                FeedbackRow(reply_id, emoji, rating, feature_id, vector, at, guild, person)
            )
        return opened, n_unreadable


def cursor(connection: Connection) -> int:
    """Return the number of the last change that a round processed; 0 before the first round."""
    latest = select(rounds.c.cursor).order_by(rounds.c.version.desc()).limit(1)
    return connection.execute(latest).scalar() or 0


def changed_after(connection: Connection, after: int, limit: int) -> list[ChangedMember]:
    """Return members due, the longest waiting first."""
    due = (
        select(members.c.member_id, members.c.changed_seq)
        .where(members.c.changed_seq > after, _agreed)
        .order_by(members.c.changed_seq)
        .limit(limit)
    )
    return [ChangedMember(*row) for row in connection.execute(due)]


def count_changed_after(connection: Connection, after: int) -> int:
    """Return the number of members due."""
    due = select(func.count()).select_from(members).where(members.c.changed_seq > after, _agreed)
    return connection.execute(due).scalar_one()


def feedback_counts(connection: Connection, member_ids: Sequence[MemberId]) -> dict[MemberId, int]:
    """Return the number of feedback rows of each member; members without any are left out."""
    counts: dict[MemberId, int] = {}
    for page in pages(member_ids):
        counted = (
            select(feedback.c.member_id, func.count())
            .where(feedback.c.member_id.in_(page))
            .group_by(feedback.c.member_id)
        )
        counts |= {MemberId(member_id): n for member_id, n in connection.execute(counted)}
    return counts


def sealed_feedback(connection: Connection, member_ids: Sequence[MemberId], newest: int) -> SealedFeedback:
    """Return the feedback of these members on their ``newest`` replies each, still sealed.

    Members with at most that many rows are read together, the others one by one, so that at most ``newest``
    rows of a member are read.
    """
    counts = feedback_counts(connection, member_ids)
    rows: list[Any] = []
    for page in pages([member_id for member_id, n in counts.items() if n <= newest]):
        rows += connection.execute(_all_feedback, {"members": page}).all()
    for member_id in (member_id for member_id, n in counts.items() if n > newest):
        rows += connection.execute(_newest_feedback, {"member": member_id, "newest": newest}).all()[::-1]
    return SealedFeedback(member_ids, rows)


def members_with_feedback(
    connection: Connection, after: MemberId | None, limit: int, agreed_before: datetime | None = None
) -> list[MemberId]:
    """Return the next page of members who gave feedback and agreed before a moment, by pseudonym."""
    gave = select(members.c.member_id).where(_agreed, members.c.member_id.in_(select(feedback.c.member_id)))
    if agreed_before is not None:
        gave = gave.where(members.c.decided_at <= agreed_before)
    if after is not None:
        gave = gave.where(members.c.member_id > after)
    return [
        MemberId(m) for m in connection.execute(gave.order_by(members.c.member_id).limit(limit)).scalars()
    ]


def head_of(connection: Connection, keys: KeyStore, member_id: MemberId) -> HeadRecord | None:
    """Return the member's head, opened, or None.

    Raises:
        SealBroken: The head was changed or moved.
    """
    own = select(heads).join(members).where(heads.c.member_id == member_id, _agreed)
    row = connection.execute(own).first()
    if row is None:
        return None
    body = keys.key_of(member_id).open(row.body, head_slot(member_id, row.version))
    return HeadRecord(row.version, row.n_labels, body, row.trained_at, row.rolled_back)


def record_round(
    connection: Connection, keys: KeyStore, record: RoundRecord, new_heads: Sequence[NewHead], fence: int
) -> int:
    """Store a round and its heads, under the fencing number of its trainer; return its version.

    Members who were erased meanwhile, or whose key was lost, are skipped.
    """
    # Not PostgreSQL's own numbering, which skips numbers when a round is rejected.
    latest = select(func.coalesce(func.max(rounds.c.version), 0))
    version: int = connection.execute(latest).scalar_one() + 1
    connection.execute(insert(rounds).values(asdict(record) | {"version": version, "fence": fence}))
    by_member = {head.member_id: head for head in new_heads}
    for page in pages(list(by_member)):
        connection.execute(delete(heads).where(heads.c.member_id.in_(page)))
        failpoint("learning.heads-deleted")
        present = connection.execute(
            select(members.c.member_id).where(members.c.member_id.in_(page), _agreed)
        )
        kept = [by_member[m] for m in present.scalars() if by_member[m].body is not None]
        opened = keys.usable_keys_of(head.member_id for head in kept)
        sealed = [
            {
                "member_id": head.member_id,
                "version": version,
                "n_labels": head.n_labels,
                "trained_at": record.finished_at,
                "rolled_back": head.rolled_back,
                "body": opened[head.member_id].seal(head.body or b"", head_slot(head.member_id, version)),
            }
            for head in kept
            if head.member_id in opened
        ]
        if sealed:
            connection.execute(insert(heads), sealed)
    return version


def drop_head(connection: Connection, member_id: MemberId) -> None:
    """Delete a member's head; the prior answers until a round makes a new one."""
    connection.execute(delete(heads).where(heads.c.member_id == member_id))


def latest_round(connection: Connection) -> RoundRecord | None:
    """Return the last round, or None."""
    row = connection.execute(select(rounds).order_by(rounds.c.version.desc()).limit(1)).mappings().first()
    return (
        None
        if row is None
        else RoundRecord(**{k: v for k, v in row.items() if k not in ("version", "fence")})
    )


def record_prior(connection: Connection, keys: KeyStore, record: PriorRecord) -> None:
    """Replace the prior; every member with feedback becomes due, because every head rests on it."""
    connection.execute(delete(prior))
    sealed = keys.system.seal(record.body, _prior_slot(connection))
    connection.execute(insert(prior).values(asdict(record) | {"id": 1, "body": sealed}))
    mark_all_due(connection)


def learnt_prior(connection: Connection, keys: KeyStore) -> PriorRecord | None:
    """Return the learnt prior, opened; None before the first one.

    Raises:
        SealBroken: The prior was changed.
    """
    row = connection.execute(select(prior)).first()
    if row is None:
        return None
    return PriorRecord(keys.system.open(row.body, _prior_slot(connection)), row.n_members, row.trained_at)


def _prior_slot(connection: Connection) -> Slot:
    return Slot("prior", "body", version=int(note_of(connection, ERASURES_NOTE) or 0))


def head_slot(member_id: MemberId, version: int) -> Slot:
    """Return the place of a sealed head."""
    return Slot("heads", "body", member=member_id, version=version)
