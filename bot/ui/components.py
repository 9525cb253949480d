"""Base classes of buttons and menus that work after a restart: their state is in their custom id."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, ClassVar

import discord

from bot.identity import who_clicked
from bot.languages import mark, tr
from bot.ui.errors import answer_error, tell
from bot.ui.ports import FeedbackHost, HelpHost, Host
from storage.errors import LearningPaused, UnknownReply
from storage.records import NOWHERE, ReplyId, Who

NOT_AGREED = mark(
    "I do not learn from you yet, so nothing was recorded. `/privacy` shows how it works and lets you agree."
)
ABOUT = r"(?P<about>m\d{1,19}|\d{1,18})"
"""Part of a custom id that names a reply: the id of a stored reply to the member, or ``m`` and a message id.

Only the second form is shown for replies to others. Whether such a reply is stored tells whether its asker
agreed, so neither the id nor the answer depends on it.
"""


async def has_helped(interaction: discord.Interaction[Any], words: str) -> bool:
    """Show help for own words that speak of self-harm or danger, and return whether they do.

    Args:
        interaction: The deferred interaction of a form.
        words: What the member wrote into the form.
    """
    host: HelpHost = interaction.client
    found = host.responder.help.found_in(words)
    if found is not None:
        await tell(interaction, host.responder.help.answer_to(found))
    return found is not None


class PersistentButton(discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"simpatico:abstract"):
    """Base class of all buttons; answers errors, which discord.py would only log for a dynamic item."""

    TALKS: ClassVar[bool] = False
    """Whether a press makes the bot talk; it is then declined where the bot may not talk."""

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Carry out the press; a failure is answered like that of a command."""
        host: Host = interaction.client
        host.tongues.hear(interaction)
        try:
            if not self.TALKS or await host.may_use(interaction):
                await self.press(interaction)
        except Exception as exc:  # boundary: the same as the command tree's error handler
            await answer_error(interaction, exc)

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        """Carry out the press; overridden by each button."""
        raise NotImplementedError


class PersistentSelect(discord.ui.DynamicItem[discord.ui.Select[Any]], template=r"simpatico:abstract-menu"):
    """Base class of all menus with one chosen value."""

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Carry out the choice; a failure is answered like that of a command."""
        host: Host = interaction.client
        host.tongues.hear(interaction)
        try:
            await self.choose(interaction, next(iter(self.item.values), ""))
        except Exception as exc:  # boundary: the same as the command tree's error handler
            await answer_error(interaction, exc)

    async def choose(self, interaction: discord.Interaction[Any], value: str) -> None:
        """Carry out the choice of ``value``; overridden by each menu."""
        raise NotImplementedError


def about(match: re.Match[str]) -> ReplyId | str:
    """Return the reply that a custom id with :data:`ABOUT` names."""
    found = match["about"]
    return found if found.startswith("m") else ReplyId(int(found))


async def record_quietly(
    bot: FeedbackHost, message: str, record: Callable[[ReplyId], Awaitable[object]]
) -> None:
    """Record an act on a reply by its message, if the reply is stored; call it after the answer.

    Args:
        bot: The bot.
        message: ``m`` and the id of a message of the reply.
        record: Stores the act; nothing is said if it raises ``UnknownReply`` or ``LearningPaused``.
    """
    reply_id = await bot.store.replies.of_message(int(message[1:]))
    with suppress(UnknownReply, LearningPaused):
        await record(NOWHERE if reply_id is None else reply_id)


async def clicked_by_who_agreed(interaction: discord.Interaction[Any]) -> tuple[FeedbackHost, Who] | None:
    """Defer the response to a click; if the member did not agree, send a note and return None."""
    await interaction.response.defer(ephemeral=True)
    bot: FeedbackHost = interaction.client
    who = who_clicked(interaction)
    bound = await agreed(bot, interaction, who)
    return None if bound is None else (bot, bound)


async def agreed(bot: FeedbackHost, interaction: discord.Interaction[Any], who: Who) -> Who | None:
    """Return the member, bound to their consent; without consent, send a note on how to agree."""
    bound = await bot.store.consent.bound(who)
    if bound is None:
        await interaction.followup.send(tr(NOT_AGREED), ephemeral=True)
    return bound
