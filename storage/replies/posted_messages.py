"""Locations of the bot's stored replies in Discord, and the number of stored reactions on each message.

Used to read back what the bot missed while offline. Locations are sealed under the asker's key and opened
here, one page at a time, newest replies first. Reached as ``Store.posted``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, select

from storage.database.backend import BulkReader, Reader
from storage.database.change_numbers import PAGE
from storage.database.schema import MemberStatus, feedback, members, messages, replies
from storage.errors import SealBroken
from storage.keys.key_store import KeyStore
from storage.keys.sealing import SealingKey
from storage.records import MemberId, ReplyId
from storage.replies.feedback import FeedbackState, slot
from storage.replies.impressions import place_slot


@dataclass(frozen=True, slots=True)
class PostedMessage:
    """A message of a stored reply.

    Attributes:
        guild_id: The server, :data:`~storage.records.DIRECT_MESSAGES`, or None if it was not stored.
        counts: (emoji, burst) -> number of members whose reaction is stored.
    """

    channel_id: int
    message_id: int
    guild_id: int | None
    counts: Mapping[tuple[str, bool], int]


@dataclass(frozen=True, slots=True)
class PostedPage:
    """One page of posted messages; ``last`` is the start of the next page, None after the last page."""

    messages: Sequence[PostedMessage]
    last: ReplyId | None


class PostedMessages:
    """Reads posted messages. Methods may raise the errors of :class:`storage.store.Store`."""

    def __init__(self, keys: KeyStore, reader: Reader, bulk: BulkReader) -> None:
        self._keys, self._reader, self._bulk = keys, reader, bulk

    async def page(self, before: ReplyId | None, limit: int) -> PostedPage:
        """Return the messages of up to ``limit`` replies; ``before`` is the ``last`` of the page before."""

        def read(connection: Connection) -> tuple[_Sealed, ReplyId | None]:
            query = select(replies.c.reply_id).join(members).where(members.c.standing == MemberStatus.AGREED)
            if before is not None:
                query = query.where(replies.c.reply_id < before)
            ids = connection.execute(query.order_by(replies.c.reply_id.desc()).limit(limit)).scalars().all()
            return _sealed(connection, ids), ids[-1] if len(ids) == limit else None

        sealed, last = await self._bulk.run(read)
        return PostedPage(await self._opened(sealed), last)

    async def of(self, message_ids: Collection[int]) -> list[PostedMessage]:
        """Return those of these messages that are stored, and the other messages of their replies."""
        names = [self._keys.pseudonyms.message(id_) for id_ in message_ids]

        def read(connection: Connection) -> _Sealed:
            ids: set[int] = set()
            for start in range(0, len(names), PAGE):
                own = messages.c.message.in_(names[start : start + PAGE])
                ids.update(connection.execute(select(messages.c.reply_id).where(own)).scalars())
            return _sealed(connection, sorted(ids))

        return await self._opened(await self._bulk.run(read))

    async def _opened(self, sealed: _Sealed) -> list[PostedMessage]:
        owners = {MemberId(row.member_id) for row in (*sealed.places, *sealed.states)}
        keys = await self._reader.run(lambda _: self._keys.usable_keys_of(owners))
        return await self._bulk.run_in_thread(lambda: sealed.open(keys))


@dataclass(slots=True)
class _Sealed:
    """Rows of messages with their asker, and rows of feedback."""

    places: list[Row[Any]] = field(default_factory=list[Row[Any]])
    states: list[Row[Any]] = field(default_factory=list[Row[Any]])

    def open(self, keys: Mapping[MemberId, SealingKey]) -> list[PostedMessage]:
        """Return the messages that can be opened; others are left out."""
        counts: Counter[tuple[ReplyId, int, str, bool]] = Counter()
        for row in self.states:
            body = _open(keys, row.state, row.member_id, slot(row.member_id, row.reply_id, row.changed_seq))
            if body is not None:
                for one in FeedbackState.from_bytes(body).reactions:
                    counts[row.reply_id, one.position, one.emoji, one.burst] += 1
        on: dict[tuple[ReplyId, int], dict[tuple[str, bool], int]] = {}
        for (reply_id, position, emoji, burst), count in counts.items():
            on.setdefault((reply_id, position), {})[emoji, burst] = count
        found: list[PostedMessage] = []
        for row in self.places:
            place = place_slot(row.reply_id, row.position, row.member_id)
            body = _open(keys, row.place, row.member_id, place)
            if body is not None:
                channel_id, message_id, *guild = json.loads(body)
                own = on.get((row.reply_id, row.position), {})
                found.append(PostedMessage(channel_id, message_id, guild[0] if guild else None, own))
        return found


def _sealed(connection: Connection, reply_ids: Sequence[int]) -> _Sealed:
    found = _Sealed()
    place = select(messages, replies.c.member_id).select_from(messages.join(replies).join(members))
    state = select(feedback).select_from(feedback.join(members))
    for start in range(0, len(reply_ids), PAGE):
        page = reply_ids[start : start + PAGE]
        for rows, query, column in (
            (found.places, place, messages.c.reply_id),
            (found.states, state, feedback.c.reply_id),
        ):
            agreed: ColumnElement[bool] = members.c.standing == MemberStatus.AGREED
            rows.extend(connection.execute(query.where(column.in_(page), agreed)).all())
    return found


def _open(keys: Mapping[MemberId, SealingKey], sealed: bytes, owner: MemberId, place: Any) -> bytes | None:
    key = keys.get(owner)
    if key is None:
        return None
    try:
        return key.open(sealed, place)
    except SealBroken:
        return None
