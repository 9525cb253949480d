"""Readers of a channel: whether what was posted in one channel may be shown in another one.

The bot's own words may hold private matter. So they cross channels only where everyone in the server can read
both of them, as the permissions are now. The cogs of ``bot.cogs.chat`` put the rule into a prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import discord

_PUBLIC_THREADS = (discord.ChannelType.public_thread, discord.ChannelType.news_thread)


def may_show_in(channel: Any) -> Callable[[int], bool]:
    """Return the function that tells, by its id, whether texts of another channel may be shown in this one.

    Those of the same channel or thread may. Channels that are deleted or unknown are treated as private.

    Args:
        channel: A channel or thread of a server, or a direct conversation.
    """

    def may_show(channel_id: int) -> bool:
        if channel is None or channel.id == channel_id:
            return channel is not None
        guild = getattr(channel, "guild", None)
        other = None if guild is None else guild.get_channel_or_thread(channel_id)
        return is_open(channel) and is_open(other)

    return may_show


def is_open(channel: Any) -> bool:
    """Return whether everyone in the server can read a channel and its past messages, whatever their roles.

    A channel with an age limit is not open, nor is one that excludes any role or member.
    """
    if isinstance(channel, discord.Thread):
        return channel.type in _PUBLIC_THREADS and is_open(channel.parent)
    if not isinstance(channel, discord.abc.GuildChannel) or getattr(channel, "nsfw", False):
        return False
    needed = ["view_channel", "read_message_history"]
    if isinstance(channel, discord.VoiceChannel | discord.StageChannel):  # the chat of a voice channel
        needed.append("connect")
    everyone, rules = channel.permissions_for(channel.guild.default_role), channel.overwrites.values()
    allowed = all(getattr(everyone, right) for right in needed)
    return allowed and not any(getattr(rule, right) is False for rule in rules for right in needed)
