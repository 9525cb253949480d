"""Shared steps of every command that makes the bot answer: daily limits, queue, prompt.

Used by messages, another answer and comparisons. :mod:`bot.cogs.chat.delivery` posts the decided reply.
"""

from __future__ import annotations

from typing import Any, Protocol

import discord

from bot.cogs.ports import HasLimits, HasMetrics, HasQueues
from bot.generation import ContextReader, GeneratorError, OnlyThoughts, Stopping
from bot.languages import tr
from bot.messages.conversation import (
    MESSAGES_USED_UP,
    ONLY_THOUGHTS,
    SERVER_MESSAGES_USED_UP,
    SERVER_TOKENS_USED_UP,
    STOPPING,
    TOKENS_USED_UP,
    UNAVAILABLE,
)
from bot.messages.queues import Job
from bot.metrics import Outcome
from bot.replies.decision import Prompt
from bot.servers.access import roles_of
from bot.servers.daily_limits import UsedUp
from bot.servers.readers import may_show_in
from bot.servers.server_settings import GuildView
from storage.records import Who


class AnsweringHost(HasLimits, HasMetrics, HasQueues, Protocol):
    """What these steps need of the client."""


class Answering:
    """The steps around an answer that do not depend on what made the bot answer.

    Args:
        bot: The bot.
    """

    def __init__(self, bot: AnsweringHost) -> None:
        self._bot = bot

    def used_up(self, who: Who, author: discord.User | discord.Member, view: GuildView) -> str | None:
        """Return the note that a daily limit of the member or of their server is used up, else None.

        A message that can get no answer does not wait for its turn. :mod:`bot.replies.budget` decides.
        """
        used_up = self._bot.limits.used_up(who, view.limits, roles_of(author))
        return None if used_up is None else note_of(used_up)

    def queue(self, who: Who, channel_id: int, job: Job, about: object = None) -> bool:
        """Queue an answer behind those of its conversation.

        Args:
            who: The member who gets the answer.
            channel_id: The conversation.
            job: Makes the answer.
            about: What the job is about, for later messages that may join it.

        Returns:
            Whether the queue had room; if not, the message is counted as busy.
        """
        if self._bot.queues.submit(channel_id, who.user_id, job, about):
            return True
        self._bot.metrics.message(Outcome.BUSY)
        return False

    def prompt(
        self, who: Who, author: discord.User | discord.Member, channel: Any, reader: ContextReader
    ) -> Prompt:
        """Return the prompt of a queued answer; it may use the turns of members who wait behind it."""
        return Prompt(
            who,
            reader,
            behind=lambda: self._bot.queues.owners_in(channel.id),
            roles=roles_of(author),
            may_show=may_show_in(channel),
        )


def note_of(used_up: UsedUp) -> str:
    """Return the note that a day is used up, with the time at which the next one begins."""
    standing = used_up.standing
    assert standing.back_at is not None, "a day that has not begun is not used up"
    when = discord.utils.format_dt(standing.back_at, "R")
    if standing.messages == 0:
        messages = SERVER_MESSAGES_USED_UP if used_up.of_server else MESSAGES_USED_UP
        return tr(messages, limit=standing.limit.messages, when=when)
    tokens = SERVER_TOKENS_USED_UP if used_up.of_server else TOKENS_USED_UP
    return tr(tokens, limit=standing.limit.tokens, when=when)


def note_without_answer(failed: GeneratorError) -> str:
    """Return the note that no answer could be written."""
    match failed:
        case Stopping():
            return tr(STOPPING)
        case OnlyThoughts():
            return tr(ONLY_THOUGHTS)
        case _:
            return tr(UNAVAILABLE)
