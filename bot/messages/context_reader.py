"""Discord messages -> :class:`~bot.generation.Context`: reads back what led to a prompt.

Everything is read from Discord when a prompt's turn has come, and lives in memory only; nothing is stored. A
conversation is a reply chain, or else the recent turns between people and the bot in one channel. It never
crosses channels, so it never crosses servers. The responder calls a reader through the protocol
:class:`~bot.generation.ContextReader`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

import discord

from bot.generation import Context, ContextReader, Turn, steadied
from bot.identity import who_wrote
from bot.languages import tr
from bot.messages.attachments import TEXT_BYTES, Attached, joined, read_attached, read_texts
from bot.messages.bursts import Burst
from bot.messages.conversation import (
    EMPTY,
    UNREADABLE_PARENT,
    is_addressed,
    is_note,
    parent_id_of,
    replies_to,
)
from bot.messages.posting import say
from bot.messages.queues import NotesGiven
from bot.messages.words import files_of, words_of
from bot.servers.access import may_talk, speaker_of
from bot.servers.server_settings import Guilds, GuildView
from bot.settings import BotSettings

log = logging.getLogger(__name__)


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
            NothingToRead: There are no words, and no attachment could be read.
        """
        messages = self._burst.begin()
        context, attached = await context_of(self._host, messages)
        if not context.message and not context.pictures:
            raise NothingToRead(tr(attached.note or _note_on_nothing(messages[0], self._host.me)))
        first = messages[0]
        this_hour = (first.channel.id, int(time.monotonic() // 3600))
        if attached.note and self._told.claim(who_wrote(first), this_hour):
            await say(messages[-1], tr(attached.note))
        return context


class MessageReader(ContextReader):
    """Reads the context of one message that was answered before.

    Args:
        host: The bot.
        message: The message to answer again.
    """

    def __init__(self, host: Host, message: discord.Message) -> None:
        self._host, self._message = host, message

    async def read(self) -> Context:
        """Read the context. The first answer already had a note on unread attachments.

        Raises:
            NothingToRead: The message has no words, and the one that it replies to is gone.
        """
        context, attached = await context_of(self._host, [self._message])
        if not context.message and not context.pictures:
            raise NothingToRead(tr(attached.note or _note_on_nothing(self._message, self._host.me)))
        return context


def is_heard(host: Host, message: discord.Message, view: GuildView) -> bool:
    """Return whether the access lists let the bot answer the author of a message, in its channel."""
    speaker = speaker_of(message, host.servers.name_of(who_wrote(message)))
    return all(may_talk(speaker, allow, deny) for allow, deny in view.access)


async def context_of(host: Host, messages: Sequence[discord.Message]) -> tuple[Context, Attached]:
    """Read the context of messages that get one answer.

    Missing permissions and deleted messages shorten the context; they never fail it. Text files of earlier
    messages are read too, the latest first, as far as :data:`~bot.messages.attachments.TEXT_BYTES` allow.
    If the messages only call the bot, the message that they reply to is the question.

    Args:
        host: The bot.
        messages: One or more messages of one author, oldest first.

    Returns:
        The context, and what was read of the attachments of ``messages``.
    """
    first, me = messages[0], host.me
    view = await host.servers.of(who_wrote(first).guild_id)
    earlier = steadied(await _earlier_than(host, first, view), host.settings.history_messages)
    if earlier and _only_calls(messages, me) and earlier[-1].author.id != me:
        messages, earlier = [earlier[-1]], earlier[:-1]
    files = [one for message in messages for one in files_of(message)]
    attached = await read_attached(files, vision=host.reads_pictures)
    earlier_files = await _files_of(earlier, me, TEXT_BYTES - len(attached.text.encode()))
    texts = [words_of(message, me=me) for message in messages]
    words = joined("\n".join(text for text in texts if text), attached.text)
    turns = _turns_of(earlier, earlier_files, me)
    own = {"persona": view.persona, "model": view.model, "name": name_in(first.guild, first.channel)}
    return Context(words, turns, attached.pictures, **own), attached


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
    """Return the reply chain of a message, else the recent turns of its channel; oldest first.

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
    current = message
    while len(chain) < n_turns:
        parent_id, reference = parent_id_of(current), current.reference
        if parent_id is None or reference is None:
            break
        target = reference.resolved or reference.cached_message
        if isinstance(target, discord.DeletedReferencedMessage):
            break
        if target is None:
            try:
                target = await message.channel.fetch_message(parent_id)
            except discord.NotFound:
                break
        chain.append(target)
        current = target
    return chain[::-1]


async def _recent(host: Host, message: discord.Message, view: GuildView) -> list[discord.Message]:
    """Return the channel's latest messages by the bot or addressed to it; oldest first."""
    n_turns, chat_channels = host.settings.history_messages, host.chat_channels_in(view)
    if n_turns == 0:
        return []
    after = message.created_at - timedelta(minutes=host.settings.history_minutes)
    found: list[discord.Message] = []
    async for earlier in message.channel.history(limit=4 * n_turns, before=message):
        if earlier.created_at < after or len(found) == n_turns:
            break
        if earlier.author.id == host.me or is_addressed(earlier, me=host.me, chat_channels=chat_channels):
            found.append(earlier)
    return found[::-1]


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


def _turns_of(earlier: Sequence[discord.Message], files: Mapping[int, str], me: int) -> tuple[Turn, ...]:
    """Turn earlier messages into turns, without the bot's notes; chunks of one reply become one turn."""
    turns: list[Turn] = []
    for message in earlier:
        text = joined(words_of(message, me=me), files.get(message.id, ""))
        role = "assistant" if message.author.id == me else "user"
        if not text or (role == "assistant" and is_note(message)):
            continue
        if turns and turns[-1].role == role == "assistant":
            turns[-1] = Turn(role, f"{turns[-1].text}\n{text}")
        else:
            turns.append(Turn(role, text))
    return tuple(turns)
