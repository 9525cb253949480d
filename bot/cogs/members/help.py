"""``/help``: a page, visible to the member only, that leads to all commands."""

from __future__ import annotations

import logging
from typing import Protocol

import discord
from discord import app_commands
from discord.ext import commands

from bot.cogs.ports import HasOwner, HasStore, Registry
from bot.identity import who_clicked
from bot.languages import mark, tr
from bot.ui.help_page import commands_in, may_use, page_of
from bot.ui.privacy_panel import ChoiceButton
from bot.ui.six_taps.panel import OfferButton
from bot.ui.style_panel import StyleButton
from storage.records import Consent

log = logging.getLogger(__name__)

TITLE = mark("What you can do with me here")


class HelpHost(Registry, HasOwner, HasStore, Protocol):
    """What the help page needs of the client."""


class Help(commands.Cog):
    """The help page."""

    def __init__(self, bot: HelpHost) -> None:
        self._bot = bot
        self._ids: dict[str, int] = {}

    @app_commands.command(name="help", description=mark("What you can do with me here."))
    async def help(self, interaction: discord.Interaction) -> None:
        """Show the commands that this member may use here, and buttons to the pages about themselves."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        owner = await self._bot.is_owner(interaction.user)
        direct = interaction.guild_id is None
        shown = [
            command
            for command in commands_in(self._bot.tree)
            if may_use(command, permissions=interaction.permissions, direct=direct, owner=owner)
        ]
        who = who_clicked(interaction)
        view = discord.ui.View(timeout=None)
        agreed = await self._bot.store.consent.of(who) is Consent.AGREED
        if not agreed:
            view.add_item(ChoiceButton("agree", who.user_id))
        view.add_item(ChoiceButton("about", who.user_id))
        view.add_item(StyleButton("open"))
        if agreed:
            view.add_item(OfferButton())
        page = discord.Embed(title=tr(TITLE), description=page_of(shown, await self._command_ids()))
        await interaction.edit_original_response(embed=page, view=view)

    async def _command_ids(self) -> dict[str, int]:
        """Return the ids that make names clickable; requested once, empty when Discord fails."""
        if not self._ids:
            try:
                known = await self._bot.tree.fetch_commands()
            except discord.HTTPException as exc:
                log.warning("the ids of commands could not be fetched: Discord answered %s", exc.status)
            else:
                slash = discord.AppCommandType.chat_input
                self._ids = {command.name: command.id for command in known if command.type is slash}
        return self._ids


async def setup(bot: HelpHost) -> None:
    """Load the cog."""
    await bot.add_cog(Help(bot))
