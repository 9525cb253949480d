"""Messages in, one ranked reply out: guards, claim, queue, decide, post, record.

Thin by design: what to say is :mod:`bot.responder`'s, how to post it :mod:`bot.posting`'s.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace

import discord
from discord.ext import commands

from bot.access import may_talk, roles_of, speaker_of
from bot.bursts import Burst
from bot.client import SimpaticoBot
from bot.cogs.privacy import invitation_view
from bot.conversation import (
    BUSY,
    EMPTY,
    FAILED,
    MESSAGES_USED_UP,
    SERVER_MESSAGES_USED_UP,
    SERVER_TOKENS_USED_UP,
    SPEECHLESS,
    TOKENS_USED_UP,
    UNAVAILABLE,
    UNREADABLE,
    context_of,
    is_addressed,
    text_of,
)
from bot.generators import Context, GeneratorError
from bot.guilds import GuildView
from bot.identity import is_direct, who_wrote
from bot.limits import Standing
from bot.metrics import Outcome
from bot.posting import AnsweredBefore, post_reply, say, seed_reactions, typing_in
from bot.queues import Claims
from bot.responder import Decision, NothingToSay, Prompt
from storage.failpoints import failpoint
from storage.records import Consent

log = logging.getLogger(__name__)


class Chat(commands.Cog):
    """Answers messages that are meant for the bot."""

    def __init__(self, bot: SimpaticoBot) -> None:
        self._bot = bot
        self._claims = Claims()
        self._told = Claims(1000)

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        """Queue an answer to a message that is meant for the bot, once per message."""
        me, who = self._bot.me, who_wrote(message)
        view = await self._bot.servers.of(who.guild_id)
        if not is_addressed(message, me=me, chat_channels=self._bot.chat_channels_in(view)):
            return
        if not self._claims.claim(message.id) or await self._bot.is_paused():
            return
        if not self._may_talk(message, view):
            return
        if not text_of(message, me=me):
            await say(message, EMPTY if self._can_read(message) else UNREADABLE)
            return
        before = self._bot.queues.latest_of(message.channel.id, who.user_id)
        if isinstance(before, Burst) and before.join(message):
            self._bot.metrics.message(Outcome.MERGED)
        elif note := self._used_up(message, view):
            self._bot.metrics.message(Outcome.LIMITED)
            await self._decline(message, note)
        else:
            await self._queue(message)

    async def _queue(self, message: discord.Message) -> None:
        """Put the answer to a message behind those of its conversation."""
        burst, asked = Burst(message), time.monotonic()
        channel_id, who = message.channel.id, who_wrote(message)
        if self._bot.queues.submit(channel_id, who.user_id, lambda: self._answer(burst, asked), burst):
            self._bot.limits.spend(who, messages=1)
        else:
            self._bot.metrics.message(Outcome.BUSY)
            await self._decline(message, BUSY)

    async def _decline(self, message: discord.Message, note: str) -> None:
        """Say why a message is not answered, to one member in one channel at most once a minute."""
        if self._told.claim((message.author.id, message.channel.id, int(time.monotonic() // 60))):
            await say(message, note)

    def _may_talk(self, message: discord.Message, view: GuildView) -> bool:
        """Whether the bot listens to who wrote a message, and there."""
        speaker = speaker_of(message, self._bot.servers.name_of(who_wrote(message)))
        return all(may_talk(speaker, allow, deny) for allow, deny in view.access)

    def _used_up(self, message: discord.Message, view: GuildView) -> str | None:
        """What to say when the day of the member, or of the server, is used up; None when it is not."""
        who, limits = who_wrote(message), self._bot.limits
        own = limits.of_member(who, view.limits, roles_of(message.author))
        everybody = limits.of_server(who, view.limits)
        if own.used_up:
            return note_of(own, MESSAGES_USED_UP, TOKENS_USED_UP)
        if everybody.used_up:
            return note_of(everybody, SERVER_MESSAGES_USED_UP, SERVER_TOKENS_USED_UP)
        return None

    def _can_read(self, message: discord.Message) -> bool:
        """Whether Discord hands us the text: without the intent not that of a reply with its ping off."""
        mentioned = any(user.id == self._bot.me for user in message.mentions)
        return self._bot.settings.message_content or is_direct(message) or mentioned

    async def _answer(self, burst: Burst, asked: float) -> None:
        """Answer a burst; runs in the conversation's turn, which it has waited for since ``asked``."""
        outcome, waited, n_tokens = Outcome.FAILED, time.monotonic() - asked, 0
        who = who_wrote(burst.first)
        try:
            async with typing_in(burst.last.channel):
                decision = await self._decide(burst)
            n_tokens = decision.n_tokens
        except NothingToSay as exc:
            outcome, n_tokens = Outcome.WITHHELD, exc.n_tokens
            await say(burst.last, SPEECHLESS)
        except GeneratorError as exc:
            outcome = Outcome.UNAVAILABLE
            log.warning("no candidates: %s", exc)
            await say(burst.last, UNAVAILABLE)
        except Exception:  # boundary: a member is never left without a word; the queue logs what happened
            await say(burst.last, FAILED)
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
        """Read back what led to a burst, now that its turn has come; nothing joins it any more."""
        first, *more = burst.begin()
        settings, view = self._bot.settings, await self._bot.servers.of(who_wrote(first).guild_id)
        context = await context_of(
            first,
            me=self._bot.me,
            chat_channels=self._bot.chat_channels_in(view),
            n_turns=settings.history_messages,
            minutes=settings.history_minutes,
            heard=lambda message: self._may_talk(message, view),
            more=more,
        )
        return replace(context, persona=view.persona, model=view.model)

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
        with self._bot.inbox.held(message.channel.id):
            try:
                place, last = await post_reply(message, decision.text, view=view)
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
            took = {"wait": waited, "post": time.monotonic() - started}
            failpoint("chat.after-post")
            await self._bot.responder.record(who, place, decision)
        self._bot.metrics.reply({**decision.seconds, **took})
        await seed_reactions(last, (await self._bot.servers.of(who.guild_id)).seeded_reactions)
        return True


def note_of(standing: Standing, messages: str, tokens: str) -> str:
    """Say that a day is used up, and when it comes back."""
    assert standing.back_at is not None, "a day that has not begun is not used up"
    when = discord.utils.format_dt(standing.back_at, "R")
    if standing.messages == 0:
        return messages.format(limit=standing.limit.messages, when=when)
    return tokens.format(limit=standing.limit.tokens, when=when)


async def setup(bot: SimpaticoBot) -> None:
    """Load the cog."""
    await bot.add_cog(Chat(bot))
