"""Converts Discord objects to :class:`~storage.records.Who`; the one place that identifies a member."""

from __future__ import annotations

from typing import Any

import discord

from storage.records import DIRECT_MESSAGES, Arrival, Who

_CAME, _ASKER = "simpatico.came", "simpatico.asker"


def is_direct(message: discord.Message) -> bool:
    """Return whether ``message`` is in a direct conversation with one person."""
    return isinstance(message.channel, discord.DMChannel)


def who_wrote(message: discord.Message) -> Who:
    """Return the member who wrote ``message``."""
    return Who(message.guild.id if message.guild else DIRECT_MESSAGES, message.author.id)


def note_arrival(interaction: discord.Interaction[Any], came: Arrival, asker: Any) -> None:
    """Note on an interaction when it came; call it before any of its handlers runs.

    Args:
        interaction: A command, a button, a menu or a form.
        came: When it came.
        asker: The :class:`bot.replies.decision.Asker`, marked if they leave before it is carried out.
    """
    interaction.extras[_CAME], interaction.extras[_ASKER] = came, asker


def asker_of(interaction: discord.Interaction[Any]) -> Any:
    """Return what :func:`note_arrival` noted of the member."""
    return interaction.extras[_ASKER]


def who_clicked(interaction: discord.Interaction[Any]) -> Who:
    """Return the member who used a command, a button, a menu or a form, with the time at which it came."""
    guild_id = interaction.guild_id or DIRECT_MESSAGES
    return Who(guild_id, interaction.user.id, came=interaction.extras.get(_CAME))


def who_reacted(event: discord.RawReactionActionEvent) -> Who:
    """Return the member whose reaction was added or removed."""
    return Who(event.guild_id or DIRECT_MESSAGES, event.user_id)
