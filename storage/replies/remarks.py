"""Private remarks about a reply: ticked reasons, and the member's own words.

The member sends the words on purpose, so they may be stored: sealed under the member's key, until the
retention time, visible only to the member, also in ``/my-data``. Nothing learns from remarks. Reached as
``Store.remarks``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from storage.database.backend import Reader
from storage.database.change_numbers import next_number
from storage.database.schema import remarks
from storage.database.writer import Writer
from storage.keys.key_store import KeyStore
from storage.keys.sealing import Slot
from storage.members.consent import require_agreed
from storage.members.decision_times import DecisionTimes
from storage.members.learning_pause import require_learning
from storage.records import MemberId, Remark, ReplyId, Who
from storage.replies.impressions import require_visible


class Remarks:
    """Stores and reads remarks. Methods may raise the errors of :class:`storage.store.Store`."""

    def __init__(
        self,
        keys: KeyStore,
        reader: Reader,
        writer: Writer,
        *,
        now: Callable[[], datetime],
        decided: DecisionTimes,
    ) -> None:
        self._keys, self._reader, self._writer, self._now = keys, reader, writer, now
        self._decided = decided

    async def record(self, who: Who, reply_id: ReplyId, remark: Remark | None) -> None:
        """Store a member's remark on a reply, replacing an earlier one; None deletes it.

        Raises:
            NoConsent: The member did not agree.
            LearningPaused: The member paused learning; deleting a remark is still possible.
            UnknownReply: The reply is not stored, or belongs to another server.
        """
        at = self._now()
        await self._writer.submit(
            lambda c: _record(c, self._keys, who, reply_id, remark=remark, at=at, decided=self._decided)
        )

    async def of(self, who: Who, reply_id: ReplyId) -> Remark | None:
        """Return this member's remark on a reply, or None."""
        return await self._reader.run(lambda c: _read(c, self._keys, who, reply_id))


def slot(column: str, member_id: MemberId, reply_id: ReplyId, changed_seq: int) -> Slot:
    """Return the place of a sealed part of a remark."""
    return Slot("remarks", column, reply_id, member_id, changed_seq)


def _record(
    connection: Connection,
    keys: KeyStore,
    who: Who,
    reply_id: ReplyId,
    *,
    remark: Remark | None,
    at: datetime,
    decided: DecisionTimes,
) -> None:
    member_id = keys.pseudonyms.member(who)
    if remark is None:
        require_agreed(connection, member_id, who.under)
    else:
        require_learning(connection, member_id, who, decided)
    require_visible(connection, keys, who, reply_id)
    own = remarks.c.member_id == member_id, remarks.c.reply_id == reply_id
    connection.execute(delete(remarks).where(*own))
    if remark is None:
        return
    seq = next_number(connection)
    parts = {"reasons": list(remark.reasons), "words": remark.words}
    key = keys.key_of(member_id)
    sealed = {
        column: None
        if value is None
        else key.seal(json.dumps(value).encode(), slot(column, member_id, reply_id, seq))
        for column, value in parts.items()
    }
    about = {"member_id": member_id, "reply_id": reply_id, "changed_seq": seq, "told_at": at}
    connection.execute(insert(remarks).values(**about, **sealed))


def _read(connection: Connection, keys: KeyStore, who: Who, reply_id: ReplyId) -> Remark | None:
    member_id = keys.pseudonyms.member(who)
    row = connection.execute(
        select(remarks).where(remarks.c.member_id == member_id, remarks.c.reply_id == reply_id)
    ).first()
    if row is None:
        return None
    key = keys.key_of(member_id)
    reasons, words = (
        None
        if sealed is None
        else json.loads(key.open(sealed, slot(column, member_id, reply_id, row.changed_seq)))
        for column, sealed in (("reasons", row.reasons), ("words", row.words))
    )
    return Remark(tuple(reasons or ()), words)
