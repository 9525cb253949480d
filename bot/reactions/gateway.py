"""discord.py's raw events -> :data:`storage.records.DiscordEvent`: the one place that reads their fields.

``message_author_id`` is optional on an add and absent on a removal, and ``member`` comes only with an add; so
who wrote the message is the store's to know, and nobody but a bot is told apart here. Reactions of bots and
webhooks never become events; the bot's own seeded ones neither.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import discord

from bot.identity import who_reacted
from personalization.labels.labels import emoji_key
from storage.records import Cleared, Deleted, DiscordEvent, Reacted

LONGEST_EMOJI = 64
"""Characters; the longest there is, a flag of a region in tags, has 14."""


def events_of(name: str, raw: Any, *, me: int) -> list[DiscordEvent]:
    """What a dispatched event says, in order.

    Args:
        name: As discord.py dispatches it, one of :data:`INBOX_EVENTS`.
        raw: Its payload.
        me: The bot's own user id.
    """
    return [event for event in INBOX_EVENTS[name](raw, me) if _is_sound(event)]


def key_of(emoji: discord.PartialEmoji | discord.Emoji | str) -> str:
    """How an emoji is kept: custom ones by id, because their names change."""
    return emoji_key(emoji, None) if isinstance(emoji, str) else emoji_key(emoji.name, emoji.id)


def _is_sound(event: DiscordEvent) -> bool:
    """Whether ids and emoji are such as Discord gives; what is not would only fail later, in a batch."""
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
"""The events that go through the inbox, by the name discord.py gives them."""
