"""Which message is meant for the bot, and the bot's own short notes.

Pure functions of Discord's messages. :mod:`bot.messages.context_reader` reads a whole conversation with them.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import timedelta

import discord

from bot.identity import is_direct
from bot.languages import everywhere, mark
from bot.messages.attachments import NO_FILES, NO_PICTURES, NO_VOICE
from bot.messages.earlier_notes import EARLIER_LANGUAGES, EARLIER_NOTES
from bot.messages.words import links_in_quotes, mentions_own_role, without_quote

EMPTY = mark("You called? Write something after my name and I will answer.")
UNREADABLE = mark(
    "I can only read replies that mention me here. Please leave the @ switched on when you reply to me."
)
UNREADABLE_ROLE = mark("I can only read messages that mention me here. Please mention me, not my role.")
UNREADABLE_PARENT = mark(
    "I cannot read the message that you replied to. Please write your question after my name."
)
BUSY = mark("One moment, please: I am still answering earlier messages. Please try again in a minute.")
UNAVAILABLE = mark("My language model is not responding right now. Please try again in a few minutes.")
STOPPING = mark(
    "I am being switched off, so I cannot finish this answer. Please ask me again when I am back."
)
ONLY_THOUGHTS = mark(
    "I thought about this for too long and had no room left for an answer. Please ask again in simpler words."
)
AWAY = mark("I was away when you wrote this. If you still need an answer, please ask again.")
SPEECHLESS = mark("I could not find a good answer to that. Could you ask in other words?")
BLOCKED = mark("The AutoMod of this server blocked my answer. Please ask in other words.")
FAILED = mark(
    "Something went wrong on my side, so I have no answer. Please try again. The host of"
    " this bot can find the details in the log."
)
MESSAGES_USED_UP = mark(
    "You have reached your limit for today (messages: {limit}). I will answer you again {when}."
    " `/limits` shows what you have left."
)
TOKENS_USED_UP = mark(
    "You have reached your limit for today (tokens: {limit}). I will answer you again {when}."
    " `/limits` shows what you have left."
)
SERVER_MESSAGES_USED_UP = mark(
    "This server has reached its limit for today (messages: {limit}). I will answer here again {when}."
)
SERVER_TOKENS_USED_UP = mark(
    "This server has reached its limit for today (tokens: {limit}). I will answer here again {when}."
)
NOT_COUNTED = mark(
    "I do not learn from your reactions yet, because you have not agreed to it, so I recorded nothing. If you"
    " press *Learn what I like*, your next reactions count. I explain this only once."
)
NOTES = (
    EMPTY,
    UNREADABLE,
    UNREADABLE_ROLE,
    UNREADABLE_PARENT,
    BUSY,
    UNAVAILABLE,
    STOPPING,
    ONLY_THOUGHTS,
    AWAY,
    SPEECHLESS,
    BLOCKED,
    FAILED,
    MESSAGES_USED_UP,
    TOKENS_USED_UP,
    SERVER_MESSAGES_USED_UP,
    SERVER_TOKENS_USED_UP,
    NOT_COUNTED,
    NO_PICTURES,
    NO_FILES,
    NO_VOICE,
)
"""The bot's own notes. They are no turns of a conversation and never reach the language model."""

_OLD_NOTE = re.compile(
    "|".join(
        re.sub(r"\\{\w+\\}", ".{1,40}", re.escape(note))
        for note in sorted(everywhere(NOTES, EARLIER_LANGUAGES) | EARLIER_NOTES)
    )
)

COPIED_WITHIN = timedelta(seconds=15)
"""Longest time between a message and its copy by a proxy."""
MOST_TAGS = 100
"""Longest tags around the words that a proxy leaves out, characters."""

_ANSWERABLE = (discord.MessageType.default, discord.MessageType.reply)


def is_note(message: discord.Message) -> bool:
    """Return whether a message of the bot is a note, not a reply.

    :func:`bot.messages.posting.say` marks each note with Discord's flag for silent messages. Earlier notes
    are recognised by their words.
    """
    return message.flags.silent or reads_as_note(message.content)


def reads_as_note(text: str) -> bool:
    """Return whether a text is a note of any version up to 2026-11, in any language, with any values."""
    return _OLD_NOTE.fullmatch(text) is not None


def is_addressed(message: discord.Message, *, me: int, chat_channels: Collection[int]) -> bool:
    """Return whether a message is for the bot: a DM, a mention, a reply to the bot, or in a chat channel.

    A mention of the role that Discord manages for the bot counts as a mention of the bot.

    Args:
        message: Any message from the gateway.
        me: The bot's own user id.
        chat_channels: Channels in which every message is answered; their threads inherit.
    """
    if message.author.bot or message.webhook_id is not None or message.type not in _ANSWERABLE:
        return False
    if is_direct(message):
        return True
    if message.guild is None:  # a server whose data has not arrived yet
        return False
    if is_called(message, me=me) or replies_to(message, me):
        return True
    parent_id = getattr(message.channel, "parent_id", None)
    return message.channel.id in chat_channels or parent_id in chat_channels


def is_called(message: discord.Message, *, me: int) -> bool:
    """Return whether a message mentions the bot, or its own role."""
    return any(user.id == me for user in message.mentions) or mentions_own_role(message)


def repeats(copy: discord.Message, message: discord.Message) -> bool:
    """Return whether a webhook's message is the copy that a proxy such as PluralKit made of a message.

    Proxies post a member's message again under another name and delete it. They leave out the tags around the
    words, and may quote the message that it replied to above them.
    """
    if (
        copy.webhook_id is None
        or copy.interaction_metadata is not None
        or copy.channel.id != message.channel.id
    ):
        return False
    if abs(copy.created_at - message.created_at) > COPIED_WITHIN:
        return False
    said, written = without_quote(copy.content).split(), message.content.split()
    if said:
        shorter, longer = " ".join(said), " ".join(written)
        return shorter in longer and len(longer) - len(shorter) <= MOST_TAGS
    files = [one.filename for one in copy.attachments]
    return bool(files) and not copy.content and files == [one.filename for one in message.attachments]


def replies_to(message: discord.Message, user_id: int) -> bool:
    """Return whether a message is a reply to a message of this user."""
    reference = message.reference
    if reference is None or reference.type is not discord.MessageReferenceType.reply:
        return False  # a forward is no reply
    target = reference.resolved or reference.cached_message
    return isinstance(target, discord.Message) and target.author.id == user_id


def parent_id_of(message: discord.Message) -> int | None:
    """Return the id of the message in the same channel that this one replies to, else None.

    Webhooks cannot reply, so a proxy shows a link to the message, in an embed or in quoted lines.
    """
    if message.webhook_id is not None and (linked := links_in_quotes(message)):
        return linked[0]
    reference = message.reference
    if reference is None or reference.type is not discord.MessageReferenceType.reply:
        return None
    return reference.message_id if reference.channel_id == message.channel.id else None
