"""Messages in, one ranked reply out: guards, claim, queue, decide, post, record.

Thin by design: what to say is :mod:`bot.replies.responder`'s, how to post it :mod:`bot.messages.posting`'s.
"""

from __future__ import annotations

import logging
import time

import discord
from discord.ext import commands

from bot.client import SimpaticoBot
from bot.cogs.chat.preconditions import context_for, may_talk_to, used_up
from bot.generation import Context, GeneratorError
from bot.identity import is_direct, who_wrote
from bot.languages import speak, tr
from bot.messages.attachments import may_read, note_on
from bot.messages.bursts import Burst
from bot.messages.conversation import (
    BUSY,
    EMPTY,
    FAILED,
    SPEECHLESS,
    UNAVAILABLE,
    UNREADABLE,
    is_addressed,
    text_of,
)
from bot.messages.posting import AnsweredBefore, place_of, post_reply, say, seed_reactions, typing_in
from bot.messages.queues import Claims, NotesGiven
from bot.metrics import Outcome
from bot.replies.decision import Decision, NothingToSay, Prompt
from bot.ui.privacy_panel import invitation_view
from bot.ui.stop_button import StopButton, grow_to_the_end, stop_view
from storage.failpoints import failpoint
from storage.records import Consent

log = logging.getLogger(__name__)


class NothingToRead(Exception):
    """A message without words, of whose attachments none could be read; says so to the member."""


class Chat(commands.Cog):
    """Answers messages that are meant for the bot."""

    def __init__(self, bot: SimpaticoBot) -> None:
        self._bot = bot
        self._claims = Claims()
        self._declined, self._unread = NotesGiven(1000), NotesGiven(1000)
        bot.memory.register("notes on declined messages", self._declined)
        bot.memory.register("notes on unread attachments", self._unread)

    async def cog_load(self) -> None:
        """Register the button that outlives a restart."""
        self._bot.add_dynamic_items(StopButton)

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        """Queue an answer to a message that is meant for the bot, once per message."""
        me, who = self._bot.me, who_wrote(message)
        view = await self._bot.servers.of(who.guild_id)
        if not is_addressed(message, me=me, chat_channels=self._bot.chat_channels_in(view)):
            return
        if not self._claims.claim(message.id) or await self._bot.pausing.is_paused():
            return
        if not may_talk_to(self._bot, message, view):
            return
        speak(self._bot.tongues.of(message))
        if note := self._nothing_to_answer(message):
            await say(message, note)
            return
        before = self._bot.queues.latest_of(message.channel.id, who.user_id)
        if isinstance(before, Burst) and before.join(message):
            self._bot.metrics.message(Outcome.MERGED)
        elif note := used_up(self._bot, who, message.author, view):
            self._bot.metrics.message(Outcome.LIMITED)
            await self._decline(message, note)
        else:
            await self._queue(message)

    def _nothing_to_answer(self, message: discord.Message) -> str:
        """What to say to a message that holds nothing to answer; empty when it does."""
        files, vision = message.attachments, self._bot.reads_pictures
        if text_of(message, me=self._bot.me) or may_read(files, vision=vision):
            return ""
        return tr(note_on(files, vision=vision) or (EMPTY if self._can_read(message) else UNREADABLE))

    async def _queue(self, message: discord.Message) -> None:
        """Put the answer to a message behind those of its conversation."""
        burst, asked = Burst(message), time.perf_counter()
        channel_id, who = message.channel.id, who_wrote(message)
        if self._bot.queues.submit(channel_id, who.user_id, lambda: self._answer(burst, asked), burst):
            self._bot.limits.spend(who, messages=1)
        else:
            self._bot.metrics.message(Outcome.BUSY)
            await self._decline(message, tr(BUSY))

    async def _decline(self, message: discord.Message, note: str) -> None:
        """Say why a message is not answered, to one member in one channel at most once a minute."""
        if self._declined.claim(who_wrote(message), (message.channel.id, int(time.monotonic() // 60))):
            await say(message, note)

    def _can_read(self, message: discord.Message) -> bool:
        """Whether Discord hands us the text: without the intent not that of a reply with its ping off."""
        mentioned = any(user.id == self._bot.me for user in message.mentions)
        return self._bot.settings.message_content or is_direct(message) or mentioned

    async def _answer(self, burst: Burst, asked: float) -> None:
        """Answer a burst; runs in the conversation's turn, which it has waited for since ``asked``."""
        outcome, waited, n_tokens = Outcome.FAILED, time.perf_counter() - asked, 0
        who = who_wrote(burst.first)
        speak(self._bot.tongues.of(burst.first))
        try:
            async with typing_in(burst.last.channel):
                decision = await self._decide(burst)
            n_tokens = decision.n_tokens
        except NothingToRead as exc:
            outcome = Outcome.UNREAD
            await say(burst.last, str(exc))
        except NothingToSay as exc:
            outcome, n_tokens = Outcome.WITHHELD, exc.n_tokens
            await say(burst.last, tr(SPEECHLESS))
        except GeneratorError as exc:
            outcome = Outcome.UNAVAILABLE
            log.warning("no candidates: %s", exc)
            await say(burst.last, tr(UNAVAILABLE))
        except Exception:  # boundary: a member is never left without a word; the queue logs what happened
            await say(burst.last, tr(FAILED))
            raise
        else:
            if await self._post(burst.last, decision, waited):
                outcome = Outcome.ANSWERED
        finally:
            self._bot.limits.spend(who, messages=0 if outcome is Outcome.ANSWERED else -1, tokens=n_tokens)
            self._bot.metrics.message(outcome)

    async def _decide(self, burst: Burst) -> Decision:
        who, channel_id = who_wrote(burst.first), burst.first.channel.id
        prompt = Prompt(who, lambda: self._context(burst), lambda: self._bot.queues.owners_in(channel_id))
        try:
            return await self._bot.responder.decide(prompt)
        finally:
            burst.begin()  # whatever happened: a message that joined now would get no answer

    async def _context(self, burst: Burst) -> Context:
        """Read back what led to a burst, now that its turn has come; nothing joins it any more.

        Raises:
            NothingToRead: There are no words, and no attachment could be read.
        """
        messages = burst.begin()
        context, attached = await context_for(self._bot, messages)
        if not context.message and not context.pictures:
            raise NothingToRead(tr(attached.note or EMPTY))
        first = messages[0]
        this_hour = (first.channel.id, int(time.monotonic() // 3600))
        if attached.note and self._unread.claim(who_wrote(first), this_hour):
            await say(burst.last, tr(attached.note))
        return context

    async def _post(self, message: discord.Message, decision: Decision, waited: float) -> bool:
        """Post, record, and only then seed reactions: a click must find the reply stored.

        Returns:
            Whether the reply was posted.
        """
        if await self._bot.pausing.is_paused():  # said while this reply was written
            return False
        started = time.perf_counter()
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
            waited += decision.seconds.get("turn", 0.0)
            took = {"wait": waited, "post": time.perf_counter() - started}
            failpoint("chat.after-post")
            if decision.more is not None:
                decision, posted = await grow_to_the_end(
                    self._bot, message, decision=decision, posted=posted, view=view
                )
            await self._bot.responder.record(who, place_of(posted), decision)
        self._bot.metrics.reply({**decision.seconds, **took})
        await seed_reactions(posted[-1], (await self._bot.servers.of(who.guild_id)).seeded_reactions)
        return True


async def setup(bot: SimpaticoBot) -> None:
    """Load the cog."""
    await bot.add_cog(Chat(bot))
