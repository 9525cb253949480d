"""Feedback: one member's current reactions on one reply, and a rating, sealed in one row.

A reaction is (chunk, emoji, burst). The same emoji may be on two chunks of a reply, and be both a normal
and a super reaction; training counts it once. An empty row is deleted. Every change takes a new sequence
number, and the seal is bound to it, so an older state put back does not open.
:mod:`storage.replies.apply_events` applies reactions in batches.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from storage.database.change_numbers import next_number
from storage.database.schema import MemberStatus, feedback, members
from storage.keys.key_store import KeyStore
from storage.keys.sealing import Slot
from storage.members.consent import require_agreed
from storage.members.decision_times import DecisionTimes
from storage.members.learning_pause import require_learning
from storage.records import MemberId, ReplyId, Who
from storage.replies.impressions import require_visible


class Reaction(NamedTuple):
    """One reaction: its chunk, its emoji, and whether it is a super reaction."""

    position: int
    emoji: str
    burst: bool


@dataclass(frozen=True, slots=True)
class FeedbackState:
    """All feedback of one member on one reply.

    Attributes:
        reactions: The current reactions in Discord.
        rating: 1 to 5, or None.
        undone: The reactions that the member undid with the bot but not in Discord; they do not count.
    """

    reactions: frozenset[Reaction] = frozenset()
    rating: int | None = None
    undone: frozenset[Reaction] = frozenset()

    @property
    def emoji(self) -> tuple[str, ...]:
        """The distinct emoji that count, sorted."""
        return tuple(sorted({reaction.emoji for reaction in self.reactions - self.undone}))

    def with_reactions(self, reactions: frozenset[Reaction]) -> FeedbackState:
        """Return the state with these reactions in Discord.

        An undone reaction counts again after it was removed and given anew.
        """
        return replace(self, reactions=reactions, undone=self.undone & reactions)

    def undone_all(self) -> FeedbackState:
        """Return the state after an undo: current reactions stay known but do not count."""
        return replace(self, rating=None, undone=self.reactions)

    def to_bytes(self) -> bytes:
        """Return JSON, deterministic for equal states."""
        content: dict[str, Any] = {"reactions": sorted(self.reactions), "rating": self.rating}
        if self.undone:
            content["undone"] = sorted(self.undone)
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> FeedbackState:
        """Parse the output of :meth:`to_bytes`."""
        return cls.from_content(json.loads(body))

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> FeedbackState:
        """Parse the decoded output of :meth:`to_bytes`, as it is in an export."""
        reactions, undone = (
            frozenset(Reaction(*reaction) for reaction in content.get(name, ()))
            for name in ("reactions", "undone")
        )
        return cls(reactions, content["rating"], undone)


NO_FEEDBACK = FeedbackState()


def slot(member_id: MemberId, reply_id: ReplyId, changed_seq: int) -> Slot:
    """Return the place of a sealed state."""
    return Slot("feedback", "state", reply_id, member_id, changed_seq)


_own = (feedback.c.member_id == bindparam("member")) & (feedback.c.reply_id == bindparam("reply"))
_state = select(feedback.c.changed_seq, feedback.c.state).where(_own)
_insert = insert(feedback)
_update = (
    update(feedback).where(_own).values({c: bindparam(c) for c in ("changed_seq", "changed_at", "state")})
)
_delete = delete(feedback).where(_own)
_touch = (
    update(members)
    .where(members.c.member_id == bindparam("member"))
    .values(changed_seq=bindparam("changed_seq"))
)


def record_rating(
    connection: Connection,
    keys: KeyStore,
    who: Who,
    reply_id: ReplyId,
    rating: int | None,
    *,
    at: datetime,
    decided: DecisionTimes,
) -> int | None:
    """Set the rating, or remove it with None; return the earlier one.

    Raises:
        NoConsent: The member did not agree.
        LearningPaused: The member paused learning; removing a rating is still possible.
        UnknownReply: The reply is not stored, or belongs to another server.
        ValueError: The rating is not 1 to 5.
    """
    if rating is not None and not 1 <= rating <= 5:
        raise ValueError(f"Expected a rating from 1 to 5, found {rating}.")
    member_id = keys.pseudonyms.member(who)
    if rating is None:
        require_agreed(connection, member_id, who.under)
    else:
        require_learning(connection, member_id, who, decided)
    require_visible(connection, keys, who, reply_id)
    before = state_of(connection, keys, member_id, reply_id)
    _write(connection, keys, (member_id, reply_id), before, replace(before, rating=rating), at)
    return before.rating


def undo(connection: Connection, keys: KeyStore, who: Who, reply_id: ReplyId | None, at: datetime) -> int:
    """Stop the member's feedback on one reply (None: on all in this server) from counting.

    Returns:
        The number of replies that this changed.

    Raises:
        NoConsent: The member did not agree.
    """
    member_id = keys.pseudonyms.member(who)
    require_agreed(connection, member_id, who.under)
    own = select(feedback.c.reply_id, feedback.c.changed_seq, feedback.c.state).where(
        feedback.c.member_id == member_id
    )
    if reply_id is not None:
        own = own.where(feedback.c.reply_id == reply_id)
    n_changed = 0
    for row in connection.execute(own.order_by(feedback.c.reply_id)).all():
        before = _opened(keys, member_id, row.reply_id, row)
        after = before.undone_all()
        _write(connection, keys, (member_id, row.reply_id), before, after, at)
        n_changed += before != after
    return n_changed


def members_with_feedback_on(connection: Connection, reply_id: ReplyId) -> set[MemberId]:
    """Return the members with feedback on this reply."""
    given = (
        select(feedback.c.member_id)
        .join(members)
        .where(feedback.c.reply_id == reply_id, members.c.standing == MemberStatus.AGREED)
    )
    return set(connection.execute(given).scalars())


def state_of(connection: Connection, keys: KeyStore, member_id: MemberId, reply_id: ReplyId) -> FeedbackState:
    """Return the current state, opened."""
    row = connection.execute(_state, {"member": member_id, "reply": reply_id}).first()
    return NO_FEEDBACK if row is None else _opened(keys, member_id, reply_id, row)


def _opened(keys: KeyStore, member_id: MemberId, reply_id: ReplyId, row: Any) -> FeedbackState:
    if row.state is None:
        return NO_FEEDBACK
    place = slot(member_id, reply_id, row.changed_seq)
    return FeedbackState.from_bytes(keys.key_of(member_id).open(row.state, place))


def _write(
    connection: Connection,
    keys: KeyStore,
    whose: tuple[MemberId, ReplyId],
    before: FeedbackState,
    after: FeedbackState,
    at: datetime,
) -> None:
    """Store a changed state under a new number and mark the member due; skip an unchanged one."""
    if after == before:
        return
    member_id, reply_id = whose
    seq = next_number(connection)
    own = {"member": member_id, "reply": reply_id}
    if after == NO_FEEDBACK:
        connection.execute(_delete, own)
    else:
        sealed = keys.key_of(member_id).seal(after.to_bytes(), slot(member_id, reply_id, seq))
        values = {"changed_seq": seq, "changed_at": at, "state": sealed}
        if before == NO_FEEDBACK:
            connection.execute(_insert, {"member_id": member_id, "reply_id": reply_id, **values})
        else:
            connection.execute(_update, own | values)
    connection.execute(_touch, {"member": member_id, "changed_seq": seq})
