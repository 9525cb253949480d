"""Impressions: posted candidates with rivals and how they were chosen, sealed under the asker's key.

Each has three sealed parts. ``texts`` are deleted after the retention time; ``decision`` and ``features``
stay until the asker forgets. Holds no word that a member wrote.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from storage.database.change_numbers import next_number
from storage.database.deletion_clock import Reading, redate
from storage.database.schema import MemberStatus, members, messages, remarks, replies
from storage.errors import UnknownReply
from storage.keys.key_store import KeyStore
from storage.keys.sealing import Slot
from storage.members.consent import require_agreed
from storage.records import Impression, MemberId, Place, Reason, ReplyId, ReplyReason, Who
from storage.replies.coarse import coarse, place_of_posted


def slot(column: str, reply_id: ReplyId, asker: MemberId) -> Slot:
    """Return the place of a sealed part of a reply."""
    return Slot("replies", column, reply_id, asker)


def place_slot(reply_id: ReplyId, position: int, asker: MemberId) -> Slot:
    """Return the place of the sealed location of a message."""
    return Slot("messages", "place", f"{reply_id}:{position}", asker)


def record_impression(
    connection: Connection,
    keys: KeyStore,
    who: Who,
    place: Place,
    impression: Impression,
    at: datetime,
    under: bytes | None = None,
) -> ReplyId:
    """Store a posted reply and its messages, with the numbers of its choice coarsened.

    Raises:
        NoConsent: The asker did not agree, or agreed anew since ``under``.
        ValueError: ``place`` holds no message.
    """
    if not place.message_ids:
        raise ValueError("Expected a place with at least one message id, found none.")
    asker = keys.pseudonyms.member(who)
    require_agreed(connection, asker, under)
    key = keys.key_of(asker)
    reply_id = ReplyId(next_number(connection))
    decision = {
        "styles": impression.styles,
        "chosen": impression.chosen,
        "scores": impression.scores,
        "prior_scores": impression.prior_scores,
        "propensities": impression.propensities,
        "policy": impression.policy,
        "head_version": impression.head_version,
        "reason": None if impression.reason is None else asdict(impression.reason),
        "quotes": impression.quotes,
        "seat": None if impression.seat is None else asdict(impression.seat),
    }
    parts = {
        "features": impression.features,
        "decision": _json(coarse(decision)),
        "texts": _json(impression.candidates),
    }
    connection.execute(
        insert(replies).values(
            reply_id=reply_id,
            member_id=asker,
            channel=keys.pseudonyms.channel(place.channel_id),
            created_at=at,
            feature_id=impression.feature_id,
            **{column: key.seal(value, slot(column, reply_id, asker)) for column, value in parts.items()},
        )
    )
    _insert_messages(connection, keys, who, place, reply_id)
    return reply_id


def _insert_messages(
    connection: Connection, keys: KeyStore, who: Who, place: Place, reply_id: ReplyId
) -> None:
    asker = keys.pseudonyms.member(who)
    key = keys.key_of(asker)
    chunks = [
        {
            "message": keys.pseudonyms.message(message_id),
            "reply_id": reply_id,
            "position": position,
            # Stored, sealed, so that reactions missed while offline can be read back from Discord.
            "place": key.seal(
                _json([place.channel_id, message_id, who.guild_id]), place_slot(reply_id, position, asker)
            ),
        }
        for position, message_id in enumerate(place.message_ids)
    ]
    connection.execute(insert(messages), chunks)


def reply_of_message(connection: Connection, keys: KeyStore, message_id: int) -> ReplyId | None:
    """Return the reply that this message is a chunk of, or None."""
    chunk = select(messages.c.reply_id).where(messages.c.message == keys.pseudonyms.message(message_id))
    return connection.execute(chunk).scalar()


def require_visible(connection: Connection, keys: KeyStore, who: Who, reply_id: ReplyId) -> Row[Any]:
    """Return the row of a reply in this member's server.

    Raises:
        UnknownReply: The reply is not stored, or belongs to another server.
    """
    row = connection.execute(
        select(replies)
        .join(members)
        .where(
            replies.c.reply_id == reply_id,
            members.c.standing == MemberStatus.AGREED,
            members.c.guild == keys.pseudonyms.guild(who),
        )
    ).first()
    if row is None:
        raise UnknownReply
    return row


def require_own(connection: Connection, keys: KeyStore, who: Who, reply_id: ReplyId) -> Row[Any]:
    """Return the row of a reply to this member.

    Everything that is shown uses this. A reply to somebody else is treated like one that is not stored, so
    that nobody learns whether its asker agreed.

    Raises:
        UnknownReply: The reply is not stored, or answers another member.
    """
    row = connection.execute(
        select(replies)
        .join(members)
        .where(
            replies.c.reply_id == reply_id,
            replies.c.member_id == keys.pseudonyms.member(who),
            members.c.standing == MemberStatus.AGREED,
        )
    ).first()
    if row is None:
        raise UnknownReply
    return row


def reason_of(connection: Connection, keys: KeyStore, who: Who, reply_id: ReplyId) -> ReplyReason | None:
    """Return why a reply to this member was chosen; None for other members and unstored replies."""
    asker = keys.pseudonyms.member(who)
    row = connection.execute(
        select(replies).where(replies.c.reply_id == reply_id, replies.c.member_id == asker)
    ).first()
    if row is None:
        return None
    decision = coarse(json.loads(keys.key_of(asker).open(row.decision, slot("decision", reply_id, asker))))
    reason, chosen = decision.get("reason"), decision["chosen"]
    if reason is not None:
        reason["parts"] = tuple((str(name), *amounts) for name, *amounts in reason["parts"])
    return ReplyReason(
        reply_id=reply_id,
        created_at=row.created_at,
        n_candidates=len(decision["scores"]),
        style=decision["styles"][chosen],
        propensity=decision["propensities"][place_of_posted(decision)],
        head_version=decision["head_version"],
        reason=None if reason is None else Reason(**reason),
    )


def expire_texts(connection: Connection, reading: Reading, retention: timedelta) -> int:
    """Delete the texts of replies older than the retention time; return the number of replies.

    The members' own words in remarks expire at the same age.
    """
    redate(connection, reading, remarks, remarks.c.told_at, remarks.c.words.is_not(None))
    redate(connection, reading, replies, replies.c.created_at, replies.c.texts.is_not(None))
    before = reading.time - retention
    spoken = remarks.c.told_at < before, remarks.c.words.is_not(None)
    connection.execute(update(remarks).where(*spoken).values(words=None))
    old = (
        update(replies).where(replies.c.created_at < before, replies.c.texts.is_not(None)).values(texts=None)
    )
    return connection.execute(old).rowcount


def posted_text(keys: KeyStore, row: Row[Any]) -> tuple[str | None, bool]:
    """Return the posted text from a row of ``replies``, and whether it may repeat words of the member.

    The text is None after the retention time.
    """
    if row.texts is None:
        return None, True
    key = keys.key_of(row.member_id)
    texts, decision = (
        json.loads(key.open(sealed, slot(column, row.reply_id, row.member_id)))
        for column, sealed in (("texts", row.texts), ("decision", row.decision))
    )
    return texts[decision["chosen"]], decision.get("quotes", True)


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
