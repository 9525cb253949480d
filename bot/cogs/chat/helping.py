"""Help for members whose message speaks of self-harm or danger; nothing else happens with such a message.

Used by messages, another answer and ``/compare``, before consent, limits and queues. The message is not
queued, ranked, recorded or logged; it is counted. :mod:`bot.distress` recognises it and holds the texts.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

import discord

from bot.cogs.ports import HasMetrics, HasResponder
from bot.distress.rules import Distress
from bot.identity import who_wrote
from bot.memory import MemberMemory
from bot.messages.attachments import TEXT_BYTES, joined, read_texts
from bot.messages.posting import say
from bot.messages.queues import NotesGiven
from bot.messages.words import files_of, words_of
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
        return await self._has_posted(
            message, self._bot.responder.help.found_in(words_of(message, me=self._bot.me))
        )

    async def post(self, message: discord.Message, distress: Distress) -> None:
        """Post help under a message, as a note that pings no member and is part of no later prompt."""
        who, note = who_wrote(message), _note_of(message, distress, WHOLE_EVERY_S)
        if again := not self._given.claim(who, note):
            note = _note_of(message, distress, AGAIN_EVERY_S)
            if not self._given.claim(who, note):
                return
        if not await say(message, self._bot.responder.help.answer_to(distress, again=again), anyway=True):
            self._given.release(who, note)

    async def has_answered_files(self, message: discord.Message) -> bool:
        """Post help under a message whose text files speak of distress, and return whether they do.

        For a message that is declined; the files of one that is queued are read in its turn.
        """
        files, _ = await read_texts(files_of(message), TEXT_BYTES)
        words = joined(words_of(message, me=self._bot.me), files)
        found = await asyncio.to_thread(self._bot.responder.help.found_in, words) if files else None
        return await self._has_posted(message, found)

    async def _has_posted(self, message: discord.Message, found: Distress | None) -> bool:
        if found is None:
            return False
        self._bot.metrics.message(Outcome.HELPED)
        await self.post(message, found)
        return True

    def words_for(self, text: str) -> str:
        """Return the help for a text that a member gave a command; "" where it speaks of no distress."""
        found = self._bot.responder.help.found_in(text)
        if found is None:
            return ""
        self._bot.metrics.message(Outcome.HELPED)
        return self._bot.responder.help.answer_to(found)


def _note_of(message: discord.Message, distress: Distress, every_s: int) -> tuple[object, ...]:
    """Return what is claimed: one answer of a kind to a member in a channel in a span of time."""
    return message.channel.id, distress.kind, every_s, int(time.monotonic() // every_s)
