"""``/feedback``, the menu "Rate this reply" and the stars: shows, records and undoes explicit ratings.

Reactions are not handled here but in :mod:`bot.reactions.inbox`, in the order in which Discord sent them.
"""

from __future__ import annotations

from typing import Protocol

import discord
from discord import app_commands
from discord.ext import commands

from bot.cogs.ports import HasUser, Registry
from bot.identity import who_clicked
from bot.languages import mark, tr
from bot.messages.conversation import is_note
from bot.ui.components import agreed
from bot.ui.feedback_panel import (
    OffersMenu,
    PauseButton,
    RateButton,
    UndoMenu,
    UnpickButton,
    rate_own,
    show_any_reply,
    show_panel,
)
from bot.ui.feedback_text import NO_REPLY
from bot.ui.ports import FeedbackHost
from bot.ui.remark_form import ForgetRemarkButton, RemarkButton
from bot.ui.start_over import StartOverButton
from storage.records import NOWHERE


class FeedbackCommandsHost(Registry, HasUser, FeedbackHost, Protocol):
    """What these commands need of the client."""


class Feedback(commands.Cog):
    """Ratings."""

    def __init__(self, bot: FeedbackCommandsHost) -> None:
        self._bot = bot
        self._menu = app_commands.ContextMenu(name=mark("Rate this reply"), callback=self.rate_this)

    async def cog_load(self) -> None:
        """Register the message menu and the persistent buttons."""
        self._bot.tree.add_command(self._menu)
        self._bot.add_dynamic_items(
            RateButton,
            UndoMenu,
            StartOverButton,
            PauseButton,
            OffersMenu,
            UnpickButton,
            RemarkButton,
            ForgetRemarkButton,
        )

    async def cog_unload(self) -> None:
        """Remove the message menu."""
        self._bot.tree.remove_command(self._menu.name, type=self._menu.type)

    @app_commands.command(
        name="feedback", description=mark("Rate my last reply to you, and see what I recorded.")
    )
    @app_commands.describe(rating=mark("1 is bad, 5 is great; leave it out to see and choose"))
    async def feedback(
        self, interaction: discord.Interaction, rating: app_commands.Range[int, 1, 5] | None = None
    ) -> None:
        """Rate the last reply, or show what is recorded for it and what was learnt, also without a reply."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        who = await agreed(self._bot, interaction, who_clicked(interaction))
        if who is None:
            return
        latest = await self._bot.store.replies.latest(who, interaction.channel_id)
        if latest is None or rating is None:
            await show_panel(self._bot, interaction, who, NOWHERE if latest is None else latest.reply_id)
        else:
            await rate_own(self._bot, interaction, who, latest.reply_id, rating)

    async def rate_this(self, interaction: discord.Interaction, message: discord.Message) -> None:
        """Rate the reply that the message menu was opened on."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        who = await agreed(self._bot, interaction, who_clicked(interaction))
        if who is None:
            return
        if message.author.id != self._bot.me or is_note(message):
            await interaction.followup.send(tr(NO_REPLY), ephemeral=True)
            return
        await show_any_reply(self._bot, interaction, who, message.id)


async def setup(bot: FeedbackCommandsHost) -> None:
    """Load the cog."""
    await bot.add_cog(Feedback(bot))
