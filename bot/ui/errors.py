"""Turns an exception into a message for the member, and logs its details.

Used by the command tree's error handler and by buttons.
"""

from __future__ import annotations

import logging

import discord
from discord import app_commands

from bot.languages import mark, tr
from storage.errors import NoConsent, StorageError, UnknownReply

log = logging.getLogger(__name__)


UNEXPECTED = mark(
    "Something went wrong on my side, but nothing of yours was lost. Please try again. The host of"
    " this bot can find the details in the log."
)


EXPIRED = (10015, 10062, 50027)
"""Error codes of Discord for an interaction that is over, 15 minutes after it came."""

OWNER_ONLY = mark("Only the host of this bot can do that.")


class OwnerOnly(app_commands.CheckFailure):
    """The command is for the owner of the application or a member of its team."""


def in_words(error: BaseException) -> str:
    """Return a message for the member: what went wrong and what to do."""
    cause = getattr(error, "original", error)
    match cause:
        case NoConsent():
            return tr("I do not learn from you here, so nothing was recorded. `/privacy` shows how it works.")
        case UnknownReply():
            return tr("I no longer have that reply, so it cannot be rated.")
        case StorageError():
            return tr(
                "My database is not responding right now, so nothing was saved. Please try again in a minute."
            )
        case OwnerOnly():
            return tr(OWNER_ONLY)
        case app_commands.CommandOnCooldown():
            return tr("Please wait {seconds:.0f} s before you use this again.", seconds=cause.retry_after)
        case app_commands.CheckFailure():
            return tr("You may not use this command here.")
        case discord.Forbidden():
            return tr(
                "I could not do that, because I am missing a permission here. A manager of this"
                " server can give it to me."
            )
        case _:
            return tr(UNEXPECTED)


async def answer_error(interaction: discord.Interaction, error: BaseException) -> None:
    """Show the error to the member; log class and traceback, never message text."""
    words = in_words(error)
    cause = getattr(error, "original", error)
    if is_expired(cause):
        log.info("an answer came too late to be shown")
        return
    if isinstance(cause, app_commands.CheckFailure):  # a refusal, not a failure
        log.info("a command was refused: %s", type(cause).__name__)
    elif words == tr(UNEXPECTED):
        log.error("a command failed: %s", type(cause).__name__, exc_info=cause)
    else:
        log.warning("a command was answered with an error: %s", type(cause).__name__)
    await tell(interaction, words)


async def tell(interaction: discord.Interaction, words: str) -> None:
    """Show words to the member who used a command or a button; an expired interaction is no error."""
    try:
        if interaction.response.is_done():
            await interaction.followup.send(words, ephemeral=True)
        else:
            await interaction.response.send_message(words, ephemeral=True)
    except discord.HTTPException as exc:
        level = logging.INFO if is_expired(exc) else logging.WARNING
        log.log(level, "a text could not be shown: Discord answered %s (code %s)", exc.status, exc.code)


def is_expired(error: BaseException) -> bool:
    """Return whether Discord refused because the interaction is over."""
    return isinstance(error, discord.HTTPException) and error.code in EXPIRED
