"""Replies whose features another encoder made: read their texts, while they are kept, and describe them anew.

After a change of encoder the labels of earlier replies say nothing, because their features are of another
kind. Where the bot's own text is still there (until the retention time), features can be made again; where it
has gone, the label stays and waits for the old encoder to come back. Reached as ``Store.outdated``.
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
    """Some outdated replies, by running number.

    Attributes:
        texts: The posted texts that could be opened.
        last: Where the next page starts; None when this was the last.
    """

    texts: Mapping[ReplyId, str]
    last: ReplyId | None


class OutdatedReplies:
    """Reads and mends them. Methods may raise what those of the store do."""

    def __init__(self, keys: KeyStore, reader: Reader, writer: Writer) -> None:
        self._keys, self._reader, self._writer = keys, reader, writer

    async def page(self, feature_id: str, after: ReplyId | None, limit: int) -> OutdatedPage:
        """Read the texts of replies whose features are of another kind and whose texts are still kept.

        Args:
            feature_id: The kind that is wanted.
            after: The ``last`` of the page before; None: from the start.
            limit: Most replies on the page.
        """
        return await self._reader.run(lambda c: _page(c, self._keys, feature_id, after or 0, limit))

    async def record(self, feature_id: str, features: Mapping[ReplyId, bytes]) -> int:
        """Replace the features of replies; who rated them is due for the next round.

        Replies that went meanwhile, or whose asker left, are passed over.

        Returns:
            How many were replaced.
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
    """The posted text; None where it does not open: one damaged row must not stop the others.

    None too for an answer from ``/faq``: a person's words, which teach nothing.
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
