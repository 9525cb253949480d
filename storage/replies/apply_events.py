"""Applies Discord's reaction events to stored feedback, one batch at a time: read once, fold, write once.

Statements work on sets, because each one costs a switch between threads. A batch of hundreds takes a dozen
statements; single events would take four each. The fold runs in memory over opened states, in the order of
the gateway. So it is idempotent: a repeated event changes nothing, and add-remove-add ends as added.

The batch is one unit of the writer: all of it is committed, or nothing. Rows that cannot be opened, because a
key was lost or a row is damaged, stay unchanged and are counted: one member must not block the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import BindParameter, Connection, bindparam, delete, insert, select, text, tuple_, update

from storage.database.change_numbers import PAGE, mark_due, next_number
from storage.database.schema import MemberStatus, feedback, members, messages, replies
from storage.errors import SealBroken
from storage.keys.key_store import KeyStore
from storage.keys.sealing import SealingKey
from storage.members.decision_times import DecisionTimes, Reactor
from storage.records import (
    Applied,
    Arrival,
    Cleared,
    Deleted,
    DiscordEvent,
    MemberId,
    Observed,
    Reacted,
    ReplyId,
    Who,
)
from storage.replies.choice_rows import choosers_of
from storage.replies.feedback import NO_FEEDBACK, FeedbackState, Reaction, slot

T = TypeVar("T")

Whose = tuple[MemberId, ReplyId]
"""Member and reply: the key of a row of feedback."""


class _Chunk(NamedTuple):
    """A stored message of a reply whose asker agrees."""

    message: bytes
    reply_id: ReplyId
    position: int
    posted_at: datetime
    guild: bytes


_chunks = (
    select(
        messages.c.message, messages.c.reply_id, messages.c.position, replies.c.created_at, members.c.guild
    )
    .select_from(messages.join(replies).join(members))
    .where(
        messages.c.message.in_(bindparam("ids", expanding=True)), members.c.standing == MemberStatus.AGREED
    )
)
_reactors = select(members).where(
    members.c.member_id.in_(bindparam("ids", expanding=True)), members.c.standing == MemberStatus.AGREED
)
_feedback = select(feedback).join(members).where(members.c.standing == MemberStatus.AGREED)
_on_replies = _feedback.where(feedback.c.reply_id.in_(bindparam("ids", expanding=True)))
_pairs: BindParameter[Any] = bindparam("ids", expanding=True)
_of_pairs = {
    "postgresql": select(feedback).where(tuple_(feedback.c.member_id, feedback.c.reply_id).in_(_pairs)),
    # SQLite uses the key for pairs from a SELECT; for a plain list it scans the whole table.
    "sqlite": select(feedback).where(
        text("(member_id, reply_id) IN (SELECT * FROM :ids)").bindparams(_pairs)
    ),
}
_own = (feedback.c.member_id == bindparam("member")) & (feedback.c.reply_id == bindparam("reply"))
_insert = insert(feedback)
_update = (
    update(feedback).where(_own).values({c: bindparam(c) for c in ("changed_seq", "changed_at", "state")})
)
_delete = delete(feedback).where(_own)
_touch = (
    update(members).where(members.c.member_id == bindparam("member")).values(changed_seq=bindparam("number"))
)


def record_events(
    connection: Connection,
    keys: KeyStore,
    events: Sequence[DiscordEvent],
    now: Arrival,
    decided: DecisionTimes,
) -> Applied:
    """Apply events in order. Unstored messages and members who did not agree leave no trace."""
    named = {id_: keys.pseudonyms.message(id_) for id_ in {event.message_id for event in events}}
    found = {row[0]: _Chunk(*row) for row in _read(connection, _chunks, named.values())}
    chunks = {id_: found[name] for id_, name in named.items() if name in found}
    about = [event for event in events if event.message_id in chunks]
    if not about:
        return Applied()
    batch = _Batch(connection, keys, chunks, about, partial(decided.is_older, now=now))
    for event in about:
        batch.apply(event)
    return batch.write(now.at)


@dataclass(slots=True)
class _Reply:
    """A reply in the batch: members with feedback on it, and its remaining messages."""

    raters: dict[MemberId, None]
    chunks: set[bytes]


class _Batch:
    """The states that a batch touches: opened, changed in memory, and written at the end."""

    def __init__(
        self,
        connection: Connection,
        keys: KeyStore,
        chunks: dict[int, _Chunk],
        events: list[DiscordEvent],
        is_older: Callable[[Arrival, Reactor], bool],
    ) -> None:
        self._connection = connection
        self._is_older = is_older
        self._chunks = chunks
        self._ids = _Names(keys)
        whole = {chunks[e.message_id].reply_id for e in events if not isinstance(e, Reacted)}
        reactors = {member for event in events for member in self._ids.of(event)}
        self._reactors = {
            MemberId(row.member_id): Reactor.of(row) for row in _read(connection, _reactors, reactors)
        }
        pairs = {
            (self._ids.member(e.who), chunks[e.message_id].reply_id) for e in events if isinstance(e, Reacted)
        }
        pairs = {
            (member, reply) for member, reply in pairs if member in self._reactors and reply not in whole
        }
        rows = [
            *_read(connection, _on_replies, whole),
            *_read(connection, _of_pairs[connection.dialect.name], pairs),
        ]
        self._keys = keys.usable_keys_of({*self._reactors, *(MemberId(row.member_id) for row in rows)})
        self._stored: dict[Whose, FeedbackState | None] = {
            (row.member_id, row.reply_id): _opened(self._keys.get(row.member_id), row) for row in rows
        }
        self._states = {whose: state for whose, state in self._stored.items() if state is not None}
        self._replies = self._whole_replies(whole)
        self._deleted_messages: list[bytes] = []
        self._n_taken = 0

    def _whole_replies(self, reply_ids: set[ReplyId]) -> dict[ReplyId, _Reply]:
        """Return the raters and messages of these replies; other replies do not need them."""
        found = {reply_id: _Reply({}, set()) for reply_id in reply_ids}
        for member_id, reply_id in self._stored:
            if reply_id in found:
                found[reply_id].raters[member_id] = None
        left = select(messages.c.reply_id, messages.c.message).where(
            messages.c.reply_id.in_(bindparam("ids", expanding=True))
        )
        for reply_id, message in _read(self._connection, left, reply_ids):
            found[reply_id].chunks.add(message)
        return found

    def apply(self, event: DiscordEvent) -> None:
        """Apply one event to the states."""
        chunk = self._chunks.get(event.message_id)
        if chunk is None:  # deleted by an earlier event
            return
        match event:
            case Reacted():
                self._react(event, chunk)
            case Cleared(emoji=emoji):
                self._filter_reactions(chunk, lambda _, r: emoji not in (None, r.emoji))
            case Deleted():
                self._filter_reactions(chunk, lambda _member, _reaction: False)
                self._replies[chunk.reply_id].chunks.discard(chunk.message)
                self._deleted_messages.append(chunk.message)
                del self._chunks[event.message_id]
            case Observed():
                self._observe(event, chunk)

    def _react(self, event: Reacted, chunk: _Chunk) -> None:
        member = self._ids.member(event.who)
        reactor = self._reactors.get(member)
        if reactor is None or reactor.guild != chunk.guild:
            return
        came = event.who.came
        waited = came is not None and self._is_older(came, reactor)
        if event.added and (reactor.paused or waited):
            return
        self._n_taken += 1
        state = self._state(member, chunk.reply_id)
        one = {Reaction(chunk.position, event.emoji, event.burst)}
        self._put(member, chunk, state, state.reactions | one if event.added else state.reactions - one)

    def _filter_reactions(self, chunk: _Chunk, stays: Callable[[MemberId, Reaction], bool]) -> None:
        """Keep the reactions of a message for which ``stays(member, reaction)`` is true; remove others."""
        self._n_taken += 1
        for member in list(self._replies[chunk.reply_id].raters):
            state = self._state(member, chunk.reply_id)
            kept = {r for r in state.reactions if r.position != chunk.position or stays(member, r)}
            self._put(member, chunk, state, kept)

    def _observe(self, event: Observed, chunk: _Chunk) -> None:
        """Set the observed reactions. Ignores those from before the member agreed and from during a pause."""
        seen: dict[MemberId, set[Reaction]] = {}
        for (emoji, burst), user_ids in event.users.items():
            for user_id in user_ids:
                member = self._ids.member(Who(event.guild_id, user_id))
                seen.setdefault(member, set()).add(Reaction(chunk.position, emoji, burst))
        nothing: set[Reaction] = set()
        self._filter_reactions(
            chunk, lambda m, r: (r.emoji, r.burst) in event.skipped or r in seen.get(m, nothing)
        )
        for member, reactions in seen.items():
            reactor = self._reactors.get(member)
            if reactor is None or reactor.guild != chunk.guild:
                continue
            if reactor.paused or reactor.since > chunk.posted_at:
                continue
            state = self._state(member, chunk.reply_id)
            self._put(member, chunk, state, state.reactions | reactions)

    def _state(self, member: MemberId, reply_id: ReplyId) -> FeedbackState:
        return self._states.get((member, reply_id), NO_FEEDBACK)

    def _put(
        self, member: MemberId, chunk: _Chunk, state: FeedbackState, reactions: Iterable[Reaction]
    ) -> None:
        self._states[member, chunk.reply_id] = state.with_reactions(frozenset(reactions))
        if chunk.reply_id in self._replies:
            self._replies[chunk.reply_id].raters[member] = None

    def write(self, at: datetime) -> Applied:
        """Store every changed state under a new number and mark its member due."""
        emptied = {reply_id for reply_id, reply in self._replies.items() if not reply.chunks}
        changed = {
            whose: state
            for whose, state in self._states.items()
            if whose[1] not in emptied and state != self._stored.get(whose, NO_FEEDBACK)
        }
        unreadable = {whose for whose in changed if self._is_unreadable(whose)}
        changed = {whose: state for whose, state in changed.items() if whose not in unreadable}
        lost_feedback = {m: None for m, reply_id in self._stored if reply_id in emptied}
        self._write_states(changed, list(lost_feedback), at)
        self._delete_all(emptied)
        touched = frozenset({*(member for member, _ in changed), *lost_feedback})
        return Applied(self._n_taken, touched, len(changed) + len(lost_feedback), len(unreadable))

    def _is_unreadable(self, whose: Whose) -> bool:
        return whose[0] not in self._keys or self._stored.get(whose, NO_FEEDBACK) is None

    def _write_states(
        self, changed: dict[Whose, FeedbackState], lost_feedback: list[MemberId], at: datetime
    ) -> None:
        n_numbers = len(changed) + len(lost_feedback)
        if not n_numbers:
            return
        number = next_number(self._connection, n_numbers) - n_numbers
        touch: dict[MemberId, int] = {}
        new: list[dict[str, Any]] = []
        other: list[dict[str, Any]] = []
        nothing: list[dict[str, Any]] = []
        for (member, reply_id), state in changed.items():
            number += 1
            touch[member] = number
            own = {"member": member, "reply": reply_id}
            if state == NO_FEEDBACK:
                nothing.append(own)
                continue
            sealed = self._keys[member].seal(state.to_bytes(), slot(member, reply_id, number))
            values = {"changed_seq": number, "changed_at": at, "state": sealed}
            if (member, reply_id) in self._stored:
                other.append(own | values)
            else:
                new.append({"member_id": member, "reply_id": reply_id, **values})
        for member in lost_feedback:
            number += 1
            touch[member] = number
        for statement, rows in ((_insert, new), (_update, other), (_delete, nothing)):
            if rows:
                self._connection.execute(statement, rows)
        self._connection.execute(_touch, [{"member": m, "number": n} for m, n in touch.items()])

    def _delete_all(self, emptied: set[ReplyId]) -> None:
        """Delete the deleted messages, and replies without any message, with all data that depend on them."""
        for page in _pages(self._deleted_messages):
            self._connection.execute(delete(messages).where(messages.c.message.in_(page)))
        for page in _pages(emptied):
            mark_due(self._connection, choosers_of(self._connection, page))
            self._connection.execute(delete(replies).where(replies.c.reply_id.in_(page)))


class _Names:
    """Cache of members' pseudonyms during one batch."""

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys
        self._known: dict[Who, MemberId] = {}

    def member(self, who: Who) -> MemberId:
        name = self._known.get(who)
        if name is None:
            name = self._known[who] = self._keys.pseudonyms.member(who)
        return name

    def of(self, event: DiscordEvent) -> Iterator[MemberId]:
        """Yield the members who caused an event."""
        if isinstance(event, Reacted):
            yield self.member(event.who)
        elif isinstance(event, Observed):
            for user_id in set[int]().union(*event.users.values()):
                yield self.member(Who(event.guild_id, user_id))


def _opened(key: SealingKey | None, row: Any) -> FeedbackState | None:
    """Return the state in a row; None if it cannot be opened."""
    if key is None:
        return None
    try:
        return FeedbackState.from_bytes(
            key.open(row.state, slot(row.member_id, row.reply_id, row.changed_seq))
        )
    except SealBroken:
        return None


def _read(connection: Connection, query: Any, ids: Iterable[Any]) -> Iterator[Any]:
    """Yield rows of a query with a long list of ids, one page at a time."""
    for page in _pages(ids):
        yield from connection.execute(query, {"ids": page})


def _pages(ids: Iterable[T]) -> Iterator[list[T]]:
    all_ids = list(ids)
    return (all_ids[start : start + PAGE] for start in range(0, len(all_ids), PAGE))
