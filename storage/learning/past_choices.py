"""Past choices of replies, with their askers' feedback: input of the report and of the dealing of seats.

Includes only members who agree now, with their own feedback on the replies that they asked for, because their
taste chose these replies. Reached as ``Store.choices``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, select

from storage.database.backend import BulkReader, Reader
from storage.database.schema import MemberStatus, feedback, members, replies
from storage.errors import SealBroken
from storage.keys.key_store import KeyStore
from storage.keys.sealing import SealingKey
from storage.records import MemberId, PastChoice, ReplyId, Seat
from storage.replies.coarse import coarse, place_of_posted
from storage.replies.feedback import NO_FEEDBACK, FeedbackState
from storage.replies.feedback import slot as feedback_slot
from storage.replies.impressions import slot as reply_slot

Rows = Sequence[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class ChoicePage:
    """One page of past choices, oldest first.

    Attributes:
        choices: Choices that could be opened.
        n_unreadable: Number of choices that could not be opened.
        last: Start of the next page; None after the last page.
    """

    choices: Sequence[PastChoice]
    n_unreadable: int
    last: ReplyId | None


class PastChoices:
    """Reads past choices. May raise :class:`~storage.errors.DatabaseFailed`."""

    def __init__(self, keys: KeyStore, reader: Reader, bulk: BulkReader) -> None:
        self._keys, self._reader, self._bulk = keys, reader, bulk

    async def page(self, since: datetime, after: ReplyId | None, limit: int) -> ChoicePage:
        """Return how replies were chosen; unreadable rows are left out and counted.

        Args:
            since: Earliest time of a reply, aware UTC.
            after: The ``last`` of the page before; None for the first page.
            limit: Maximum number of replies on the page.
        """
        query = _choices(answered=False).where(replies.c.created_at >= since)
        return await self._opened(query.where(replies.c.reply_id > (after or 0)), limit)

    async def answered(
        self, limit: int, *, of: MemberId | None = None, before: ReplyId | None = None
    ) -> ChoicePage:
        """Return the newest choices that their askers gave feedback on, newest first.

        Args:
            limit: Maximum number of replies on the page.
            of: The asker; None: all.
            before: The ``last`` of the page before; None for the first page.
        """
        query = _choices(answered=True)
        if of is not None:
            query = query.where(feedback.c.member_id == of)
        if before is not None:
            query = query.where(replies.c.reply_id < before)
        return await self._opened(query, limit, newest=True)

    async def _opened(
        self, query: Select[*tuple[Any, ...]], limit: int, *, newest: bool = False
    ) -> ChoicePage:
        order = replies.c.reply_id.desc() if newest else replies.c.reply_id
        ordered = query.order_by(order).limit(limit)
        rows = await self._bulk.run(lambda c: [tuple(row) for row in c.execute(ordered)])
        keys = await self._reader.run(lambda _: self._keys.usable_keys_of({MemberId(row[1]) for row in rows}))
        choices = await self._bulk.run_in_thread(lambda: _open(rows, keys))
        last = ReplyId(rows[-1][0]) if len(rows) == limit else None
        return ChoicePage(choices, len(rows) - len(choices), last)


def _choices(*, answered: bool) -> Select[*tuple[Any, ...]]:
    """Select replies to members who agree now, with their askers' feedback; ``answered``: only with it."""
    own = and_(feedback.c.reply_id == replies.c.reply_id, feedback.c.member_id == replies.c.member_id)
    return (
        select(
            replies.c.reply_id,
            replies.c.member_id,
            replies.c.decision,
            feedback.c.changed_seq,
            feedback.c.state,
            members.c.guild,
            members.c.person,
        )
        .join(members, members.c.member_id == replies.c.member_id)
        .join(feedback, own, isouter=not answered)
        .where(members.c.standing == MemberStatus.AGREED)
    )


def _open(rows: Rows, keys: Mapping[MemberId, SealingKey]) -> list[PastChoice]:
    """Open the rows and skip unreadable ones: one damaged row must not stop a report."""
    opened: list[PastChoice] = []
    for reply_id, asker, sealed, changed_seq, state, guild, person in rows:
        key = keys.get(asker)
        if key is None:
            continue
        try:
            decision = coarse(json.loads(key.open(sealed, reply_slot("decision", reply_id, asker))))
            told = NO_FEEDBACK
            if state is not None:
                told = FeedbackState.from_bytes(key.open(state, feedback_slot(asker, reply_id, changed_seq)))
        except SealBroken:
            continue
        opened.append(
            PastChoice(
                member_id=asker,
                chosen=place_of_posted(decision),
                scores=tuple(decision["scores"]),
                prior_scores=tuple(decision.get("prior_scores", ())),  # the first release stored none
                propensities=tuple(decision["propensities"]),
                policy=decision["policy"],
                reactions=told.emoji,
                rating=told.rating,
                style=decision["styles"][decision["chosen"]],
                seat=_seat(decision.get("seat")),
                guild=guild,
                person=person,
            )
        )
    return opened


def _seat(stored: dict[str, Any] | None) -> Seat | None:
    if stored is None:
        return None
    told: dict[str, Any] = {**stored, "shares": tuple(stored["shares"])}
    return Seat(**told)
