"""What is asked before an answer is made: may this person talk here, is their day used up, what led to it.

Shared by everything that makes the bot answer: messages, another answer, comparisons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import discord

from bot.client import SimpaticoBot
from bot.generation import Context
from bot.identity import who_wrote
from bot.languages import tr
from bot.messages.attachments import Attached, read_attached
from bot.messages.conversation import (
    MESSAGES_USED_UP,
    SERVER_MESSAGES_USED_UP,
    SERVER_TOKENS_USED_UP,
    TOKENS_USED_UP,
    context_of,
)
from bot.servers.access import may_talk, roles_of, speaker_of
from bot.servers.daily_limits import Standing
from bot.servers.server_settings import GuildView
from storage.records import Who


def may_talk_to(bot: SimpaticoBot, message: discord.Message, view: GuildView) -> bool:
    """Whether the bot listens to who wrote a message, and there."""
    speaker = speaker_of(message, bot.servers.name_of(who_wrote(message)))
    return all(may_talk(speaker, allow, deny) for allow, deny in view.access)


def used_up(
    bot: SimpaticoBot, who: Who, author: discord.User | discord.Member, view: GuildView
) -> str | None:
    """What to say when the day of a member, or of their server, is used up; None when it is not."""
    own = bot.limits.of_member(who, view.limits, roles_of(author))
    everybody = bot.limits.of_server(who, view.limits)
    if own.used_up:
        return _note_of(own, MESSAGES_USED_UP, TOKENS_USED_UP)
    if everybody.used_up:
        return _note_of(everybody, SERVER_MESSAGES_USED_UP, SERVER_TOKENS_USED_UP)
    return None


async def context_for(bot: SimpaticoBot, messages: Sequence[discord.Message]) -> tuple[Context, Attached]:
    """Read back what led to messages that are answered together, and what is attached to them.

    Args:
        bot: Whose settings hold.
        messages: One or more of one author, oldest first.
    """
    first, *more = messages
    settings, view = bot.settings, await bot.servers.of(who_wrote(first).guild_id)
    files = [one for message in messages for one in message.attachments]
    attached = await read_attached(files, vision=bot.reads_pictures)
    context = await context_of(
        first,
        attached,
        me=bot.me,
        chat_channels=bot.chat_channels_in(view),
        n_turns=settings.history_messages,
        minutes=settings.history_minutes,
        heard=lambda message: may_talk_to(bot, message, view),
        more=more,
    )
    return replace(context, persona=view.persona, model=view.model), attached


def _note_of(standing: Standing, messages: str, tokens: str) -> str:
    """Say that a day is used up, and when it comes back."""
    assert standing.back_at is not None, "a day that has not begun is not used up"
    when = discord.utils.format_dt(standing.back_at, "R")
    if standing.messages == 0:
        return tr(messages, limit=standing.limit.messages, when=when)
    return tr(tokens, limit=standing.limit.tokens, when=when)
