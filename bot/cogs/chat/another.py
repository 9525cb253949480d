"""The message menu "Another answer": the next candidate for the same prompt, as a reply of its own.

Only for who asked. What is said next is :mod:`bot.replies.responder`'s to decide; the prompt and what led
to it are read back from Discord, as for every answer.
"""

from __future__ import annotations

import logging
import time

import discord
from discord import app_commands
from discord.ext import commands

from bot.client import SimpaticoBot
from bot.cogs.chat.preconditions import context_for, used_up
from bot.generation import Context, GeneratorError
from bot.identity import who_clicked
from bot.languages import mark, speak, tr
from bot.messages.conversation import BUSY, FAILED, UNAVAILABLE, is_note, text_of
from bot.messages.posting import AnsweredBefore, place_of, post_reply, seed_reactions, typing_in
from bot.metrics import Outcome
from bot.replies.decision import Decision, NothingToSay, Prompt

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


class Another(commands.Cog):
    """Answers once more."""

    def __init__(self, bot: SimpaticoBot) -> None:
        self._bot = bot
        self._menu = app_commands.ContextMenu(name=mark("Another answer"), callback=self.another)

    async def cog_load(self) -> None:
        """Register the message menu."""
        self._bot.tree.add_command(self._menu)

    async def cog_unload(self) -> None:
        """Take the message menu away again."""
        self._bot.tree.remove_command(self._menu.name, type=self._menu.type)

    async def another(self, interaction: discord.Interaction, message: discord.Message) -> None:
        """Queue another answer behind what the conversation waits for."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        prompt, who = await self._prompt_of(message), who_clicked(interaction)
        if prompt is None or prompt.author.id != interaction.user.id:
            said = tr(NOT_YOURS)
        elif await self._bot.is_paused():
            said = tr(RESTING)
        elif note := used_up(self._bot, who, interaction.user, await self._bot.servers.of(who.guild_id)):
            said = note
        elif self._bot.queues.submit(
            prompt.channel.id, who.user_id, lambda: self._answer(interaction, message, prompt)
        ):
            self._bot.limits.spend(who, messages=1)
            return
        else:
            self._bot.metrics.message(Outcome.BUSY)
            said = tr(BUSY)
        await interaction.followup.send(said, ephemeral=True)

    async def _prompt_of(self, reply: discord.Message) -> discord.Message | None:
        """The message that this one answers; None where it is no answer, or the prompt is gone."""
        if reply.author.id != self._bot.me or is_note(reply.content):
            return None
        try:
            first = await self._first_chunk(reply)
            reference = None if first is None else first.reference
            if reference is None or reference.message_id is None:
                return None
            prompt = await reply.channel.fetch_message(reference.message_id)
        except discord.HTTPException:
            return None
        return prompt if text_of(prompt, me=self._bot.me) else None

    async def _first_chunk(self, reply: discord.Message) -> discord.Message | None:
        """The first message of a long reply: of its chunks only that one answers another message."""
        if reply.reference is not None:
            return reply
        async for earlier in reply.channel.history(limit=MOST_CHUNKS, before=reply):
            if earlier.author.id != self._bot.me:
                return None
            if earlier.reference is not None:
                return earlier
        return None

    async def _answer(
        self, interaction: discord.Interaction, shown: discord.Message, prompt: discord.Message
    ) -> None:
        """Decide and post; runs in the conversation's turn."""
        speak(interaction.locale)
        outcome, said, n_tokens = Outcome.FAILED, FAILED, 0
        try:
            async with typing_in(prompt.channel):
                decision = await self._decide(interaction, shown, prompt)
            n_tokens = decision.n_tokens
            posted = await self._post(interaction, shown, prompt, decision=decision)
            outcome, said = (Outcome.ANSWERED, POSTED) if posted else (Outcome.FAILED, NOT_POSTED)
        except NothingToSay as exc:
            outcome, said, n_tokens = Outcome.WITHHELD, NOTHING_ELSE, exc.n_tokens
        except GeneratorError as exc:
            outcome, said = Outcome.UNAVAILABLE, UNAVAILABLE
            log.warning("no candidates: %s", exc)
        finally:
            returned = 0 if outcome is Outcome.ANSWERED else -1
            self._bot.limits.spend(who_clicked(interaction), messages=returned, tokens=n_tokens)
            self._bot.metrics.message(outcome)
            await interaction.followup.send(tr(said), ephemeral=True)

    async def _decide(
        self, interaction: discord.Interaction, shown: discord.Message, prompt: discord.Message
    ) -> Decision:
        async def read() -> Context:
            context, _ = await context_for(self._bot, [prompt])
            return context

        who, channel_id = who_clicked(interaction), prompt.channel.id
        asked = Prompt(who, read, lambda: self._bot.queues.owners_in(channel_id))
        decision = await self._bot.responder.decide_another(asked, shown.id, shown.content)
        return await self._bot.responder.completed(decision)

    async def _post(
        self,
        interaction: discord.Interaction,
        shown: discord.Message,
        prompt: discord.Message,
        *,
        decision: Decision,
    ) -> bool:
        """Post, record, and only then seed reactions, as for a first answer; whether it was posted."""
        if await self._bot.is_paused():  # said while this answer was written
            return False
        started = time.perf_counter()
        with self._bot.inbox.held(prompt.channel.id):
            try:
                posted = await post_reply(prompt, decision.text, asked_by=interaction.id)
            except discord.HTTPException as exc:
                log.warning(
                    "another answer could not be posted: Discord answered %s (code %s)", exc.status, exc.code
                )
                return False
            except AnsweredBefore:
                return False
            took = {"post": time.perf_counter() - started}
            who, place = who_clicked(interaction), place_of(posted)
            await self._bot.responder.record_another(who, place, decision, shown.id)
        self._bot.metrics.reply({**decision.seconds, **took})
        await seed_reactions(posted[-1], (await self._bot.servers.of(who.guild_id)).seeded_reactions)
        return True


async def setup(bot: SimpaticoBot) -> None:
    """Load the cog."""
    await bot.add_cog(Another(bot))
