"""Converts discord.py's raw events to :data:`storage.records.DiscordEvent`; the one place that reads them.

Discord sends ``message_author_id`` only with some additions and never with a removal, and ``member`` only
with an addition. So the store decides whether a message is the bot's, and only bots are recognised here.
Reactions of bots and webhooks, and the bot's own seeded reactions, never become events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import discord

from bot.identity import who_reacted
from personalization.labels.labels import emoji_key
from storage.records import Cleared, Deleted, DiscordEvent, Reacted

LONGEST_EMOJI = 64
"""Characters; the longest Unicode emoji, a regional flag made of tags, has 14."""


def events_of(name: str, raw: Any, *, me: int) -> list[DiscordEvent]:
    """Convert one dispatched event, keeping the order.

    Args:
        name: discord.py's name of the event, one of :data:`INBOX_EVENTS`.
        raw: Its payload.
        me: The bot's own user id.
    """
    return [event for event in INBOX_EVENTS[name](raw, me) if _is_sound(event)]


def key_of(emoji: discord.PartialEmoji | discord.Emoji | str) -> str:
    """Return the key under which an emoji is stored: the id of a custom emoji, whose name may change."""
    return emoji_key(emoji, None) if isinstance(emoji, str) else emoji_key(emoji.name, emoji.id)


def _is_sound(event: DiscordEvent) -> bool:
    """Return whether ids and emoji are valid; an invalid one would only fail later and break its batch."""
    ids = [event.channel_id, event.message_id]
    emoji = ":"
    if isinstance(event, Reacted):
        ids += [event.who.guild_id, event.who.user_id]
        emoji = event.emoji
    elif isinstance(event, Cleared) and event.emoji is not None:
        emoji = event.emoji
    return all(0 <= one < 2**64 for one in ids) and _is_emoji(emoji)


def _is_emoji(text: str) -> bool:
    return 0 < len(text) <= LONGEST_EMOJI and not any("\ud800" <= char <= "\udfff" for char in text)


def _reacted(raw: discord.RawReactionActionEvent, me: int, added: bool) -> list[DiscordEvent]:
    if raw.user_id == me or (raw.member is not None and raw.member.bot):
        return []
    emoji, who = key_of(raw.emoji), who_reacted(raw)
    return [Reacted(raw.channel_id, raw.message_id, who, emoji, bool(raw.burst), added)]


def _deleted(raw: discord.RawBulkMessageDeleteEvent) -> list[DiscordEvent]:
    return [Deleted(raw.channel_id, message_id) for message_id in sorted(raw.message_ids)]


INBOX_EVENTS: dict[str, Callable[[Any, int], list[DiscordEvent]]] = {
    "raw_reaction_add": lambda raw, me: _reacted(raw, me, True),
    "raw_reaction_remove": lambda raw, me: _reacted(raw, me, False),
    "raw_reaction_clear": lambda raw, _: [Cleared(raw.channel_id, raw.message_id)],
    "raw_reaction_clear_emoji": lambda raw, _: [Cleared(raw.channel_id, raw.message_id, key_of(raw.emoji))],
    "raw_message_delete": lambda raw, _: [Deleted(raw.channel_id, raw.message_id)],
    "raw_bulk_message_delete": lambda raw, _: _deleted(raw),
}
"""Converters of the events that go through the inbox, by discord.py's name."""
