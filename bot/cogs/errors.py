"""One handler for every failed command and button: words a person understands, details in the log."""

from __future__ import annotations

import logging

import discord
from discord import app_commands
from discord.ext import commands

from bot.client import SimpaticoBot
from storage.errors import NoConsent, StorageError, UnknownEntry, UnknownReply

log = logging.getLogger(__name__)

UNEXPECTED = (
    "Something went wrong on my side; nothing of yours was lost. The host finds the details in the log."
)


def in_words(error: BaseException) -> str:
    """Say what went wrong and what to do, without jargon."""
    cause = getattr(error, "original", error)
    match cause:
        case NoConsent():
            return "I do not learn from you here, so nothing was recorded. `/privacy` shows how it works."
        case UnknownReply():
            return "I no longer have that reply, so it cannot be rated."
        case UnknownEntry():
            return "That entry is gone. `/faq list` shows what there is."
        case StorageError():
            return (
                "My memory does not answer right now, so nothing was recorded. Please try again in a minute."
            )
        case app_commands.MissingPermissions():
            return "You may not use this command here."
        case app_commands.CommandOnCooldown():
            return f"Please wait {cause.retry_after:.0f} seconds before you use this again."
        case discord.Forbidden():
            return "Discord does not let me do that here; a permission is missing."
        case _:
            return UNEXPECTED


async def answer_error(interaction: discord.Interaction, error: BaseException) -> None:
    """Tell the member what went wrong; log class and traceback, never what was said."""
    words = in_words(error)
    cause = getattr(error, "original", error)
    if words == UNEXPECTED:
        log.error("a command failed: %s", type(cause).__name__, exc_info=cause)
    else:
        log.warning("a command was answered with an error: %s", type(cause).__name__)
    try:
        if interaction.response.is_done():
            await interaction.followup.send(words, ephemeral=True)
        else:
            await interaction.response.send_message(words, ephemeral=True)
    except discord.HTTPException as exc:
        log.warning("an error could not be told: Discord answered %s (code %s)", exc.status, exc.code)


class Errors(commands.Cog):
    """Installs the handler on the command tree."""

    def __init__(self, bot: SimpaticoBot) -> None:
        self._bot = bot

    async def cog_load(self) -> None:
        """Take over the tree's errors."""
        self._bot.tree.error(answer_error)


async def setup(bot: SimpaticoBot) -> None:
    """Load the cog."""
    await bot.add_cog(Errors(bot))
