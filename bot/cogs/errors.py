"""Error handler of the command tree: a plain message to the member, details in the log."""

from __future__ import annotations

import logging

from discord.ext import commands

from bot.cogs.ports import Registry
from bot.ui.errors import answer_error

log = logging.getLogger(__name__)


class Errors(commands.Cog):
    """Installs the handler on the command tree."""

    def __init__(self, bot: Registry) -> None:
        self._bot = bot

    async def cog_load(self) -> None:
        """Install the error handler on the command tree."""
        self._bot.tree.error(answer_error)


async def setup(bot: Registry) -> None:
    """Load the cog."""
    await bot.add_cog(Errors(bot))
