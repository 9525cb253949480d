"""Restricts commands, buttons and forms to members with the permission Manage Server, checked at every use.

Discord hides a command from others by its default permissions, which an administrator may change, and it
never checks a button or a form. So hiding alone is not safe.
"""

from __future__ import annotations

from typing import Any

import discord
from discord import app_commands

from bot.ui.errors import answer_error
from bot.ui.ports import Host


def is_manager(interaction: discord.Interaction[Any]) -> bool:
    """Return whether the member may manage the server of this interaction."""
    return interaction.guild_id is not None and interaction.permissions.manage_guild


def require_manager(interaction: discord.Interaction[Any]) -> None:
    """Allow only managers of the server.

    Raises:
        MissingPermissions: The member may not manage the server.
    """
    if not is_manager(interaction):
        raise app_commands.MissingPermissions(["manage_guild"])


class ManagersOnly:
    """Mixin for cogs whose commands are restricted to server managers."""

    async def interaction_check(self, interaction: discord.Interaction[Any], /) -> bool:
        """Allow only managers of the server.

        Raises:
            MissingPermissions: The member may not manage the server.
        """
        require_manager(interaction)
        return True


class ManagerForm(discord.ui.Modal):
    """A form that only managers may submit; an error is answered like that of a command."""

    async def on_submit(self, interaction: discord.Interaction[Any], /) -> None:
        """Check the permission again, then process the form."""
        host: Host = interaction.client
        host.tongues.hear(interaction)
        require_manager(interaction)
        await interaction.response.defer(ephemeral=True, thinking=True)
        await self.take(interaction)

    async def on_error(self, interaction: discord.Interaction[Any], error: Exception, /) -> None:
        """Show the error to the manager."""
        await answer_error(interaction, error)

    async def take(self, interaction: discord.Interaction[Any]) -> None:
        """Process the values of the form; the response is deferred."""
        raise NotImplementedError
