"""``/privacy``, ``/forget-me`` and the invitation under a reply: what is kept, and consent to it."""

from __future__ import annotations

from typing import Protocol

import discord
from discord import app_commands
from discord.ext import commands

from bot.cogs.ports import Registry
from bot.identity import who_clicked
from bot.languages import mark, tr
from bot.ui.ports import PrivacyHost
from bot.ui.privacy_panel import SURE_OF_ALL, ChoiceButton, choices, kept_in_words, show_privacy


class PrivacyCommandsHost(Registry, PrivacyHost, Protocol):
    """What these commands need of the client."""


class Privacy(commands.Cog):
    """Consent, summary and forgetting."""

    def __init__(self, bot: PrivacyCommandsHost) -> None:
        self._bot = bot

    async def cog_load(self) -> None:
        """Register the persistent buttons."""
        self._bot.add_dynamic_items(ChoiceButton)

    @app_commands.command(name="privacy", description=mark("See what I keep about you, and decide about it."))
    async def privacy(self, interaction: discord.Interaction) -> None:
        """Show what is kept about the member here; agree or withdraw."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        await show_privacy(self._bot, interaction)

    @app_commands.command(
        name="forget-me", description=mark("Delete everything I know about you, in every server.")
    )
    async def forget_me(self, interaction: discord.Interaction) -> None:
        """Ask once, then forget."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        who = who_clicked(interaction)
        summary = await self._bot.privacy.summary(who)
        await interaction.edit_original_response(
            content=f"{kept_in_words(summary)}\n{tr(SURE_OF_ALL)}",
            view=choices(interaction.user.id, "forget", "keep"),
        )


async def setup(bot: PrivacyCommandsHost) -> None:
    """Load the cog."""
    await bot.add_cog(Privacy(bot))
