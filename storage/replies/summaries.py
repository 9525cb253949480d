"""Summaries for a member: one reply with their own feedback, and counts of all stored data."""

from __future__ import annotations

import json

from sqlalchemy import Connection, Table, func, select

from storage.database.schema import (
    MemberStatus,
    feedback,
    heads,
    members,
    messages,
    preferences,
    remarks,
    replies,
)
from storage.errors import UnknownReply
from storage.keys.key_store import KeyStore
from storage.members.learning_pause import is_paused
from storage.records import DataSummary, FeedbackSummary, HeadSummary, MemberId, ReplyId, ReplySummary, Who
from storage.replies.feedback import state_of
from storage.replies.impressions import place_slot, posted_text, require_own


def latest_reply(
    connection: Connection, keys: KeyStore, who: Who, channel_id: int | None
) -> ReplySummary | None:
    """Return the newest reply to this member, in one channel or anywhere in the server."""
    newest = select(replies.c.reply_id).where(replies.c.member_id == keys.pseudonyms.member(who))
    if channel_id is not None:
        newest = newest.where(replies.c.channel == keys.pseudonyms.channel(channel_id))
    reply_id = connection.execute(newest.order_by(replies.c.reply_id.desc()).limit(1)).scalar()
    return None if reply_id is None else reply_summary(connection, keys, who, reply_id)


def reply_summary(connection: Connection, keys: KeyStore, who: Who, reply_id: ReplyId) -> ReplySummary | None:
    """Return a reply to this member, with its text while it is kept and their feedback; None for others."""
    try:
        row = require_own(connection, keys, who, reply_id)
    except UnknownReply:
        return None
    state = state_of(connection, keys, keys.pseudonyms.member(who), reply_id)
    text, quotes = posted_text(keys, row)
    return ReplySummary(
        reply_id, row.created_at, text, reactions=state.emoji, rating=state.rating, quotes=quotes
    )


def channel_of(connection: Connection, keys: KeyStore, who: Who, reply_id: ReplyId) -> int | None:
    """Return the id of the channel of a reply to this member; None for others, and without a place."""
    member_id = keys.pseudonyms.member(who)
    own = messages.c.reply_id == reply_id, replies.c.member_id == member_id
    agreed = members.c.standing == MemberStatus.AGREED
    placed = select(messages).select_from(messages.join(replies).join(members)).where(*own, agreed)
    row = connection.execute(placed.order_by(messages.c.position).limit(1)).first()
    if row is None:
        return None
    opened = keys.key_of(member_id).open(row.place, place_slot(reply_id, row.position, member_id))
    return json.loads(opened)[0]


def feedback_summary(connection: Connection, keys: KeyStore, who: Who, newest: int) -> FeedbackSummary:
    """Return the member's own feedback in this server: counts, the latest, and the head learnt from it.

    Of the replies only those to the member are listed, so that no list tells whether somebody else agreed.
    """
    member_id = keys.pseudonyms.member(who)
    given = feedback.c.member_id == member_id
    to_them = select(feedback.c.reply_id).join(replies).where(given, replies.c.member_id == member_id)
    rows = connection.execute(to_them.order_by(feedback.c.changed_seq.desc()).limit(newest))
    found = [reply_summary(connection, keys, who, ReplyId(reply_id)) for reply_id in rows.scalars().all()]
    known = select(heads.c.n_labels, heads.c.trained_at, heads.c.rolled_back)
    head = connection.execute(known.where(heads.c.member_id == member_id)).first()
    return FeedbackSummary(
        n_replies=connection.execute(select(func.count()).select_from(feedback).where(given)).scalar_one(),
        latest=tuple(s for s in found if s is not None and (s.reactions or s.rating is not None)),
        head=None if head is None else HeadSummary(*head),
        n_preferences=_count(connection, preferences, member_id),
        latest_preference=connection.execute(
            select(func.max(preferences.c.preference_id)).where(preferences.c.member_id == member_id)
        ).scalar(),
        paused=is_paused(connection, member_id),
    )


def data_summary(connection: Connection, keys: KeyStore, who: Who) -> DataSummary:
    """Return counts of the data stored about this member in this server."""
    member_id = keys.pseudonyms.member(who)
    agreed = select(members.c.decided_at).where(
        members.c.member_id == member_id, members.c.standing == MemberStatus.AGREED
    )
    head = connection.execute(
        select(heads.c.version, heads.c.n_labels).where(heads.c.member_id == member_id)
    ).first()
    return DataSummary(
        agreed_at=connection.execute(agreed).scalar(),
        n_replies=_count(connection, replies, member_id),
        n_feedback=_count(connection, feedback, member_id),
        n_preferences=_count(connection, preferences, member_id),
        n_remarks=_count(connection, remarks, member_id),
        head_version=None if head is None else head.version,
        head_labels=0 if head is None else head.n_labels,
    )


def _count(connection: Connection, table: Table, member_id: MemberId) -> int:
    """Count the rows of a table that belong to this member."""
    own = select(func.count()).select_from(table).where(table.c.member_id == member_id)
    return connection.execute(own).scalar_one()
