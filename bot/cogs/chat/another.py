"""The message menu "Another answer": posts another candidate for the same prompt as a new reply.

Only for the member who wrote the prompt. :mod:`bot.replies.responder` chooses the answer; the prompt and its
context are read back from Discord.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Protocol

import discord
from discord import app_commands
from discord.ext import commands

from bot.cogs.chat.answering import Answering, AnsweringHost, note_of, note_without_answer
from bot.cogs.chat.delivery import AskedAgain, Delivery, DeliveryHost
from bot.cogs.chat.helping import Helping
from bot.cogs.ports import Registry
from bot.distress.answers import InDistress
from bot.generation import GeneratorError
from bot.identity import asker_of, who_clicked
from bot.languages import mark, speak, tr
from bot.messages.bursts import Burst, Withdrawn
from bot.messages.context_reader import Host, MessageReader, NothingToRead
from bot.messages.conversation import BUSY, FAILED, is_note
from bot.messages.posting import typing_in
from bot.messages.words import words_of
from bot.metrics import Outcome
from bot.replies.decision import Decision, NothingToSay
from bot.replies.fair_turns import TooManyWaiting
from bot.servers.daily_limits import UsedUp
from bot.ui.errors import tell
from storage.records import Who

log = logging.getLogger(__name__)

NOT_YOURS = mark(
    "I can only do that for my replies to *you*, and only while I can still see the message I replied to."
)
NOTHING_ELSE = mark("I could not find another answer. Please ask in other words, and I will try again.")
RESTING = mark("I am not answering at the moment, because the host of this bot has paused me.")
NOT_POSTED = mark("I could not post another answer here. I may be missing a permission in this channel.")
POSTED = mark(
    "Here is another answer. If you like it better, react with 👍, so that I learn which of the two"
    " suits you."
)
MOST_CHUNKS = 10


class AnotherHost(Registry, AnsweringHost, DeliveryHost, Host, Protocol):
    """What another answer needs of the client."""


class Another(commands.Cog):
    """Gives another answer to a prompt."""

    def __init__(self, bot: AnotherHost) -> None:
        self._bot = bot
        self._answering, self._delivery, self._helping = Answering(bot), Delivery(bot), Helping(bot)
        self._menu = app_commands.ContextMenu(name=mark("Another answer"), callback=self.another)

    async def cog_load(self) -> None:
        """Register the message menu."""
        self._bot.tree.add_command(self._menu)

    async def cog_unload(self) -> None:
        """Remove the message menu."""
        self._bot.tree.remove_command(self._menu.name, type=self._menu.type)

    async def another(self, interaction: discord.Interaction, message: discord.Message) -> None:
        """Queue another answer in the conversation."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        prompt, who = await self._prompt_of(message), who_clicked(interaction)
        if prompt is None or not self._is_theirs(prompt, who, message):
            said = tr(NOT_YOURS)
        elif help_words := self._helping.words_for(words_of(prompt, me=self._bot.me)):
            said = help_words
        elif is_note(message):
            said = tr(NOT_YOURS)
        elif await self._bot.pausing.is_paused():
            said = tr(RESTING)
        elif note := self._answering.used_up(who, interaction.user, await self._bot.servers.of(who.guild_id)):
            said = note
        elif self._queue(interaction, message, prompt):
            return
        else:
            said = tr(BUSY)
        await tell(interaction, said)

    def _is_theirs(self, prompt: discord.Message, who: Who, reply: discord.Message) -> bool:
        """Return whether a member wrote a prompt; whose words a proxy copied is known for a while."""
        if prompt.webhook_id is not None:
            return self._bot.responder.drafts.of(replace(who, came=None), reply.id) is not None
        return prompt.author.id == who.user_id

    def _queue(
        self, interaction: discord.Interaction, shown: discord.Message, prompt: discord.Message
    ) -> bool:
        """Queue the answer; False where there is no room."""
        burst = Burst(prompt)
        burst.begin()  # no message joins it
        who, channel_id = who_clicked(interaction), prompt.channel.id
        return self._answering.queue(who, channel_id, lambda: self._answer(interaction, shown, burst), burst)

    async def _prompt_of(self, reply: discord.Message) -> discord.Message | None:
        """Return the message that this one answers; None where it is no answer or the prompt was deleted."""
        if reply.author.id != self._bot.me:
            return None
        try:
            first = await self._first_chunk(reply)
            reference = None if first is None else first.reference
            if reference is None or reference.message_id is None:
                return None
            return await reply.channel.fetch_message(reference.message_id)
        except discord.HTTPException:
            return None

    async def _first_chunk(self, reply: discord.Message) -> discord.Message | None:
        """Return the first message of a long reply, the only chunk with a reference to the prompt."""
        if reply.reference is not None:
            return reply
        async for earlier in reply.channel.history(limit=MOST_CHUNKS, before=reply):
            if earlier.author.id != self._bot.me:
                return None
            if earlier.reference is not None:
                return earlier
        return None

    async def _answer(self, interaction: discord.Interaction, shown: discord.Message, burst: Burst) -> None:
        """Decide and post; runs in the conversation's turn."""
        speak(interaction.locale)
        outcome, said = Outcome.FAILED, tr(FAILED)
        try:
            async with typing_in(burst.channel):
                decision = await burst.while_there(lambda: self._decide(interaction, shown, burst))
            posted = await self._delivery.deliver(burst, decision, again=AskedAgain(shown.id, interaction.id))
            outcome, said = (Outcome.ANSWERED, tr(POSTED)) if posted else (Outcome.FAILED, tr(NOT_POSTED))
        except Withdrawn:
            outcome, said = Outcome.WITHDRAWN, tr(NOT_YOURS)
        except InDistress as exc:
            outcome, said = Outcome.HELPED, self._bot.responder.help.answer_to(exc.distress)
        except NothingToRead as exc:
            outcome, said = Outcome.UNREAD, str(exc)
        except UsedUp as exc:
            outcome, said = Outcome.LIMITED, note_of(exc)
        except TooManyWaiting:
            outcome, said = Outcome.BUSY, tr(BUSY)
        except NothingToSay:
            outcome, said = Outcome.WITHHELD, tr(NOTHING_ELSE)
        except GeneratorError as exc:
            outcome, said = Outcome.UNAVAILABLE, note_without_answer(exc)
            log.warning("no candidates: %s", exc)
        finally:
            self._bot.metrics.message(outcome)
            await tell(interaction, said)

    async def _decide(
        self, interaction: discord.Interaction, shown: discord.Message, burst: Burst
    ) -> Decision:
        who = who_clicked(interaction)
        reader = MessageReader(self._bot, burst)
        asked = self._answering.prompt(who, interaction.user, burst.channel, reader)
        asked = replace(asked, asker=asker_of(interaction))
        decision = await self._bot.responder.decide_another(asked, shown.id, shown.content)
        return await self._bot.responder.completed(decision)


async def setup(bot: AnotherHost) -> None:
    """Load the cog."""
    await bot.add_cog(Another(bot))
