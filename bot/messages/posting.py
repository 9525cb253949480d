"""Posts a decided text as Discord messages: split, without pings, never twice.

Each chunk carries a nonce made from the prompt's message id, which Discord enforces: a chunk that is sent
again within minutes does not become a second message.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import discord

from bot.messages.splitting import split_message
from storage.records import Place

log = logging.getLogger(__name__)

SILENT = discord.AllowedMentions.none()
"""No send and no edit of this bot ever pings anyone."""


class AnsweredBefore(Exception):
    """Discord returned an earlier message for the nonce: another process of the bot has answered."""


async def post_reply(
    prompt: discord.Message, text: str, *, view: discord.ui.View | None = None, asked_by: int | None = None
) -> list[discord.Message]:
    """Post a text as the reply to a prompt, in as many chunks as it needs.

    If the prompt has been deleted, the chunks are sent to its channel.

    Args:
        prompt: The message to answer.
        text: Any length, not blank.
        view: Buttons under the last chunk.
        asked_by: Id of the interaction that asks for this reply; None: the prompt itself asks.

    Returns:
        The messages, one for each chunk that could be posted.

    Raises:
        discord.HTTPException: The first chunk could not be posted.
        AnsweredBefore: The prompt has a reply with another text already.
    """
    chunks = await asyncio.to_thread(split_message, text)  # a hostile long text takes 100 ms
    prompt_id = asked_by or prompt.id
    posted: list[discord.Message] = []
    for index, chunk in enumerate(chunks):
        options = {"allowed_mentions": SILENT, "nonce": nonce_of(prompt_id, index)}
        if view is not None and index == len(chunks) - 1:
            options["view"] = view
        try:
            if index == 0:
                posted.append(await _reply_or_send(prompt, chunk, options))
            else:
                posted.append(await prompt.channel.send(chunk, **options))
        except discord.HTTPException as exc:
            if not posted:
                raise
            log.warning("%d of %d chunks posted: Discord answered %s", index, len(chunks), exc.status)
            break
        if not _says(posted[-1], chunk):
            raise AnsweredBefore
    return posted


def place_of(messages: Sequence[discord.Message]) -> Place:
    """Return the place of a posted reply."""
    return Place(messages[0].channel.id, tuple(message.id for message in messages))


def nonce_of(prompt_id: int, index: int) -> str:
    """Return the nonce by which Discord recognises a repeated send of the same chunk."""
    return f"{prompt_id:x}-{index}"


async def say(prompt: discord.Message, text: str) -> None:
    """Answer a message with one of the bot's notes, which nothing is learnt from.

    A note is sent as a silent message, a reply never is. By this flag, which Discord keeps and nobody can
    change, :func:`bot.messages.conversation.is_note` recognises it in any wording and language.

    Does nothing in a channel where the bot may not write.
    """
    try:
        await _reply_or_send(prompt, text, {"allowed_mentions": SILENT, "silent": True})
    except discord.HTTPException as exc:
        log.warning("a note could not be posted: Discord answered %s (code %s)", exc.status, exc.code)


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


async def _reply_or_send(prompt: discord.Message, text: str, options: dict) -> discord.Message:
    try:
        return await prompt.reply(text, mention_author=False, **options)
    except discord.HTTPException as exc:
        if isinstance(exc, discord.Forbidden) or exc.code not in _PARENT_GONE:
            raise
        return await prompt.channel.send(text, **options)


def _says(message: discord.Message, text: str) -> bool:
    """Return whether a message has this text; Discord trims white space."""
    return message.content.split() == text.split()


_PARENT_GONE = (10008, 50035)
"""Error codes of Discord for a deleted referenced message: unknown message, invalid form body."""
