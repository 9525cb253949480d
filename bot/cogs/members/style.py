"""``/style``: a member's wish for the style of replies here, by presets or in their own words.

Only the member sees the page. Its menu and buttons act on the wish of the member who clicks, and work after a
restart. The effect of a wish is defined in :mod:`bot.replies.style_wishes`. The page also offers the six taps
(:mod:`bot.ui.six_taps.panel`), by which members show their taste instead of describing it.
"""

from __future__ import annotations

import discord
from discord import app_commands
from discord.ext import commands

from bot.cogs.ports import Registry
from bot.languages import mark
from bot.replies.style_wishes import MOST_CHARACTERS, with_words
from bot.ui.six_taps.panel import OfferButton, TapButton
from bot.ui.style_panel import StyleButton, StyleMenu, change_wish, show_wish, wish_and_consent


class MemberStyle(commands.Cog):
    """Wishes."""

    def __init__(self, bot: Registry) -> None:
        self._bot = bot

    async def cog_load(self) -> None:
        """Register the persistent menu and buttons."""
        self._bot.add_dynamic_items(StyleMenu, StyleButton, OfferButton, TapButton)

    @app_commands.command(
        name="style", description=mark("Choose or describe how I should write to you here.")
    )
    @app_commands.describe(words=mark("in your own words; leave it out to see and choose"))
    async def style(
        self,
        interaction: discord.Interaction,
        words: app_commands.Range[str, 1, MOST_CHARACTERS] | None = None,
    ) -> None:
        """Show the member's wish, after adding new words to it."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        if words is None:
            await show_wish(interaction, *await wish_and_consent(interaction))
        else:
            await change_wish(interaction, lambda before: with_words(before, words))


async def setup(bot: Registry) -> None:
    """Load the cog."""
    await bot.add_cog(MemberStyle(bot))
