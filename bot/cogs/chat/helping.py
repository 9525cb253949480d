"""Help for members whose message speaks of self-harm or danger; nothing else happens with such a message.

Used by messages, another answer and ``/compare``, before consent, limits and queues. The message is not
queued, ranked, recorded or logged; it is counted. :mod:`bot.distress` recognises it and holds the texts.
"""

from __future__ import annotations

import time
from typing import Protocol

import discord

from bot.cogs.ports import HasMetrics, HasResponder
from bot.distress.rules import Distress
from bot.identity import who_wrote
from bot.memory import MemberMemory
from bot.messages.posting import say
from bot.messages.queues import NotesGiven
from bot.messages.words import words_of
from bot.metrics import Outcome

WHOLE_EVERY_S = 3600
"""A member gets the whole answer once in this time in one channel, seconds."""
AGAIN_EVERY_S = 60
"""A member gets a short answer once in this time after the whole one, seconds; both stand right above."""


class HelpingHost(HasMetrics, HasResponder, Protocol):
    """What helping needs of the client."""

    @property
    def me(self) -> int:
        """The bot's own user id."""
        ...


class Helping:
    """Answers with help.

    Args:
        bot: The bot.
        memory: The registry of data of members; None: answers are given whole each time.
    """

    def __init__(self, bot: HelpingHost, memory: MemberMemory | None = None) -> None:
        self._bot = bot
        self._given = NotesGiven(1000)
        if memory is not None:
            memory.register("help given", self._given)

    async def has_answered(self, message: discord.Message) -> bool:
        """Post help under a message that speaks of distress, and return whether it does."""
        found = self._bot.responder.help.found_in(words_of(message, me=self._bot.me))
        if found is None:
            return False
        self._bot.metrics.message(Outcome.HELPED)
        await self.post(message, found)
        return True

    async def post(self, message: discord.Message, distress: Distress) -> None:
        """Post help under a message, as a note: it pings nobody and is no turn of the conversation."""
        again = not self._claim(message, distress, WHOLE_EVERY_S)
        if not again or self._claim(message, distress, AGAIN_EVERY_S):
            await say(message, self._bot.responder.help.answer_to(distress, again=again))

    def _claim(self, message: discord.Message, distress: Distress, every_s: int) -> bool:
        span = (message.channel.id, distress.kind, every_s, int(time.monotonic() // every_s))
        return self._given.claim(who_wrote(message), span)

    def words_for(self, text: str) -> str:
        """Return the help for a text that a member gave a command; "" where it speaks of no distress."""
        found = self._bot.responder.help.found_in(text)
        if found is None:
            return ""
        self._bot.metrics.message(Outcome.HELPED)
        return self._bot.responder.help.answer_to(found)
