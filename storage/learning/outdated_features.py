"""Replies whose features come from another encoder: reads their texts while kept, and replaces the features.

After a change of encoder, labels of earlier replies are useless, because their features are of another kind.
While the bot's own text is kept (until the retention time), new features can be computed from it. After that,
the label stays and is used again if the old encoder returns. Reached as ``Store.outdated``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select, update

from storage.database.backend import Reader
from storage.database.change_numbers import mark_due
from storage.database.schema import MemberStatus, members, replies
from storage.database.writer import Writer
from storage.errors import SealBroken
from storage.keys.key_store import KeyStore
from storage.keys.sealing import SealingKey
from storage.records import FAQ_STYLE, MemberId, ReplyId
from storage.replies.feedback import members_with_feedback_on
from storage.replies.impressions import slot


@dataclass(frozen=True, slots=True)
class OutdatedPage:
    """One page of outdated replies, by sequence number.

    Attributes:
        texts: Posted texts that could be opened.
        last: Start of the next page; None after the last page.
    """

    texts: Mapping[ReplyId, str]
    last: ReplyId | None


class OutdatedReplies:
    """Reads and updates outdated replies. Methods may raise the errors of :class:`storage.store.Store`."""

    def __init__(self, keys: KeyStore, reader: Reader, writer: Writer) -> None:
        self._keys, self._reader, self._writer = keys, reader, writer

    async def page(self, feature_id: str, after: ReplyId | None, limit: int) -> OutdatedPage:
        """Return the kept texts of replies whose features are of another kind.

        Args:
            feature_id: The kind of features in use.
            after: The ``last`` of the page before; None for the first page.
            limit: Maximum number of replies on the page.
        """
        return await self._reader.run(lambda c: _page(c, self._keys, feature_id, after or 0, limit))

    async def record(self, feature_id: str, features: Mapping[ReplyId, bytes]) -> int:
        """Replace the features of replies; members with feedback on them become due for the next round.

        Replies that were deleted meanwhile, or whose asker was erased, are skipped.

        Returns:
            The number of replaced replies.
        """
        return await self._writer.submit(lambda c: _record(c, self._keys, feature_id, features))


def _page(connection: Connection, keys: KeyStore, feature_id: str, after: int, limit: int) -> OutdatedPage:
    wanted = (
        select(replies)
        .join(members)
        .where(members.c.standing == MemberStatus.AGREED, replies.c.reply_id > after)
        .where(replies.c.feature_id != feature_id, replies.c.texts.is_not(None))
        .order_by(replies.c.reply_id)
        .limit(limit)
    )
    rows = connection.execute(wanted).all()
    found = keys.usable_keys_of({MemberId(row.member_id) for row in rows})
    texts = {ReplyId(row.reply_id): _text(row, found.get(row.member_id)) for row in rows}
    return OutdatedPage(
        {reply_id: text for reply_id, text in texts.items() if text is not None},
        ReplyId(rows[-1].reply_id) if len(rows) == limit else None,
    )


def _text(row: Row[Any], key: SealingKey | None) -> str | None:
    """Return the posted text; None if it cannot be opened: one damaged row must not block the others.

    None too for an answer from ``/faq``: a person wrote it, and nothing learns from it.
    """
    if key is None:
        return None
    try:
        texts, decision = (
            json.loads(key.open(sealed, slot(column, row.reply_id, row.member_id)))
            for column, sealed in (("texts", row.texts), ("decision", row.decision))
        )
    except SealBroken:
        return None
    chosen = decision["chosen"]
    return None if decision["styles"][chosen] == FAQ_STYLE else str(texts[chosen])


def _record(
    connection: Connection, keys: KeyStore, feature_id: str, features: Mapping[ReplyId, bytes]
) -> int:
    askers = (
        select(replies.c.reply_id, replies.c.member_id)
        .join(members)
        .where(members.c.standing == MemberStatus.AGREED, replies.c.reply_id.in_(list(features)))
    )
    rows = connection.execute(askers).all()
    found = keys.usable_keys_of({MemberId(row.member_id) for row in rows})
    due: set[MemberId] = set()
    count = 0
    for row in rows:
        key = found.get(row.member_id)
        if key is None:
            continue
        sealed = key.seal(features[row.reply_id], slot("features", row.reply_id, row.member_id))
        connection.execute(
            update(replies)
            .where(replies.c.reply_id == row.reply_id)
            .values(feature_id=feature_id, features=sealed)
        )
        due |= members_with_feedback_on(connection, row.reply_id)
        count += 1
    mark_due(connection, due)
    return count
