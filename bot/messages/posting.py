"""One decided text -> Discord messages: split, never pinging, never doubled.

Each chunk carries a nonce made from the prompt's message id, which Discord enforces: the same chunk sent
twice within minutes is one message.
"""

from __future__ import annotations

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
    """Discord gave back an earlier message for our nonce: another run of the bot, cut short, has answered."""


async def post_reply(
    prompt: discord.Message, text: str, *, view: discord.ui.View | None = None, asked_by: int | None = None
) -> list[discord.Message]:
    """Post ``text`` as the reply to ``prompt``, in as many chunks as it needs.

    When the prompt is gone by now, the reply stands alone in the channel.

    Args:
        prompt: The message that is answered.
        text: Any length, not blank.
        view: Buttons under the last chunk.
        asked_by: Discord id of what asks for this reply; None: the prompt's own.

    Returns:
        The messages, one for each chunk that could be posted.

    Raises:
        discord.HTTPException: Not even the first chunk could be posted.
        AnsweredBefore: This prompt has a reply already, in other words.
    """
    chunks = split_message(text)
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
    """Where a posted reply stands."""
    return Place(messages[0].channel.id, tuple(message.id for message in messages))


def nonce_of(prompt_id: int, index: int) -> str:
    """By what Discord knows one chunk of the reply to a message again."""
    return f"{prompt_id:x}-{index}"


async def say(prompt: discord.Message, text: str) -> None:
    """Answer ``prompt`` with a short note of the bot's own, which is no reply to learn from.

    A channel where the bot may not speak stays silent.
    """
    try:
        await _reply_or_send(prompt, text, {"allowed_mentions": SILENT})
    except discord.HTTPException as exc:
        log.warning("a note could not be posted: Discord answered %s (code %s)", exc.status, exc.code)


@asynccontextmanager
async def typing_in(channel: discord.abc.Messageable) -> AsyncIterator[None]:
    """Show "is typing" while the body runs, where Discord allows it; an answer never fails for want of it."""
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(channel.typing())
        except discord.HTTPException as exc:
            log.warning("typing is not shown: Discord answered %s (code %s)", exc.status, exc.code)
        yield


async def seed_reactions(message: discord.Message, emoji: Sequence[str]) -> None:
    """Put ``emoji`` under ``message`` for people to click; a missing permission only leaves them out."""
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
    """Whether a message is this text, blanks aside, which Discord trims."""
    return message.content.split() == text.split()


_PARENT_GONE = (10008, 50035)
"""Unknown message, and invalid form body: what Discord answers when a referenced message is gone."""
