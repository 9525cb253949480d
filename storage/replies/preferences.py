"""Choices between two replies, with the features of both sealed under the key of the member who chose.

A choice is either a pick between two texts shown side by side (candidates, or a pair of the six taps), or a
request for another answer in place of the first. For the latter, the member's feedback on both gives the
label, which is derived and never stored. Only features are stored, no text. A choice is deleted with the
replies it is about. Reached as ``Store.preferences``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Connection, func, select

from storage.database.backend import BulkReader, Reader
from storage.database.change_numbers import pages
from storage.database.schema import MemberStatus, members, preferences, replies
from storage.database.writer import Writer
from storage.errors import LearningPaused, NoConsent
from storage.keys.key_store import KeyStore
from storage.members.decision_times import DecisionTimes
from storage.members.learning_pause import require_learning
from storage.records import MemberId, Pick, Picked, PreferenceRow, ReplyId, Who
from storage.replies.choice_rows import choice_of, insert_choice, open_rows, replaced, rows_of, take_back
from storage.replies.impressions import slot as reply_slot

log = logging.getLogger(__name__)

MOST_SHOWN = 100
"""Largest number of choices about one reply that are read to find the next pair."""


class Preferences:
    """Stores and reads choices. Methods may raise the errors of :class:`storage.store.Store`."""

    def __init__(
        self,
        keys: KeyStore,
        reader: Reader,
        bulk: BulkReader,
        *,
        writer: Writer,
        now: Callable[[], datetime],
        decided: DecisionTimes,
    ) -> None:
        self._keys, self._reader, self._bulk, self._writer, self._now = keys, reader, bulk, writer, now
        self._decided = decided

    async def record_pick(self, who: Who, pick: Pick) -> int:
        """Store a choice between two candidates; return its number.

        If the reply was deleted meanwhile, the choice is stored without it.

        Raises:
            NoConsent: The member did not agree, or agreed anew since the pair was made.
            LearningPaused: The member paused learning.
        """
        at = self._now()
        return await self._writer.submit(
            lambda c: record_pick(c, self._keys, who, pick, at=at, decided=self._decided)
        )

    async def record_another(self, who: Who, first: ReplyId, second: ReplyId) -> bool:
        """Record that a member requested another answer and got it.

        Args:
            who: The member.
            first: The reply that the member wanted replaced.
            second: The other answer.

        Returns:
            False, and nothing is stored, unless both are replies to this member, with features of the same
                kind.
            Also False if the member does not agree (any more) or paused learning.
        """
        at = self._now()
        return await self._writer.submit(
            lambda c: _record_another(c, self._keys, who, (first, second), at=at, decided=self._decided)
        )

    async def undo(self, who: Who, preference_id: int) -> bool:
        """Take back a choice of this member; return whether it existed."""
        member_id = self._keys.pseudonyms.member(who)
        return await self._writer.submit(lambda c: take_back(c, self._keys, member_id, preference_id))

    async def candidates_of(self, who: Who, reply_id: ReplyId) -> tuple[tuple[str, str], ...]:
        """Return text and style of a reply's candidates, for its asker; empty after the retention time."""
        return await self._reader.run(lambda c: _candidates_of(c, self._keys, who, reply_id))

    async def picked_of(self, who: Who, reply_id: ReplyId) -> frozenset[frozenset[int]]:
        """Return the pairs of candidates of a reply that this member has already compared, by index."""
        member_id = self._keys.pseudonyms.member(who)
        sealed = await self._reader.run(lambda c: rows_of(c, [member_id], MOST_SHOWN, reply_id))
        keys = await self._reader.run(lambda _: self._keys.usable_keys_of([member_id]))
        return frozenset(
            frozenset(choice_of(row, keys[member_id])["candidates"]) for row in sealed if member_id in keys
        )

    async def counts(self, member_ids: Sequence[MemberId]) -> dict[MemberId, int]:
        """Return each member's number of choices; members without any are left out."""
        return await self._bulk.run(lambda c: _counts(c, member_ids))

    async def of(self, member_ids: Sequence[MemberId], newest: int) -> dict[MemberId, list[PreferenceRow]]:
        """Return the latest choices of each member, oldest first; unreadable ones are left out."""
        sealed = await self._bulk.run(lambda c: rows_of(c, member_ids, newest))
        keys = await self._reader.run(
            lambda _: self._keys.usable_keys_of({MemberId(r.member_id) for r in sealed})
        )
        opened, n_unreadable = await self._bulk.run_in_thread(lambda: open_rows(sealed, keys))
        if n_unreadable:
            log.warning("choices between replies left out, because they cannot be opened: %d", n_unreadable)
        return {member_id: opened.get(member_id, []) for member_id in member_ids}


def record_pick(
    connection: Connection,
    keys: KeyStore,
    who: Who,
    pick: Pick,
    *,
    at: datetime,
    decided: DecisionTimes,
    tap: tuple[str, int] | None = None,
    replaces: int = 0,
) -> int:
    """Store a choice between two texts, and return its number; see :meth:`Preferences.record_pick`.

    Args:
        connection: An open transaction.
        keys: Keys of members.
        who: The member.
        pick: The choice.
        at: Time of the choice.
        decided: Times of decisions.
        tap: Name of the pair and number of the row of taps, if it is one of the six taps.
        replaces: Number of the earlier choice about that pair; 0 for none. If it has the same features,
            it is kept within the new choice, until that is undone, replaced or deleted.
    """
    member_id = keys.pseudonyms.member(who)
    require_learning(connection, member_id, who, decided)
    own = select(replies.c.reply_id).where(
        replies.c.reply_id == pick.reply_id, replies.c.member_id == member_id
    )
    reply_id = None if pick.reply_id is None else connection.execute(own).scalar()
    choice: dict[str, object] = {"picked": pick.picked, "candidates": pick.candidates}
    features = pick.first + pick.second
    if tap is not None:
        choice["tap"], choice["row"] = tap
    if replaces:
        before = replaced(
            connection, keys, member_id, replaces, feature_id=pick.feature_id, features=features
        )
        choice |= {} if before is None else {"replaced": before}
    about = {"first_reply": reply_id, "second_reply": reply_id, "feature_id": pick.feature_id, "told_at": at}
    return insert_choice(connection, keys, member_id, choice, about=about, features=features)


def _record_another(
    connection: Connection,
    keys: KeyStore,
    who: Who,
    both: tuple[ReplyId, ReplyId],
    *,
    at: datetime,
    decided: DecisionTimes,
) -> bool:
    member_id = keys.pseudonyms.member(who)
    try:
        require_learning(connection, member_id, who, decided)
    except (NoConsent, LearningPaused):
        return False
    own = select(replies).where(replies.c.reply_id.in_(both), replies.c.member_id == member_id)
    found = {row.reply_id: row for row in connection.execute(own)}
    if set(found) != set(both) or len({row.feature_id for row in found.values()}) != 1:
        return False
    key = keys.key_of(member_id)
    parts = [key.open(found[r].features, reply_slot("features", r, member_id)) for r in both]
    if not parts[0] or len(parts[0]) != len(parts[1]):  # one of them was posted without a ranking
        return False
    about = {
        "first_reply": both[0],
        "second_reply": both[1],
        "feature_id": found[both[0]].feature_id,
        "told_at": at,
    }
    insert_choice(
        connection, keys, member_id, {"picked": Picked.AGAIN}, about=about, features=b"".join(parts)
    )
    return True


def _candidates_of(
    connection: Connection, keys: KeyStore, who: Who, reply_id: ReplyId
) -> tuple[tuple[str, str], ...]:
    member_id = keys.pseudonyms.member(who)
    own = (
        select(replies.c.texts, replies.c.decision)
        .join(members)
        .where(
            replies.c.reply_id == reply_id,
            replies.c.member_id == member_id,
            members.c.standing == MemberStatus.AGREED,
        )
    )
    found = connection.execute(own).first()
    if found is None or found.texts is None:
        return ()
    key = keys.key_of(member_id)
    texts = json.loads(key.open(found.texts, reply_slot("texts", reply_id, member_id)))
    if not all(texts):  # blanked at an erasure
        return ()
    decision = json.loads(key.open(found.decision, reply_slot("decision", reply_id, member_id)))
    return tuple(zip(texts, decision["styles"], strict=True))


def _counts(connection: Connection, member_ids: Sequence[MemberId]) -> dict[MemberId, int]:
    counts: dict[MemberId, int] = {}
    for page in pages(member_ids):
        counted = (
            select(preferences.c.member_id, func.count())
            .where(preferences.c.member_id.in_(page))
            .group_by(preferences.c.member_id)
        )
        counts |= {MemberId(member_id): n for member_id, n in connection.execute(counted)}
    return counts
