"""What the bot missed: prompts that came while it was away or that a crash cut off, and unfinished replies.

Nothing is stored for it. At each new session the latest messages are read back from Discord, in channels
whose last message is young. A prompt without a reply is answered if it is younger than
:data:`ANSWERED_WITHIN`, as any message: access, limits and the queue hold. Of the older ones the latest gets
one word, once in a channel; a message about self-harm gets help. A reply that went out before a crash gets
its reactions, and is recorded if its member had agreed before.

Answers to a member are posted in the order of their prompts. So a prompt was not missed if a later one of the
same member has a reply, or a later one of anybody has the word. By the nonce of its prompt, Discord posts a
reply of two processes once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol

import discord

from bot.cogs.ports import HasInbox, HasQueues, HasResponder, HasServers, HasStore
from bot.generation import Context
from bot.identity import is_direct, who_wrote
from bot.languages import Tongues, everywhere, speak, tr
from bot.messages.context_reader import Host, is_heard
from bot.messages.conversation import AWAY, is_addressed, is_note, parent_id_of
from bot.messages.posting import place_of, say, seed_reactions
from bot.messages.queues import Claims
from bot.messages.words import words_of
from bot.pausing import Pausing
from bot.replies.decision import Prompt
from storage.errors import StorageError
from storage.records import DIRECT_MESSAGES, Arrival, Who

log = logging.getLogger(__name__)

ANSWERED_WITHIN = timedelta(minutes=5)
"""Age up to which a missed prompt is answered."""
TOLD_WITHIN = timedelta(hours=1)
"""Age up to which a missed prompt gets a word, and a found reply is finished."""
MOST_CHANNELS = 50
"""Channels that are read back at one start, those with the latest messages first."""
MOST_DIRECT = 20
"""Direct conversations that are read back, of the members who agreed and were answered last."""
MOST_ANSWERED = 10
"""Missed prompts that are answered in one channel; older ones get the word."""
MOST_FINISHED = 10
"""Replies that are finished in one channel, the latest."""
PAGE = 100
"""Messages of a channel that are read, in one request."""
_AT_ONCE = 4
_REPLIES, _MOST_PAGES = 500, 20
"""Stored replies of a page in which direct conversations are looked for, and pages."""


class CatchUpHost(HasInbox, HasQueues, HasResponder, HasServers, HasStore, Host, Protocol):
    """What catching up needs of the client."""

    @property
    def guilds(self) -> Sequence[discord.Guild]:
        """The servers that the bot is in."""
        ...

    @property
    def pausing(self) -> Pausing:
        """The emergency stop."""
        ...

    @property
    def tongues(self) -> Tongues:
        """Languages of members."""
        ...

    def owns(self, guild_id: int) -> bool:
        """Return whether this process gets the events of a server, or of direct messages."""
        ...

    async def fetch_channel(self, channel_id: int, /) -> Any:
        """Return a channel as Discord knows it."""
        ...


class CatchingUp:
    """Answers what was missed, and finishes replies that were cut off.

    Args:
        bot: The bot.
        claims: Messages that this process has seen.
        answer: Answers a message as if it came now.
    """

    def __init__(
        self, bot: CatchUpHost, claims: Claims, answer: Callable[[discord.Message], Awaitable[None]]
    ) -> None:
        self._bot, self._claims, self._answer = bot, claims, answer
        self._requests = asyncio.Semaphore(_AT_ONCE)

    async def look(self) -> None:
        """Read back every channel that may hold something missed, each in the turn of its conversation."""
        if await self._bot.pausing.is_paused():
            return
        now = discord.utils.utcnow()
        for channel in [*self._young_channels(now), *await self._direct_channels()]:
            # The owner is no member, so that it takes no member's share of the queue.
            self._bot.queues.submit(
                channel.id, channel.id, lambda channel=channel: self._look_in(channel, now)
            )

    def _young_channels(self, now: datetime) -> list[Any]:
        """Return the channels and threads whose last message is young, the latest first."""
        places = (
            one
            for guild in self._bot.guilds
            if self._bot.owns(guild.id)  # discord.py keeps the servers of shards that moved away
            for one in (*guild.text_channels, *guild.voice_channels, *guild.stage_channels, *guild.threads)
            if one.last_message_id is not None and may_answer_in(one)
        )
        young = [one for one in places if _sent_at(one.last_message_id or 0) > now - TOLD_WITHIN]
        return sorted(young, key=lambda one: -(one.last_message_id or 0))[:MOST_CHANNELS]

    async def _direct_channels(self) -> list[Any]:
        """Return the latest direct conversations with members who agreed; Discord does not list others."""
        if not self._bot.owns(DIRECT_MESSAGES):
            return []
        ids: dict[int, None] = {}
        before = None
        try:
            for _ in range(_MOST_PAGES):
                page = await self._bot.store.posted.page(before, _REPLIES)
                ids |= {one.channel_id: None for one in page.messages if one.guild_id == DIRECT_MESSAGES}
                before = page.last
                if before is None or len(ids) >= MOST_DIRECT:
                    break
        except StorageError as exc:
            log.warning("direct messages are not read back (%s)", type(exc).__name__)
        found: list[Any] = []
        for channel_id in list(ids)[:MOST_DIRECT]:
            try:
                found.append(await self._bot.fetch_channel(channel_id))
            except (discord.HTTPException, discord.InvalidData) as exc:
                log.warning("direct messages with a member are not read back (%s)", type(exc).__name__)
        return found

    async def _look_in(self, channel: Any, now: datetime) -> None:
        """Read one channel back; runs in the conversation's turn, so nothing is posted there meanwhile."""
        try:
            async with self._requests:
                latest = [one async for one in channel.history(limit=PAGE)]
        except discord.HTTPException as exc:
            log.warning("a channel is not read back: Discord answered %s (code %s)", exc.status, exc.code)
            return
        page = [one for one in reversed(latest) if one.created_at > now - TOLD_WITHIN]
        if not page:
            return
        view = await self._bot.servers.of(who_wrote(page[0]).guild_id)
        for chunks in list(replies_in(page, me=self._bot.me))[-MOST_FINISHED:]:
            await self._finish(chunks, view.seeded_reactions)
        missed = missed_in(page, me=self._bot.me, chat_channels=self._bot.chat_channels_in(view))
        missed = [one for one in missed if one.id not in self._claims]
        answered = [one for one in missed if self._is_answered(one, now)][-MOST_ANSWERED:]
        await self._tell([one for one in missed if one not in answered], view)
        for message in answered:
            if await _is_still_here(message):
                await self._answer(message)
        if missed:
            log.info("%d missed messages in a channel, of which %d are answered", len(missed), len(answered))

    def _is_answered(self, message: discord.Message, now: datetime) -> bool:
        """Return whether a missed message is answered: it is young, or it gets help, never too late."""
        if message.created_at > now - ANSWERED_WITHIN:
            return True
        return self._bot.responder.help.found_in(words_of(message, me=self._bot.me)) is not None

    async def _tell(self, messages: Sequence[discord.Message], view: Any) -> None:
        """Give the latest of some missed prompts a word."""
        for message in reversed(messages):
            if not await _is_still_here(message) or not is_heard(self._bot, message, view):
                continue
            speak(self._bot.tongues.of(message))
            await say(message, tr(AWAY), nonce=f"{message.id:x}-away")
            break
        for message in messages:
            self._claims.claim(message.id)

    async def _finish(self, chunks: Sequence[discord.Message], emoji: Sequence[str]) -> None:
        """Record a reply that a crash left without its reactions, if it is not stored, and add them."""
        if any(reaction.me for chunk in chunks for reaction in chunk.reactions):
            return
        try:
            with self._bot.inbox.held(chunks[0].channel.id):
                if await self._record(chunks):
                    for chunk in chunks:
                        self._bot.inbox.marks.add(chunk.channel.id, chunk.id)
                    self._bot.inbox.missed()
        except StorageError as exc:
            log.warning("a found reply could not be recorded (%s)", type(exc).__name__)
        await seed_reactions(chunks[-1], emoji)

    async def _record(self, chunks: Sequence[discord.Message]) -> bool:
        """Record a found reply; False if it is stored, its prompt is gone, or its member had not agreed."""
        prompt = chunks[0].reference.resolved if chunks[0].reference is not None else None
        if not isinstance(prompt, discord.Message) or prompt.author.bot:
            return False
        if await self._bot.store.replies.of_message(chunks[0].id) is not None:
            return False
        who, now, age = who_wrote(prompt), self._bot.store.feedback.arrival(), _age_of(prompt)
        came = Arrival(now.at - age, now.monotonic_s - age.total_seconds(), prompt.created_at)
        if await self._bot.store.consent.bound(replace(who, came=came)) is None:
            return False
        context = Context(words_of(prompt, me=self._bot.me))
        text = "\n".join(chunk.content for chunk in chunks)
        decision = await self._bot.responder.decide_found(Prompt(who, context), text)
        place = place_of(chunks)
        return (
            await self._bot.responder.recorder.record(Who(who.guild_id, who.user_id), place, decision)
            is not None
        )


def may_answer_in(channel: Any) -> bool:
    """Return whether the bot may read back a channel and write there."""
    rights = channel.permissions_for(channel.guild.me)
    writes = rights.send_messages_in_threads if isinstance(channel, discord.Thread) else rights.send_messages
    return rights.view_channel and rights.read_message_history and writes


def missed_in(
    page: Sequence[discord.Message], *, me: int, chat_channels: Collection[int]
) -> list[discord.Message]:
    """Return the prompts without an answer or a note, oldest first.

    Args:
        page: The latest messages of a channel, oldest first.
        me: The bot's own user id.
        chat_channels: Ids of the channels in which every message is answered.
    """
    own = [one for one in page if one.author.id == me]
    away = everywhere((AWAY,))
    told = max((_answers(one) for one in own if one.content in away), default=0)
    replied = {_answers(one) for one in own if not is_note(one)}
    last = {one.author.id: one.id for one in page if one.id in replied}
    noted = {_answers(one) for one in own}
    addressed = (one for one in page if is_addressed(one, me=me, chat_channels=chat_channels))
    after = ((one, max(told, last.get(one.author.id, 0))) for one in addressed)
    return [one for one, latest in after if one.id > latest and one.id not in noted]


def replies_in(page: Sequence[discord.Message], *, me: int) -> Iterator[list[discord.Message]]:
    """Yield the messages of each reply of the bot, without notes and answers to commands.

    Args:
        page: The latest messages of a channel, oldest first.
        me: The bot's own user id.
    """
    chunks: list[discord.Message] = []
    for message in page:
        own = message.author.id == me and message.interaction_metadata is None and not is_note(message)
        if own and message.reference is None and chunks:
            chunks.append(message)
            continue
        if chunks:
            yield chunks
        chunks = [message] if own and _answers(message) else []
    if chunks:
        yield chunks


async def _is_still_here(message: discord.Message) -> bool:
    """Return whether the author is still in the server. Reads their roles, which history does not hold."""
    if is_direct(message) or message.guild is None:
        return is_direct(message)
    try:
        message.author = await message.guild.fetch_member(message.author.id)
    except discord.HTTPException as exc:
        log.info("a missed message is passed over: Discord answered %s (code %s)", exc.status, exc.code)
        return False
    return True


def _answers(message: discord.Message) -> int:
    return parent_id_of(message) or 0


def _age_of(message: discord.Message) -> timedelta:
    return discord.utils.utcnow() - message.created_at


def _sent_at(message_id: int) -> datetime:
    return discord.utils.snowflake_time(message_id)
