"""Who may decide for a server: those with the permission Manage Server, asked anew at every use.

Discord hides a command from others by its default permissions, which an administrator may change, and it
never checks a button or a form; so what is hidden is not what is safe.
"""

from __future__ import annotations

from typing import Any

import discord
from discord import app_commands

from bot.ui.errors import answer_error
from bot.ui.ports import Host


def is_manager(interaction: discord.Interaction[Any]) -> bool:
    """Whether whoever acts may manage the server they act in."""
    return interaction.guild_id is not None and interaction.permissions.manage_guild


def require_manager(interaction: discord.Interaction[Any]) -> None:
    """Let only managers of the server go on.

    Raises:
        MissingPermissions: Whoever acts may not manage it.
    """
    if not is_manager(interaction):
        raise app_commands.MissingPermissions(["manage_guild"])


class ManagersOnly:
    """What a cog is besides whose commands only managers may use, whatever Discord shows to others."""

    async def interaction_check(self, interaction: discord.Interaction[Any], /) -> bool:
        """Let only managers of the server go on.

        Raises:
            MissingPermissions: Whoever acts may not manage it.
        """
        require_manager(interaction)
        return True


class ManagerForm(discord.ui.Modal):
    """A form that only managers may send; a failure is answered like that of a command."""

    async def on_submit(self, interaction: discord.Interaction[Any], /) -> None:
        """Ask once more who sends it, then take it in."""
        host: Host = interaction.client
        host.tongues.hear(interaction)
        require_manager(interaction)
        await interaction.response.defer(ephemeral=True, thinking=True)
        await self.take(interaction)

    async def on_error(self, interaction: discord.Interaction[Any], error: Exception, /) -> None:
        """Say what went wrong."""
        await answer_error(interaction, error)

    async def take(self, interaction: discord.Interaction[Any]) -> None:
        """Take in what was written; the answer is deferred."""
        raise NotImplementedError
