"""Converts Discord objects to :class:`~storage.records.Who`; the one place that identifies a member."""

from __future__ import annotations

from typing import Any

import discord

from storage.records import DIRECT_MESSAGES, Who


def is_direct(message: discord.Message) -> bool:
    """Return whether ``message`` is in a direct conversation with one person."""
    return isinstance(message.channel, discord.DMChannel)


def who_wrote(message: discord.Message) -> Who:
    """Return the member who wrote ``message``."""
    return Who(message.guild.id if message.guild else DIRECT_MESSAGES, message.author.id)


def who_clicked(interaction: discord.Interaction[Any]) -> Who:
    """Return the member who used a command or a button."""
    return Who(interaction.guild_id or DIRECT_MESSAGES, interaction.user.id)


def who_reacted(event: discord.RawReactionActionEvent) -> Who:
    """Return the member whose reaction was added or removed."""
    return Who(event.guild_id or DIRECT_MESSAGES, event.user_id)
