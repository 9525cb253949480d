"""Discord messages -> :class:`~bot.generation.Context`: reads back what led to a prompt.

Everything is read from Discord when a prompt's turn has come, and lives in memory only; nothing is stored. A
conversation is a reply chain, or else the recent turns between people and the bot in one channel. It never
crosses channels, so it never crosses servers. The responder calls a reader through the protocol
:class:`~bot.generation.ContextReader`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Protocol

import discord

from bot.generation import Context, ContextReader
from bot.generation.steady import steadied
from bot.identity import who_wrote
from bot.languages import tr
from bot.messages.attachments import TEXT_BYTES, Attached, joined, read_attached, read_texts
from bot.messages.bursts import Burst, Withdrawn, fetch_again, has_left
from bot.messages.conversation import (
    COPIED_WITHIN,
    EMPTY,
    UNREADABLE_PARENT,
    is_addressed,
    is_called,
    parent_id_of,
    replies_to,
)
from bot.messages.posting import say
from bot.messages.queues import NotesGiven
from bot.messages.turns import (
    beside_answers,
    copies_of_deleted,
    is_copy,
    names_in,
    since_pause,
    start_of_thread,
    turns_of,
    without_copies,
)
from bot.messages.words import files_of, words_of
from bot.servers.access import may_talk, speaker_of
from bot.servers.server_settings import Guilds, GuildView
from bot.settings import BotSettings

log = logging.getLogger(__name__)

PAUSES = 4
"""Longest pause within a conversation: this part of ``history_minutes``."""


class Host(Protocol):
    """The part of the bot that a reader needs."""

    @property
    def settings(self) -> BotSettings:
        """Section ``[bot]``, as it holds now."""
        ...

    @property
    def servers(self) -> Guilds:
        """Settings of each server."""
        ...

    @property
    def reads_pictures(self) -> bool:
        """Whether the language model is given pictures."""
        ...

    @property
    def cached_messages(self) -> Sequence[discord.Message]:
        """The latest messages from the gateway."""
        ...

    @property
    def me(self) -> int:
        """The bot's own user id."""
        ...

    def chat_channels_in(self, view: GuildView, /) -> Collection[int]:
        """Return the ids of the channels in which every message is answered."""
        ...


class NothingToRead(Exception):
    """The prompt has no words, and none of its attachments could be read; the text is for the member."""


class BurstReader(ContextReader):
    """Reads the context of a burst. From then on no message joins the burst.

    Args:
        host: The bot.
        burst: The messages to answer.
        told: Earlier notes on unread attachments, by channel and hour.
    """

    def __init__(self, host: Host, burst: Burst, told: NotesGiven) -> None:
        self._host, self._burst, self._told = host, burst, told

    async def read(self) -> Context:
        """Read the context. Post a note on unread attachments, at most once an hour in a channel.

        Raises:
            Withdrawn: The messages are gone, or are not for the bot any more, or their author has left.
            NothingToRead: There are no words, and no attachment could be read.
        """
        burst = self._burst
        if burst.is_doubtful:
            await fetch_again(burst)
        view = await self._host.servers.of(burst.who.guild_id)
        channels = self._host.chat_channels_in(view)
        burst.keep_addressed(lambda one: is_addressed(one, me=self._host.me, chat_channels=channels))
        if await has_left(burst):
            burst.end()
        messages = burst.begin()
        context, attached = await _context_of(self._host, burst)
        this_hour = (burst.channel.id, int(time.monotonic() // 3600))
        if attached.note and self._told.claim(burst.who, this_hour):
            await say(messages[-1], tr(attached.note))
        return context


class MessageReader(ContextReader):
    """Reads the context of a message that was answered before.

    Args:
        host: The bot.
        burst: The message to answer again.
    """

    def __init__(self, host: Host, burst: Burst) -> None:
        self._host, self._burst = host, burst

    async def read(self) -> Context:
        """Read the context. The first answer already had a note on unread attachments.

        Raises:
            Withdrawn: The message was deleted.
            NothingToRead: The message has no words, and the one that it replies to is gone.
        """
        return (await _context_of(self._host, self._burst))[0]


async def _context_of(host: Host, burst: Burst) -> tuple[Context, Attached]:
    """Return the context of a burst, and what was read of its attachments.

    Raises:
        Withdrawn: There is no message any more.
        NothingToRead: There are no words, and no attachment could be read.
    """
    if burst.is_withdrawn:
        raise Withdrawn
    context, attached = await context_of(host, burst.messages, burst.first)
    if not context.message and not context.pictures:
        raise NothingToRead(tr(attached.note or _note_on_nothing(burst.first, host.me)))
    return context, attached


def is_heard(host: Host, message: discord.Message, view: GuildView) -> bool:
    """Return whether the access lists let the bot answer the author of a message, in its channel."""
    speaker = speaker_of(message, host.servers.name_of(who_wrote(message)))
    return all(may_talk(speaker, allow, deny) for allow, deny in view.access)


async def context_of(
    host: Host, messages: Sequence[discord.Message], first: discord.Message | None = None
) -> tuple[Context, Attached]:
    """Read the context of messages that get one answer.

    Missing permissions and deleted messages shorten the context; they never fail it. Text files of earlier
    messages are read too, the latest first, as far as :data:`~bot.messages.attachments.TEXT_BYTES` allow.
    If the messages only call the bot, the message that they reply to is the question.

    Args:
        host: The bot.
        messages: One or more messages of one author as people see them, oldest first.
        first: The first one as its author wrote it, if a proxy posted a copy of it.

    Returns:
        The context, and what was read of the attachments of ``messages``.
    """
    first, me = first or messages[0], host.me
    view = await host.servers.of(who_wrote(first).guild_id)
    earlier = steadied(await _earlier_than(host, first, view), host.settings.history_messages)
    asker = first
    if earlier and _only_calls(messages, me) and earlier[-1].author.id != me:
        messages, earlier, asker = [earlier[-1]], earlier[:-1], earlier[-1]
    start = await _start_of(host, first, view)
    earlier = [one for one in earlier if start is None or one.id != start.id]
    files = [one for message in messages for one in files_of(message)]
    attached = await read_attached(files, vision=host.reads_pictures)
    earlier_files = await _files_of(earlier, me, TEXT_BYTES - len(attached.text.encode()))
    texts = [words_of(message, me=me) for message in messages]
    words = joined("\n".join(text for text in texts if text), attached.text)
    own = name_in(first.guild, first.channel)
    said = [*([start] if start else []), *earlier, asker]
    names = names_in(said, host.cached_messages, me=me, own=own)
    turns = turns_of(earlier, earlier_files, names, me=me)
    if isinstance(first.channel, discord.Thread) and (start is None or is_heard(host, start, view)):
        turns = (*start_of_thread(first.channel, start, names, me=me), *turns)
    speaker = names.get(asker.author.id, "")
    about = {"persona": view.persona, "model": view.model, "name": own, "speaker": speaker}
    return Context(words, turns, attached.pictures, **about), attached


def name_in(guild: discord.Guild | None, channel: object) -> str:
    """Return the bot's name as the members of a server see it, or its user name elsewhere; "": not known."""
    me = guild.me if guild is not None else getattr(channel, "me", None)
    return getattr(me, "display_name", "")


def _note_on_nothing(message: discord.Message, me: int) -> str:
    """Return the note on a message without words, in English."""
    return EMPTY if parent_id_of(message) is None or replies_to(message, me) else UNREADABLE_PARENT


def _only_calls(messages: Sequence[discord.Message], me: int) -> bool:
    """Return whether messages are a reply that holds nothing but the call of the bot."""
    asks = any(words_of(message, me=me) or files_of(message) for message in messages)
    return parent_id_of(messages[0]) is not None and not asks


async def _earlier_than(host: Host, message: discord.Message, view: GuildView) -> list[discord.Message]:
    """Return the reply chain of a message, else the recent turns of its channel; in the order of the turns.

    Recent turns of members whom the access lists exclude are left out.
    """
    try:
        if parent_id_of(message) is not None:
            bare = not words_of(message, me=host.me)
            return await _reply_chain(message, max(host.settings.history_messages, int(bare)))
        recent = await _recent(host, message, view)
    except discord.HTTPException as exc:
        log.warning("context shortened: Discord answered %s (code %s)", exc.status, exc.code)
        return []
    return [part for part in recent if part.author.id == host.me or is_heard(host, part, view)]


async def _reply_chain(message: discord.Message, n_turns: int) -> list[discord.Message]:
    """Follow the references upwards; oldest first."""
    chain: list[discord.Message] = []
    current: discord.Message | None = message
    while len(chain) < n_turns and (current := await _parent_of(current)) is not None:
        chain.append(current)
    return chain[::-1]


async def _parent_of(message: discord.Message) -> discord.Message | None:
    """Return what a message replies to, as it is now, or its copy by a proxy; None if it is gone.

    What Discord sends along with a reply is as old as the reply, so it is used only where the bot may not
    read the history.
    """
    parent_id, reference = parent_id_of(message), message.reference
    if parent_id is None:
        return None
    if reference is not None and reference.cached_message is not None:
        return reference.cached_message
    try:
        return await message.channel.fetch_message(parent_id)
    except discord.NotFound:
        return await _copy_of(message, parent_id)
    except discord.Forbidden:
        sent_along = None if reference is None else reference.resolved
        return sent_along if isinstance(sent_along, discord.Message) else None


async def _copy_of(answer: discord.Message, deleted_id: int) -> discord.Message | None:
    """Return the webhook message closest to a deleted one that was answered, within the time of a proxy."""
    if answer.guild is None:
        return None
    deleted = discord.Object(deleted_id)
    near = [one async for one in answer.channel.history(limit=20, after=deleted, oldest_first=True)]
    copies = [one for one in near if is_copy(one) and one.created_at - deleted.created_at <= COPIED_WITHIN]
    return copies[0] if copies else None


async def _recent(host: Host, message: discord.Message, view: GuildView) -> list[discord.Message]:
    """Return the latest messages by the bot or addressed to it, since the last pause in the conversation.

    A pause ends a conversation if it is longer than a quarter of the time that messages are remembered. A
    thread is one conversation.
    """
    n_turns, chat_channels = host.settings.history_messages, host.chat_channels_in(view)
    if n_turns == 0:
        return []
    age = timedelta(minutes=host.settings.history_minutes)
    page: list[discord.Message] = []
    async for earlier in message.channel.history(limit=4 * n_turns, before=message):
        if earlier.created_at < message.created_at - age:
            break
        page.append(earlier)
    copies = copies_of_deleted(page, me=host.me)
    found = [
        one
        for one in reversed(page)
        if one.author.id == host.me
        or one.id in copies.values()
        or is_addressed(one, me=host.me, chat_channels=chat_channels)
        or (is_copy(one) and is_called(one, me=host.me))
    ]
    if not isinstance(message.channel, discord.Thread):
        found = since_pause(found, message, age / PAUSES)
    return beside_answers(without_copies(found), copies, me=host.me)[-n_turns:]


async def _start_of(host: Host, first: discord.Message, view: GuildView) -> discord.Message | None:
    """Return the message that a thread began with; None outside of threads and where it cannot be read."""
    thread = first.channel
    if not isinstance(thread, discord.Thread) or thread.id == first.id:
        return None
    if thread.starter_message is not None:
        return thread.starter_message
    place = thread if isinstance(thread.parent, discord.ForumChannel) else thread.parent
    if not isinstance(place, discord.abc.Messageable):
        return None
    try:
        return await place.fetch_message(thread.id)
    except discord.HTTPException as exc:  # a thread without one, or one that was deleted
        log.info("a thread has no first message: Discord answered %s (code %s)", exc.status, exc.code)
        return None


async def _files_of(earlier: Sequence[discord.Message], me: int, room: int) -> dict[int, str]:
    """Read the text files of people's earlier messages, the latest first, within ``room`` bytes.

    Returns:
        Message id -> the text of its files.
    """
    found: dict[int, str] = {}
    for message in reversed(earlier):
        files = files_of(message)
        if files and message.author.id != me:
            found[message.id], _ = await read_texts(files, room)
            room -= len(found[message.id].encode())
    return found
