"""``/privacy``, ``/forget-me`` and the invitation under a reply: what is kept, and consent to it."""

from __future__ import annotations

from typing import Protocol

import discord
from discord import app_commands
from discord.ext import commands

from bot.cogs.ports import Registry
from bot.identity import who_clicked
from bot.languages import Tongues, mark, speaking, tr
from bot.messages.conversation import NOT_COUNTED
from bot.messages.posting import say
from bot.pausing import Pausing
from bot.ui.ports import PrivacyHost
from bot.ui.privacy_panel import (
    SURE_OF_ALL,
    ChoiceButton,
    choices,
    invitation_view,
    kept_in_words,
    show_privacy,
)
from storage.records import Consent, Reacted


class PrivacyCommandsHost(Registry, PrivacyHost, Protocol):
    """What these commands need of the client."""

    @property
    def pausing(self) -> Pausing:
        """The emergency stop."""
        ...

    @property
    def tongues(self) -> Tongues:
        """Languages of members."""
        ...

    def get_guild(self, id: int, /) -> discord.Guild | None:
        """Return a server that the bot is in."""
        ...

    def get_partial_messageable(self, id: int, /) -> discord.PartialMessageable:
        """Return a channel to write to."""
        ...


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

    @commands.Cog.listener()
    async def on_early_reaction(self, reacted: Reacted) -> None:
        """Explain once to an undecided member why their reaction does not count, and invite them.

        The client dispatches it, with the rules of :class:`bot.replies.consent.Unanswered`.
        """
        who, bot = reacted.who, self._bot
        undecided = await bot.privacy.consent_of(who) is Consent.UNKNOWN
        if not undecided or await bot.pausing.is_paused():
            return
        with speaking(bot.tongues.of_member(who.user_id, bot.get_guild(who.guild_id))):
            place = bot.get_partial_messageable(reacted.channel_id).get_partial_message(reacted.message_id)
            await say(place, tr(NOT_COUNTED), view=invitation_view(who.user_id))


async def setup(bot: PrivacyCommandsHost) -> None:
    """Load the cog."""
    await bot.add_cog(Privacy(bot))
