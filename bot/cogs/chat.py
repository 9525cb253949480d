"""Messages in, one ranked reply out: guards, claim, queue, decide, post, record.

Thin by design: what to say is :mod:`bot.responder`'s, how to post it :mod:`bot.posting`'s.
"""

from __future__ import annotations

import logging
import re
import time
from typing import Any, Self

import discord
from discord.ext import commands

from bot.attachments import may_read, note_on, read_attached
from bot.buttons import PersistentButton
from bot.client import SimpaticoBot
from bot.cogs.privacy import invitation_view
from bot.conversation import (
    BUSY,
    EMPTY,
    FAILED,
    SPEECHLESS,
    UNAVAILABLE,
    UNREADABLE,
    context_of,
    is_addressed,
    text_of,
)
from bot.generators import GeneratorError
from bot.identity import is_direct, who_wrote
from bot.metrics import Outcome
from bot.posting import AnsweredBefore, place_of, post_reply, say, seed_reactions, typing_in
from bot.queues import Claims
from bot.responder import Decision, NothingToSay, Prompt
from bot.streaming import GrowingReply, Pace, finish, grow
from storage.failpoints import failpoint
from storage.records import Consent

log = logging.getLogger(__name__)

STOP = "Stop"
NOT_YOURS_TO_STOP = "Only the person whom I answer can stop this answer."


class NothingToRead(Exception):
    """A message without words, of whose attachments none could be read; says so to the member."""


class Chat(commands.Cog):
    """Answers messages that are meant for the bot."""

    def __init__(self, bot: SimpaticoBot) -> None:
        self._bot = bot
        self._claims = Claims()
        self._told_busy = Claims(1000)
        self._told_unread = Claims(1000)

    async def cog_load(self) -> None:
        """Register the button that outlives a restart."""
        self._bot.add_dynamic_items(StopButton)

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        """Queue an answer to a message that is meant for the bot, once per message."""
        me = self._bot.me
        if not is_addressed(message, me=me, chat_channels=self._bot.chat_channels):
            return
        if not self._claims.claim(message.id) or await self._bot.is_paused():
            return
        files, vision = message.attachments, self._bot.reads_pictures
        if not text_of(message, me=me) and not may_read(files, vision=vision):
            unread = note_on(files, vision=vision)
            await say(message, unread or (EMPTY if self._can_read(message) else UNREADABLE))
            return
        channel_id, author_id, asked = message.channel.id, message.author.id, time.monotonic()
        if not self._bot.queues.submit(channel_id, author_id, lambda: self._answer(message, asked)):
            self._bot.metrics.message(Outcome.BUSY)
            this_minute = (author_id, channel_id, int(time.monotonic() // 60))
            if self._told_busy.claim(this_minute):
                await say(message, BUSY)

    def _can_read(self, message: discord.Message) -> bool:
        """Whether Discord hands us the text: without the intent not that of a reply with its ping off."""
        mentioned = any(user.id == self._bot.me for user in message.mentions)
        return self._bot.settings.message_content or is_direct(message) or mentioned

    async def _answer(self, message: discord.Message, asked: float) -> None:
        """Answer one message; runs in the conversation's turn, which it has waited for since ``asked``."""
        outcome, waited = Outcome.FAILED, time.monotonic() - asked
        try:
            async with typing_in(message.channel):
                decision = await self._decide(message)
        except NothingToRead as exc:
            outcome = Outcome.UNREAD
            await say(message, str(exc))
        except NothingToSay:
            outcome = Outcome.WITHHELD
            await say(message, SPEECHLESS)
        except GeneratorError as exc:
            outcome = Outcome.UNAVAILABLE
            log.warning("no candidates: %s", exc)
            await say(message, UNAVAILABLE)
        except Exception:  # boundary: a member is never left without a word; the queue logs what happened
            await say(message, FAILED)
            raise
        else:
            if await self._post(message, decision, waited):
                outcome = Outcome.ANSWERED
        finally:
            self._bot.metrics.message(outcome)

    async def _decide(self, message: discord.Message) -> Decision:
        settings = self._bot.settings
        attached = await read_attached(message.attachments, vision=self._bot.reads_pictures)
        context = await context_of(
            message,
            attached,
            me=self._bot.me,
            chat_channels=self._bot.chat_channels,
            n_turns=settings.history_messages,
            minutes=settings.history_minutes,
        )
        if not context.message and not context.pictures:
            raise NothingToRead(attached.note)
        this_hour = (message.author.id, message.channel.id, int(time.monotonic() // 3600))
        if attached.note and self._told_unread.claim(this_hour):
            await say(message, attached.note)
        return await self._bot.responder.decide(Prompt(who_wrote(message), context))

    async def _post(self, message: discord.Message, decision: Decision, waited: float) -> bool:
        """Post, record, and only then seed reactions: a click must find the reply stored.

        Returns:
            Whether the reply was posted.
        """
        if await self._bot.is_paused():  # said while this reply was written
            return False
        started = time.monotonic()
        who = who_wrote(message)
        invitee = self._bot.store.member_id(who)  # a pseudonym, because it stays in memory after a forget
        inviting = decision.consent is Consent.UNKNOWN and self._bot.invited.claim(invitee)
        view = invitation_view(who.user_id) if inviting else None
        first_view = stop_view(message) if decision.more else view
        with self._bot.inbox.held(message.channel.id):
            try:
                posted = await post_reply(message, decision.text, view=first_view)
            except discord.HTTPException as exc:
                log.warning(
                    "a reply could not be posted: Discord answered %s (code %s)", exc.status, exc.code
                )
                if inviting:
                    self._bot.invited.release(invitee)
                return False
            except AnsweredBefore:
                log.warning("a prompt had a reply already; this one was not posted")
                return False
            took = {"wait": waited, "post": time.monotonic() - started}
            failpoint("chat.after-post")
            if decision.more is not None:
                decision, posted = await self._finish(message, decision, posted, view)
            await self._bot.responder.record(who, place_of(posted), decision)
        self._bot.metrics.reply({**decision.seconds, **took})
        await seed_reactions(posted[-1], self._bot.settings.seeded_reactions)
        return True

    async def _finish(
        self,
        message: discord.Message,
        decision: Decision,
        posted: list[discord.Message],
        view: discord.ui.View | None,
    ) -> tuple[Decision, list[discord.Message]]:
        """Grow a posted draft to its end, or until it is stopped; what stands then is what was decided."""
        assert decision.more is not None
        streams, shown = self._bot.streams, stop_view(message)
        reply = GrowingReply(message, posted, decision.text, view=shown, pace=Pace(streams.every_s))

        async def unwanted() -> bool:
            return decision.asker.left or await self._bot.is_paused()

        try:
            with streams.running(message.id) as stopped:
                await grow(
                    reply,
                    decision.more(),
                    stopped=stopped,
                    stop_view=shown,
                    unwanted=unwanted,
                    every_s=streams.every_s,
                )
        finally:
            await finish(reply, view)
        return await self._bot.responder.finished(decision, reply.text), reply.messages


class StopButton(PersistentButton, template=r"simpatico:enough:(?P<prompt>\d{1,20}):(?P<user>\d{1,20})"):
    """Ends a reply that grows; for the member whom it answers."""

    def __init__(self, prompt_id: int, user_id: int) -> None:
        custom_id = f"simpatico:enough:{prompt_id}:{user_id}"
        super().__init__(
            discord.ui.Button(label=STOP, style=discord.ButtonStyle.secondary, custom_id=custom_id)
        )
        self._prompt_id = prompt_id
        self._user_id = user_id

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Rebuild the button from its id."""
        return cls(int(match["prompt"]), int(match["user"]))

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        """End the reply as it stands; a button that a crash left behind goes."""
        if interaction.user.id != self._user_id:
            await interaction.response.send_message(NOT_YOURS_TO_STOP, ephemeral=True)
            return
        bot: SimpaticoBot = interaction.client
        await interaction.response.defer()
        if not bot.streams.stop(self._prompt_id):
            await interaction.edit_original_response(view=None)


def stop_view(prompt: discord.Message) -> discord.ui.View:
    """The Stop button under the reply to a message."""
    view = discord.ui.View(timeout=None)
    view.add_item(StopButton(prompt.id, prompt.author.id))
    return view


async def setup(bot: SimpaticoBot) -> None:
    """Load the cog."""
    await bot.add_cog(Chat(bot))
