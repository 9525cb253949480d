"""Discord objects -> :class:`~storage.records.Who`: the one place that says whom something is about."""

from __future__ import annotations

from typing import Any

import discord

from storage.records import DIRECT_MESSAGES, Who


def is_direct(message: discord.Message) -> bool:
    """Whether ``message`` stands in a direct conversation with one person."""
    return isinstance(message.channel, discord.DMChannel)


def who_wrote(message: discord.Message) -> Who:
    """The member of this server who wrote ``message``."""
    return Who(message.guild.id if message.guild else DIRECT_MESSAGES, message.author.id)


def who_clicked(interaction: discord.Interaction[Any]) -> Who:
    """The member of this server who used a command or a button."""
    return Who(interaction.guild_id or DIRECT_MESSAGES, interaction.user.id)


def who_reacted(event: discord.RawReactionActionEvent) -> Who:
    """The member of this server whose reaction came or went."""
    return Who(event.guild_id or DIRECT_MESSAGES, event.user_id)
