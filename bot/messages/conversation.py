"""Which message is meant for the bot, what a person reads in it, and the bot's own short notes.

Pure functions of Discord's messages. :mod:`bot.messages.context_reader` reads a whole conversation with them.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import discord

from bot.identity import is_direct
from bot.languages import everywhere, mark
from bot.messages.attachments import NO_FILES, NO_PICTURES

EMPTY = mark("You called? Write something after my name and I will answer.")
UNREADABLE = mark(
    "I can only read replies that mention me here. Please leave the @ switched on when you reply to me."
)
BUSY = mark("One moment, please: I am still answering earlier messages. Please try again in a minute.")
UNAVAILABLE = mark("My language model is not responding right now. Please try again in a few minutes.")
STOPPING = mark(
    "I am being switched off, so I cannot finish this answer. Please ask me again when I am back."
)
ONLY_THOUGHTS = mark(
    "I thought about this for too long and had no room left for an answer. Please ask again in simpler words."
)
SPEECHLESS = mark("I could not find a good answer to that. Could you ask in other words?")
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
NOTES = (
    EMPTY,
    UNREADABLE,
    BUSY,
    UNAVAILABLE,
    STOPPING,
    ONLY_THOUGHTS,
    SPEECHLESS,
    FAILED,
    MESSAGES_USED_UP,
    TOKENS_USED_UP,
    SERVER_MESSAGES_USED_UP,
    SERVER_TOKENS_USED_UP,
    NO_PICTURES,
    NO_FILES,
)
"""The bot's own notes. They are no turns of a conversation and never reach the language model."""

_ANY_NOTE = re.compile(
    "|".join(re.sub(r"\\{\w+\\}", ".{1,40}", re.escape(note)) for note in sorted(everywhere(NOTES)))
)

_ANSWERABLE = (discord.MessageType.default, discord.MessageType.reply)


def is_note(text: str) -> bool:
    """Return whether a message is one of :data:`NOTES`, in any language and with any values filled in."""
    return _ANY_NOTE.fullmatch(text) is not None


def is_addressed(message: discord.Message, *, me: int, chat_channels: Collection[int]) -> bool:
    """Return whether a message is for the bot: a DM, a mention, a reply to the bot, or in a chat channel.

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
    if any(user.id == me for user in message.mentions):
        return True
    if _replies_to(message, me):
        return True
    parent_id = getattr(message.channel, "parent_id", None)
    return message.channel.id in chat_channels or parent_id in chat_channels


def text_of(message: discord.Message, *, me: int) -> str:
    """Return the text as people read it: mentions become names, the mention of the bot is removed."""
    names = {user.id: f"@{user.display_name}" for user in message.mentions} | {me: ""}
    # A function replaces, because a template would interpret a backslash in a name.
    readable = re.sub(r"<@!?(\d+)>", lambda call: names.get(int(call[1]), call[0]), message.content)
    return re.sub(r"[ \t]{2,}", " ", readable).strip()


def _replies_to(message: discord.Message, user_id: int) -> bool:
    reference = message.reference
    if reference is None or reference.type is not discord.MessageReferenceType.reply:
        return False  # a forward is no reply
    target = reference.resolved or reference.cached_message
    return isinstance(target, discord.Message) and target.author.id == user_id


def parent_id_of(message: discord.Message) -> int | None:
    """Return the id of the message in the same channel that this one replies to, else None."""
    reference = message.reference
    if reference is None or reference.type is not discord.MessageReferenceType.reply:
        return None
    return reference.message_id if reference.channel_id == message.channel.id else None
