"""Shared steps of every command that makes the bot answer: daily limits, queue, prompt, count of tokens.

Used by messages, another answer and comparisons. :mod:`bot.cogs.chat.delivery` posts the decided reply.
"""

from __future__ import annotations

from typing import Protocol

import discord

from bot.cogs.ports import HasLimits, HasMetrics, HasQueues
from bot.generation import ContextReader
from bot.languages import tr
from bot.messages.conversation import (
    MESSAGES_USED_UP,
    SERVER_MESSAGES_USED_UP,
    SERVER_TOKENS_USED_UP,
    TOKENS_USED_UP,
)
from bot.messages.queues import Job
from bot.metrics import Outcome
from bot.replies.decision import Prompt
from bot.servers.access import roles_of
from bot.servers.daily_limits import Standing
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
        """Return the note that a daily limit of the member or of their server is used up, else None."""
        own = self._bot.limits.of_member(who, view.limits, roles_of(author))
        everybody = self._bot.limits.of_server(who, view.limits)
        if own.used_up:
            return _note_of(own, MESSAGES_USED_UP, TOKENS_USED_UP)
        if everybody.used_up:
            return _note_of(everybody, SERVER_MESSAGES_USED_UP, SERVER_TOKENS_USED_UP)
        return None

    def queue(self, who: Who, channel_id: int, job: Job, about: object = None) -> bool:
        """Queue an answer behind those of its conversation, and count one message of the member's day.

        Args:
            who: The member who gets the answer.
            channel_id: The conversation.
            job: Makes the answer; it must end with :meth:`settle`.
            about: What the job is about, for later messages that may join it.

        Returns:
            Whether the queue had room; if not, the message is counted as busy.
        """
        if not self._bot.queues.submit(channel_id, who.user_id, job, about):
            self._bot.metrics.message(Outcome.BUSY)
            return False
        self._bot.limits.spend(who, messages=1)
        return True

    def prompt(self, who: Who, channel_id: int, reader: ContextReader) -> Prompt:
        """Return the prompt of a queued answer; it may use the turns of members who wait behind it."""
        return Prompt(who, reader, lambda: self._bot.queues.owners_in(channel_id))

    def settle(self, who: Who, outcome: Outcome, n_tokens: int) -> None:
        """Count the outcome and the tokens of a queued answer; without a reply its message is given back."""
        returned = 0 if outcome is Outcome.ANSWERED else -1
        self._bot.limits.spend(who, messages=returned, tokens=n_tokens)
        self._bot.metrics.message(outcome)


def _note_of(standing: Standing, messages: str, tokens: str) -> str:
    """Return the note that a day is used up, with the time at which the next one begins."""
    assert standing.back_at is not None, "a day that has not begun is not used up"
    when = discord.utils.format_dt(standing.back_at, "R")
    if standing.messages == 0:
        return tr(messages, limit=standing.limit.messages, when=when)
    return tr(tokens, limit=standing.limit.tokens, when=when)
