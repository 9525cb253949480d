"""How past replies were chosen and what their askers made of them: what the operator's report reads, paged.

Only members who agree now are in it, each with the feedback that they themselves gave on the reply that they
asked for: it was their taste that chose. Reached as ``Store.choices``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, select

from storage.database.backend import BulkReader, Reader
from storage.database.schema import MemberStatus, feedback, members, replies
from storage.errors import SealBroken
from storage.keys.key_store import KeyStore
from storage.keys.sealing import SealingKey
from storage.records import MemberId, PastChoice, ReplyId
from storage.replies.feedback import NO_FEEDBACK, FeedbackState
from storage.replies.feedback import slot as feedback_slot
from storage.replies.impressions import slot as reply_slot

Rows = Sequence[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class ChoicePage:
    """Some past choices, oldest first.

    Attributes:
        choices: Those that could be opened.
        n_unreadable: How many could not.
        last: Where the next page starts; None when this was the last.
    """

    choices: Sequence[PastChoice]
    n_unreadable: int
    last: ReplyId | None


class PastChoices:
    """Reads them. May raise :class:`~storage.errors.DatabaseFailed`."""

    def __init__(self, keys: KeyStore, reader: Reader, bulk: BulkReader) -> None:
        self._keys, self._reader, self._bulk = keys, reader, bulk

    async def page(self, since: datetime, after: ReplyId | None, limit: int) -> ChoicePage:
        """Read how replies were chosen; rows that do not open are left out and counted.

        Args:
            since: Replies from then on, aware UTC.
            after: The ``last`` of the page before; None: from the start.
            limit: Most replies on the page.
        """
        rows = await self._bulk.run(lambda c: _rows(c, since, after or 0, limit))
        keys = await self._reader.run(lambda _: self._keys.usable_keys_of({MemberId(row[1]) for row in rows}))
        choices = await self._bulk.run_in_thread(lambda: _open(rows, keys))
        last = ReplyId(rows[-1][0]) if len(rows) == limit else None
        return ChoicePage(choices, len(rows) - len(choices), last)


def _rows(connection: Connection, since: datetime, after: int, limit: int) -> Rows:
    own = and_(feedback.c.reply_id == replies.c.reply_id, feedback.c.member_id == replies.c.member_id)
    wanted = (
        select(
            replies.c.reply_id,
            replies.c.member_id,
            replies.c.decision,
            feedback.c.changed_seq,
            feedback.c.state,
        )
        .join(members, members.c.member_id == replies.c.member_id)
        .join(feedback, own, isouter=True)
        .where(members.c.standing == MemberStatus.AGREED)
        .where(replies.c.created_at >= since, replies.c.reply_id > after)
        .order_by(replies.c.reply_id)
        .limit(limit)
    )
    return [tuple(row) for row in connection.execute(wanted)]


def _open(rows: Rows, keys: Mapping[MemberId, SealingKey]) -> list[PastChoice]:
    """Open every row that opens: one damaged row must not stop a report."""
    opened: list[PastChoice] = []
    for reply_id, asker, sealed, changed_seq, state in rows:
        key = keys.get(asker)
        if key is None:
            continue
        try:
            decision = json.loads(key.open(sealed, reply_slot("decision", reply_id, asker)))
            told = NO_FEEDBACK
            if state is not None:
                told = FeedbackState.from_bytes(key.open(state, feedback_slot(asker, reply_id, changed_seq)))
        except SealBroken:
            continue
        opened.append(
            PastChoice(
                member_id=asker,
                chosen=decision["chosen"],
                scores=tuple(decision["scores"]),
                prior_scores=tuple(decision["prior_scores"]),
                propensities=tuple(decision["propensities"]),
                policy=decision["policy"],
                reactions=told.emoji,
                rating=told.rating,
            )
        )
    return opened
