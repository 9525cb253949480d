"""Messages in, one ranked reply out: checks and claims a message, queues it, and calls the parts that answer.

:mod:`bot.messages.context_reader` reads the context, :mod:`bot.replies.responder` decides the reply, and
:mod:`bot.cogs.chat.delivery` posts and records it.
"""

from __future__ import annotations

import logging
import time
from typing import Protocol

import discord
from discord.ext import commands

from bot.cogs.chat.answering import Answering, AnsweringHost, note_of, note_without_answer
from bot.cogs.chat.catching_up import CatchingUp, CatchUpHost
from bot.cogs.chat.delivery import Delivery, DeliveryHost
from bot.cogs.chat.helping import Helping
from bot.cogs.ports import Registry
from bot.distress.answers import InDistress
from bot.generation import GeneratorError
from bot.identity import is_direct, who_wrote
from bot.languages import Tongues, speak, tr
from bot.memory import MemberMemory
from bot.messages.attachments import may_read, note_on
from bot.messages.bursts import Burst, LostBursts, Withdrawn
from bot.messages.context_reader import BurstReader, Host, NothingToRead, is_heard
from bot.messages.conversation import (
    BUSY,
    EMPTY,
    FAILED,
    SPEECHLESS,
    UNREADABLE,
    UNREADABLE_ROLE,
    is_addressed,
    parent_id_of,
)
from bot.messages.posting import say, typing_in
from bot.messages.queues import Claims, NotesGiven
from bot.messages.words import files_of, mentions_own_role, words_of
from bot.metrics import Outcome
from bot.replies.decision import Decision, NothingToSay
from bot.replies.fair_turns import TooManyWaiting
from bot.servers.daily_limits import UsedUp
from bot.ui.stop_button import StopButton

log = logging.getLogger(__name__)


class ChatHost(Registry, AnsweringHost, DeliveryHost, CatchUpHost, Host, Protocol):
    """What the chat needs of the client."""

    @property
    def memory(self) -> MemberMemory:
        """Everything in memory that holds data of members."""
        ...

    @property
    def tongues(self) -> Tongues:
        """Languages of members."""
        ...


class Chat(commands.Cog):
    """Answers messages that are for the bot."""

    def __init__(self, bot: ChatHost) -> None:
        self._bot = bot
        self._answering, self._delivery = Answering(bot), Delivery(bot)
        self._helping = Helping(bot, bot.memory)
        self._claims, self._lost = Claims(), LostBursts()
        self._catching_up = CatchingUp(bot, self._claims, self.on_message)
        self._declined, self._unread = NotesGiven(1000), NotesGiven(1000)
        bot.memory.register("notes on declined messages", self._declined)
        bot.memory.register("deleted questions", self._lost)
        bot.memory.register("notes on unread attachments", self._unread)

    async def cog_load(self) -> None:
        """Register the button that outlives a restart."""
        self._bot.add_dynamic_items(StopButton)

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """Answer what was missed: a new session began."""
        await self._catching_up.look()

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        """Queue an answer to a message that is for the bot, once per message."""
        if message.webhook_id is not None:
            self._follow_copy(message)
            return
        me, who = self._bot.me, who_wrote(message)
        view = await self._bot.servers.of(who.guild_id)
        if not is_addressed(message, me=me, chat_channels=self._bot.chat_channels_in(view)):
            return
        if not self._claims.claim(message.id) or await self._bot.pausing.is_paused():
            return
        if not is_heard(self._bot, message, view):
            return
        if not await self._bot.store.coordination.claim_prompt(message.id):
            return
        if await self._helping.has_answered(message):
            return
        speak(self._bot.tongues.of(message))
        if note := self._nothing_to_answer(message):
            await self._decline(message, note, within_s=3600 if files_of(message) else 60)
            return
        before = self._bot.queues.latest_of(message.channel.id, who.user_id)
        if isinstance(before, Burst) and before.join(message):
            self._bot.metrics.message(Outcome.MERGED)
        elif note := self._answering.used_up(who, message.author, view):
            if not await self._helping.has_answered_files(message):
                self._bot.metrics.message(Outcome.LIMITED)
                await self._decline(message, note)
        else:
            await self._queue(Burst(message))

    def _follow_copy(self, copy: discord.Message) -> None:
        """Let the copy that a proxy made take the place of a message whose answer is not posted yet."""
        abouts = [about for about in self._bot.queues.unfinished() if isinstance(about, Burst)]
        if any(burst.copied(copy) for burst in abouts):
            return
        if (burst := self._lost.copied(copy)) is not None:
            self._queued(burst)

    def _nothing_to_answer(self, message: discord.Message) -> str:
        """Return the note on a message without anything to answer; empty where there is something."""
        files, vision = files_of(message), self._bot.reads_pictures
        if words_of(message, me=self._bot.me) or may_read(files, vision=vision):
            return ""
        if not files and self._can_read(message) and parent_id_of(message) is not None:
            return ""  # the message that it replies to is the question
        if note := note_on(files, vision=vision):
            return tr(note)
        if self._can_read(message):
            return tr(EMPTY)
        return tr(UNREADABLE_ROLE if mentions_own_role(message) else UNREADABLE)

    async def _queue(self, burst: Burst) -> None:
        """Queue the answer to a burst in its conversation."""
        if not self._queued(burst) and not await self._helping.has_answered_files(burst.first):
            await self._decline(burst.first, tr(BUSY))

    def _queued(self, burst: Burst) -> bool:
        asked = time.perf_counter()
        return self._answering.queue(burst.who, burst.channel.id, lambda: self._answer(burst, asked), burst)

    async def _decline(self, message: discord.Message, note: str, *, within_s: int = 60) -> None:
        """Post why a message is not answered; for one member in one channel at most once in ``within_s``."""
        span = (message.channel.id, within_s, int(time.monotonic() // within_s))
        if self._declined.claim(who_wrote(message), span):
            await say(message, note)

    def _can_read(self, message: discord.Message) -> bool:
        """Return whether Discord sends the text: without the intent, not for a reply with its ping off."""
        mentioned = any(user.id == self._bot.me for user in message.mentions)
        return self._bot.settings.message_content or is_direct(message) or mentioned

    async def _answer(self, burst: Burst, asked: float) -> None:
        """Answer a burst; runs in the conversation's turn. ``asked`` is when the burst was queued."""
        outcome, waited_s = Outcome.FAILED, time.perf_counter() - asked
        speak(self._bot.tongues.of(burst.first))
        try:
            async with typing_in(burst.channel):
                decision = await burst.while_there(lambda: self._decide(burst))
        except Withdrawn:
            outcome = Outcome.WITHDRAWN
            self._lost.put(burst)
        except InDistress as exc:  # only several messages together, or a file, say so
            outcome = Outcome.HELPED
            await self._helping.post(burst.last, exc.distress)
        except NothingToRead as exc:
            outcome = Outcome.UNREAD
            await self._decline(burst.last, str(exc), within_s=3600)
        except UsedUp as exc:  # other answers used up the day while this one waited
            outcome = Outcome.LIMITED
            await self._decline(burst.last, note_of(exc))
        except TooManyWaiting:
            outcome = Outcome.BUSY
            if not await self._helping.has_answered_files(burst.last):
                await self._decline(burst.last, tr(BUSY))
        except NothingToSay:
            outcome = Outcome.WITHHELD
            await say(burst.last, tr(SPEECHLESS))
        except GeneratorError as exc:
            outcome = Outcome.UNAVAILABLE
            log.warning("no candidates: %s", exc)
            await say(burst.last, note_without_answer(exc))
        except Exception:  # Boundary: whatever failed, the member gets an answer; the queue logs the failure.
            await say(burst.last, tr(FAILED))
            raise
        else:
            if await self._delivery.deliver(burst, decision, waited_s=waited_s):
                outcome = Outcome.ANSWERED
            elif burst.is_withdrawn:
                outcome = Outcome.WITHDRAWN
                self._lost.put(burst)
        finally:
            self._bot.metrics.message(outcome)

    async def _decide(self, burst: Burst) -> Decision:
        reader = BurstReader(self._bot, burst, self._unread)
        prompt = self._answering.prompt(burst.who, burst.first.author, burst.first.channel, reader)
        try:
            return await self._bot.responder.decide(prompt)
        finally:
            burst.begin()  # a message that joined after a failure would get no answer


async def setup(bot: ChatHost) -> None:
    """Load the cog."""
    await bot.add_cog(Chat(bot))
