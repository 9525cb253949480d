"""Discord messages -> :class:`~bot.generation.Context`: which message is meant for the bot, what led to it.

Everything here is read back from Discord when it is needed and lives in memory only; nothing is stored. A
conversation is a reply chain, or else the recent turns between people and the bot in one channel; it never
crosses channels, so never servers.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta

import discord

from bot.generation import Context, Turn
from bot.identity import is_direct
from bot.languages import everywhere, mark
from bot.messages.attachments import NO_FILES, NO_PICTURES, TEXT_BYTES, Attached, joined, read_texts

log = logging.getLogger(__name__)

EMPTY = mark("You called? Write something after my name and I will answer.")
UNREADABLE = mark(
    "I can only read replies that mention me here. Please leave the @ switched on when you reply to me."
)
BUSY = mark("One moment, please: I am still answering earlier messages. Please try again in a minute.")
UNAVAILABLE = mark("My language model is not responding right now. Please try again in a few minutes.")
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
    SPEECHLESS,
    FAILED,
    MESSAGES_USED_UP,
    TOKENS_USED_UP,
    SERVER_MESSAGES_USED_UP,
    SERVER_TOKENS_USED_UP,
    NO_PICTURES,
    NO_FILES,
)
"""What the bot says on its own account: no turn of a conversation, never shown to the language model."""

_ANY_NOTE = re.compile(
    "|".join(re.sub(r"\\{\w+\\}", ".{1,40}", re.escape(note)) for note in sorted(everywhere(NOTES)))
)

_ANSWERABLE = (discord.MessageType.default, discord.MessageType.reply)


def is_note(text: str) -> bool:
    """Whether a message is one of :data:`NOTES`, in any language, whatever stands in its places."""
    return _ANY_NOTE.fullmatch(text) is not None


def is_addressed(message: discord.Message, *, me: int, chat_channels: Collection[int]) -> bool:
    """Tell whether ``message`` wants an answer: a DM, a mention, a reply to the bot, or a chat channel.

    Args:
        message: Any message the gateway delivered.
        me: The bot's own user id.
        chat_channels: Channels in which every message is answered; their threads inherit.
    """
    if message.author.bot or message.webhook_id is not None or message.type not in _ANSWERABLE:
        return False
    if is_direct(message):
        return True
    if message.guild is None:  # a server that Discord has not told us about yet
        return False
    if any(user.id == me for user in message.mentions):
        return True
    if _replies_to(message, me):
        return True
    parent_id = getattr(message.channel, "parent_id", None)
    return message.channel.id in chat_channels or parent_id in chat_channels


async def context_of(
    message: discord.Message,
    attached: Attached,
    *,
    me: int,
    chat_channels: Collection[int],
    n_turns: int,
    minutes: int,
    heard: Callable[[discord.Message], bool] = lambda _: True,
    more: Sequence[discord.Message] = (),
) -> Context:
    """Read back what led to ``message``: its reply chain, or else the recent turns of its channel.

    Missing permissions and deleted messages shorten the context; they never fail it.

    Args:
        message: The message to answer.
        attached: What was read of its attachments, and of those of ``more``. Text files of earlier messages
            are read too, the latest first, as far as :data:`~bot.messages.attachments.TEXT_BYTES` go.
        me: The bot's own user id.
        chat_channels: See :func:`is_addressed`.
        n_turns: Longest context, messages.
        minutes: Age up to which channel messages belong to the same conversation, minutes.
        heard: Whether the bot listens to who wrote a message; the recent turns of others are left out.
        more: Further messages of the same author that are answered together with it, in order.
    """
    try:
        if parent_id_of(message) is not None:
            earlier = await _reply_chain(message, n_turns)
        else:
            found = await _recent(message, me, chat_channels, n_turns, minutes)
            earlier = [part for part in found if part.author.id == me or heard(part)]
    except discord.HTTPException as exc:
        log.warning("context shortened: Discord answered %s (code %s)", exc.status, exc.code)
        earlier = []
    files = await _files_of(earlier, me, TEXT_BYTES - len(attached.text.encode()))
    turns: list[Turn] = []
    for part in earlier:
        text = joined(text_of(part, me=me), files.get(part.id, ""))
        role = "assistant" if part.author.id == me else "user"
        if not text or (role == "assistant" and is_note(text)):
            continue
        if turns and turns[-1].role == role == "assistant":  # the chunks of one long reply
            turns[-1] = Turn(role, f"{turns[-1].text}\n{text}")
        else:
            turns.append(Turn(role, text))
    texts = [text_of(part, me=me) for part in (message, *more)]
    words = joined("\n".join(text for text in texts if text), attached.text)
    return Context(words, tuple(turns), attached.pictures)


def text_of(message: discord.Message, *, me: int) -> str:
    """Return what a person reads in ``message``: mentions as names, the call to the bot removed."""
    names = {user.id: f"@{user.display_name}" for user in message.mentions} | {me: ""}
    # A function as replacement: a name may hold a backslash, which a template would read as its own.
    readable = re.sub(r"<@!?(\d+)>", lambda call: names.get(int(call[1]), call[0]), message.content)
    return re.sub(r"[ \t]{2,}", " ", readable).strip()


async def _files_of(earlier: Sequence[discord.Message], me: int, room: int) -> dict[int, str]:
    """The text files of earlier messages by people, by message, the latest first, within ``room`` bytes."""
    found: dict[int, str] = {}
    for message in reversed(earlier):
        if message.attachments and message.author.id != me:
            found[message.id], _ = await read_texts(message.attachments, room)
            room -= len(found[message.id].encode())
    return found


def _replies_to(message: discord.Message, user_id: int) -> bool:
    reference = message.reference
    if reference is None or reference.type is not discord.MessageReferenceType.reply:
        return False  # a forward is no reply
    target = reference.resolved or reference.cached_message
    return isinstance(target, discord.Message) and target.author.id == user_id


def parent_id_of(message: discord.Message) -> int | None:
    """The message of the same channel that this one replies to."""
    reference = message.reference
    if reference is None or reference.type is not discord.MessageReferenceType.reply:
        return None
    return reference.message_id if reference.channel_id == message.channel.id else None


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


async def _recent(
    message: discord.Message, me: int, chat_channels: Collection[int], n_turns: int, minutes: int
) -> list[discord.Message]:
    """The latest messages of the channel that were the bot's or meant for it; oldest first."""
    if n_turns == 0:
        return []
    after = message.created_at - timedelta(minutes=minutes)
    found: list[discord.Message] = []
    async for earlier in message.channel.history(limit=4 * n_turns, before=message):
        if earlier.created_at < after or len(found) == n_turns:
            break
        if earlier.author.id == me or is_addressed(earlier, me=me, chat_channels=chat_channels):
            found.append(earlier)
    return found[::-1]
