"""The newest messages of a simulated channel, at a cost that does not grow with its history.

``channel.history()`` and ``channel.last_message`` build a ``discord.Message`` of every message. In tests with
hundreds of messages that took half of the time.
"""

from __future__ import annotations

from collections.abc import Iterator

import discord
import simcord
from simcord.backend.models import Message
from simcord.results import to_discord_message


def _visible(channel: simcord.ChannelHandle) -> Iterator[Message]:
    messages = channel._env.backend.messages.get(channel.id, {})
    return (message for message in messages.values() if message.visible_to(None))


def newest(channel: simcord.ChannelHandle) -> discord.Message:
    """Return what ``channel.last_message`` returns."""
    return to_discord_message(channel._env, max(_visible(channel), key=lambda message: message.id))


def messages_after(channel: simcord.ChannelHandle, message_id: int) -> list[discord.Message]:
    """Return the messages of ``channel.history()`` that are newer than ``message_id``, oldest first."""
    newer = [message for message in _visible(channel) if message.id > message_id]
    return [to_discord_message(channel._env, message) for message in sorted(newer, key=lambda m: m.id)]
