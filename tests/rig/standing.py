"""Reads a member's stored reactions, in the types of :mod:`tests.rig.schedules`."""

from __future__ import annotations

from sqlalchemy import select

from bot.reactions.gateway import key_of
from personalization.labels.labels import emoji_key
from storage.database import schema
from storage.records import Who
from storage.replies.feedback import FeedbackState, slot
from storage.store import Store
from tests.rig.schedules import Truth, emoji_payload

Standing = dict[int, set[tuple[str, bool]]]
"""Message -> its (emoji, burst) reactions."""


def stored_key(emoji: str) -> str:
    """Convert an emoji of a schedule to its stored form."""
    payload = emoji_payload(emoji)
    return key_of(emoji) if payload["id"] is None else emoji_key(None, int(payload["id"]))


def reactions_of(truth: Truth, user_id: int) -> Standing:
    """Return the reactions of a member that should be stored."""
    return {
        message: {(stored_key(emoji), burst) for emoji, burst in given}
        for message, given in truth.by(user_id).items()
    }


async def stored_by(world, member) -> Standing:
    """Read a member's stored reactions on the messages of the world's channel."""
    ids = [message.id for message in world.channel.history()]
    return await standing_in(world.house.store, Who(world.guild.id, member.id), ids)


async def standing_in(store: Store, who: Who, message_ids: list[int]) -> Standing:
    """Read a member's stored reactions; the id of a message not in ``message_ids`` is minus its reply id."""
    names = {store._keys.pseudonyms.message(id_): id_ for id_ in message_ids}
    member = store.member_id(who)

    def read(connection) -> Standing:
        chunks = {
            (row.reply_id, row.position): names.get(row.message, -row.reply_id)
            for row in connection.execute(select(schema.messages))
        }
        found: Standing = {}
        rows = connection.execute(select(schema.feedback).where(schema.feedback.c.member_id == member))
        for row in rows:
            body = store._keys.key_of(member).open(row.state, slot(member, row.reply_id, row.changed_seq))
            for reaction in FeedbackState.from_bytes(body).reactions:
                message = chunks[row.reply_id, reaction.position]
                found.setdefault(message, set()).add((reaction.emoji, reaction.burst))
        return found

    return await store._reader.run(read)
