"""``/admin pause`` and ``/admin resume``: the emergency stop, for the operator only.

The decision is stored in the database and read before a message is accepted and before a reply is posted. So
it applies in every server, in every process on the same database, and after restarts. Members' commands about
their own data keep working. The operator is checked at every use, regardless of what Discord shows.
"""

from __future__ import annotations

import logging
from typing import Protocol

import discord
from discord import app_commands
from discord.ext import commands

from bot.cogs.ports import HasOwner, Registry
from bot.languages import mark, tr
from bot.pausing import Pausing
from bot.ui.errors import OwnerOnly
from bot.ui.help_page import OWNER_ONLY

log = logging.getLogger(__name__)

PAUSED = mark(
    "I am paused now, in every server, until you use `/admin resume`. Members can still use"
    " their own commands."
)
RESUMED = mark("I answer again.")


class AdminHost(Registry, HasOwner, Protocol):
    """What the emergency stop needs of the client."""

    @property
    def pausing(self) -> Pausing:
        """The emergency stop."""
        ...


class Admin(
    commands.GroupCog,
    group_name="admin",
    group_description=mark("For the host of this bot."),
    group_extras={OWNER_ONLY: True},
):
    """The emergency stop."""

    def __init__(self, bot: AdminHost) -> None:
        self._bot = bot
        super().__init__()

    async def interaction_check(self, interaction: discord.Interaction, /) -> bool:
        """Allow only the application's owner or a member of its team.

        Raises:
            OwnerOnly: The member is neither.
        """
        if await self._bot.is_owner(interaction.user):
            return True
        raise OwnerOnly

    @app_commands.command(name="pause", description=mark("Pause me in all servers immediately."))
    async def pause(self, interaction: discord.Interaction) -> None:
        """Stop posting everywhere."""
        await self._set(interaction, paused=True)

    @app_commands.command(name="resume", description=mark("Let me answer again."))
    async def resume(self, interaction: discord.Interaction) -> None:
        """Answer again."""
        await self._set(interaction, paused=False)

    async def _set(self, interaction: discord.Interaction, *, paused: bool) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await self._bot.pausing.pause(paused)
        log.warning("the bot was %s by its owner", "paused" if paused else "resumed")
        await interaction.followup.send(tr(PAUSED if paused else RESUMED), ephemeral=True)


async def setup(bot: AdminHost) -> None:
    """Load the cog."""
    await bot.add_cog(Admin(bot))
