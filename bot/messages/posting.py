"""Posts a decided text as Discord messages: split, without pings, never twice.

Each chunk carries a nonce made from the prompt's message id, which Discord enforces: a chunk that is sent
again within minutes does not become a second message.
"""

from __future__ import annotations

import asyncio
import logging
import re
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import discord

from bot.messages.markdown import IGNORABLE
from bot.messages.splitting import split_message
from storage.records import Place
from storage.wording import counted

log = logging.getLogger(__name__)

Message = discord.Message | discord.PartialMessage

SILENT = discord.AllowedMentions.none()
"""No send and no edit of this bot ever pings anyone."""

AUTOMOD = (200000, 200001, 240000)
"""Error codes of Discord for a text that the rules of the server forbid: AutoMod, harmful links."""
LONGEST_WAIT_S = 60.0
"""Longest wait that Discord may ask for before a message is sent again, seconds."""
_WAIT_S = 2.0
"""Wait where Discord asks for none, seconds."""
_MOST_TRIES = 3
_NOT_NOW = (20016, 20028)
"""Error codes of Discord for slow mode and for too many messages in a channel."""
_NO_REPLY = (50035, 160002)
"""Error codes of Discord for a reply that is not possible where a message is: the reference is invalid, or
the bot may not read the message history."""
_GONE = 10008
"""Error code of Discord for an unknown message; for a reference it says so in words."""
_CUSTOM_EMOJI = re.compile(r"<a?(:\w{2,32}:)\d{1,20}>")
_NOT_SHOWN = re.compile(rf"[\s\x00-\x1f\x7f{IGNORABLE}]")


class AutoModRefused(Exception):
    """A rule of the server forbids the text; post another one. Nothing of this one is left.

    Attributes:
        n_deleted: Chunks that had been posted before.
    """

    def __init__(self, n_deleted: int) -> None:
        super().__init__(f"AutoMod refused a text after {counted(n_deleted, 'chunk')}")
        self.n_deleted = n_deleted


class PromptGone(Exception):
    """The message to answer was deleted, so nothing was posted."""


class AnsweredBefore(Exception):
    """Discord returned an earlier message for the nonce: another process of the bot has answered."""


async def post_reply(
    prompt: discord.Message,
    text: str,
    *,
    view: discord.ui.View | None = None,
    asked_by: int | None = None,
    n_deleted: int = 0,
) -> list[discord.Message]:
    """Post a text as the reply to a prompt, in as many chunks as it needs.

    If the bot may not read the history of the channel, the chunks are sent to it without a reference. Waits
    as long as Discord asks for, at most :data:`LONGEST_WAIT_S`.

    Args:
        prompt: The message to answer.
        text: Any length, not blank.
        view: Buttons under the last chunk.
        asked_by: Id of the interaction that asks for this reply; None: the prompt itself asks.
        n_deleted: Chunks of earlier texts that were posted and deleted; they used up their nonces.

    Returns:
        The messages, one for each chunk that could be posted.

    Raises:
        discord.HTTPException: The first chunk could not be posted.
        AutoModRefused: A rule of the server forbids the text.
        PromptGone: The prompt was deleted.
        AnsweredBefore: The prompt has a reply with another text already.
    """
    chunks = await asyncio.to_thread(split_message, text)  # a hostile long text takes 100 ms
    prompt_id = asked_by or prompt.id
    posted: list[discord.Message] = []
    for index, chunk in enumerate(chunks):
        options = {"allowed_mentions": SILENT, "nonce": nonce_of(prompt_id, n_deleted + index)}
        if view is not None and index == len(chunks) - 1:
            options["view"] = view
        send = _reply_or_send if index == 0 else _send
        try:
            posted.append(await _patiently(partial(send, prompt, chunk, options)))
        except discord.HTTPException as exc:
            if exc.code in AUTOMOD:
                await _delete(posted)
                raise AutoModRefused(len(posted)) from exc
            if not posted:
                raise
            log.warning("%d of %d chunks posted: Discord answered %s", index, len(chunks), exc.status)
            break
        if index == 0 and not _says(posted[0], chunk):
            raise AnsweredBefore
    return posted


def place_of(messages: Sequence[discord.Message]) -> Place:
    """Return the place of a posted reply."""
    return Place(messages[0].channel.id, tuple(message.id for message in messages))


def nonce_of(prompt_id: int, index: int) -> str:
    """Return the nonce by which Discord recognises a repeated send of the same chunk."""
    return f"{prompt_id:x}-{index}"


async def say(
    prompt: Message, text: str, *, nonce: str | None = None, anyway: bool = False, **more: Any
) -> bool:
    """Answer a message with one of the bot's notes, which nothing is learnt from.

    A note is sent as a silent message, a reply never is. By this flag, which Discord keeps and nobody can
    change, :func:`bot.messages.conversation.is_note` recognises it in any wording and language.

    Does nothing in a channel where the bot may not write, and for a message that was deleted. Returns whether
    the note was posted.

    Args:
        prompt: The message, or its place.
        text: The note, in the member's language.
        nonce: By it Discord recognises a note that another process of the bot sends, too.
        anyway: Whether the note is posted in the channel although the message was deleted.
        more: Further arguments of discord.py, such as a view.
    """
    options = {"allowed_mentions": SILENT, "silent": True}
    if nonce is not None:
        options["nonce"] = nonce
    try:
        try:
            await _reply_or_send(prompt, text, {**options, **more})
        except PromptGone:
            if not anyway:
                log.info("a note was not posted, because its message was deleted")
                return False
            await _send(prompt, text, {**options, **more})
    except discord.HTTPException as exc:
        log.warning("a note could not be posted: Discord answered %s (code %s)", exc.status, exc.code)
        return False
    return True


@asynccontextmanager
async def typing_in(channel: discord.abc.Messageable) -> AsyncIterator[None]:
    """Show "is typing" while the body runs. A failure is logged and does not stop the body."""
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(channel.typing())
        except discord.HTTPException as exc:
            log.warning("typing is not shown: Discord answered %s (code %s)", exc.status, exc.code)
        yield


async def seed_reactions(message: discord.Message, emoji: Sequence[str]) -> None:
    """Add reactions for people to click; stops at the first that Discord refuses."""
    for one in emoji:
        try:
            await message.add_reaction(one)
        except discord.HTTPException as exc:
            log.warning("a reaction could not be added: Discord answered %s (code %s)", exc.status, exc.code)
            return


async def _reply_or_send(prompt: Message, text: str, options: dict) -> discord.Message:
    try:
        return await prompt.reply(text, mention_author=False, **options)
    except discord.HTTPException as exc:
        if exc.code == _GONE or (exc.code == 50035 and "Unknown message" in exc.text):
            raise PromptGone from exc
        if exc.code not in _NO_REPLY:
            raise
        return await _send(prompt, text, options)


async def _send(prompt: Message, text: str, options: dict) -> discord.Message:
    return await prompt.channel.send(text, **options)


async def _delete(messages: Sequence[discord.Message]) -> None:
    for message in messages:
        try:
            await message.delete()
        except discord.HTTPException as exc:
            log.warning("a chunk could not be deleted: Discord answered %s (code %s)", exc.status, exc.code)


async def _patiently(send: Callable[[], Awaitable[discord.Message]]) -> discord.Message:
    """Send a message; where Discord says that it is too early, wait and send again.

    Raises:
        discord.HTTPException: Discord refused, or asks for a longer wait.
    """
    for n_left in reversed(range(_MOST_TRIES)):
        try:
            return await send()
        except discord.HTTPException as exc:
            wait_s = _wait_s(exc) if exc.status == 429 or exc.code in _NOT_NOW else None
            if not n_left or wait_s is None or wait_s > LONGEST_WAIT_S:
                raise
            log.info("a message waits %.1f s, because Discord answered %s", wait_s, exc.status)
            await asyncio.sleep(wait_s)
    raise AssertionError("the last try returns or raises")


def _wait_s(exc: discord.HTTPException) -> float:
    """Return how long Discord asks to wait, seconds."""
    try:
        return float(exc.response.headers["Retry-After"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return _WAIT_S


def _says(message: discord.Message, text: str) -> bool:
    """Return whether a message has this text, as Discord may rewrite it.

    Discord trims white space, drops signs that are not shown, and writes an emoji that the bot may not use as
    ``:name:``.
    """
    return _as_shown(message.content) == _as_shown(text)


def _as_shown(text: str) -> str:
    return _NOT_SHOWN.sub("", unicodedata.normalize("NFC", _CUSTOM_EMOJI.sub(r"\1", text)))
