"""Streaming: a chosen draft is posted, then grown to the whole reply by edits.

Only a candidate that was ranked and chosen is shown, and each text that is shown has passed the output filter
as a whole. Edits are at least :data:`EDIT_EVERY_S` apart. The asker can stop the reply; the text shown then
is the reply. The recorded text is the one that Discord shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager

import discord

from bot.generation import GeneratorError
from bot.messages.posting import SILENT, nonce_of
from bot.messages.splitting import split_message

log = logging.getLogger(__name__)

EDIT_EVERY_S = 1.0
"""Least time between two requests that show a growing reply, seconds."""


class Streams:
    """The replies that are growing, by the id of the message they answer, and how to stop them.

    Attributes:
        every_s: Least time between two edits, seconds.
    """

    def __init__(self, every_s: float = EDIT_EVERY_S) -> None:
        self.every_s = every_s
        self._running: dict[int, asyncio.Event] = {}
        self._closed = False

    @contextmanager
    def running(self, prompt_id: int) -> Iterator[asyncio.Event]:
        """Register a reply while the body runs; yields the event that stops it."""
        stopped = self._running[prompt_id] = asyncio.Event()
        if self._closed:
            stopped.set()
        try:
            yield stopped
        finally:
            del self._running[prompt_id]

    def stop(self, prompt_id: int) -> bool:
        """Stop the reply to this message; False when none is growing."""
        stopped = self._running.get(prompt_id)
        if stopped is not None:
            stopped.set()
        return stopped is not None

    def stop_all(self) -> None:
        """Stop every reply, also later ones, because the bot closes."""
        self._closed = True
        for stopped in self._running.values():
            stopped.set()


class Pace:
    """Throttles requests.

    Args:
        every_s: Least time between two requests, seconds.
        clock: Monotonic clock, seconds.
        sleep: Waits for a number of seconds.
    """

    def __init__(
        self,
        every_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._every_s, self._clock, self._sleep = every_s, clock, sleep
        self._last = clock()

    async def turn(self) -> None:
        """Wait until the next request may be made."""
        wait_s = self._last + self._every_s - self._clock()
        if wait_s > 0:
            await self._sleep(wait_s)
        self._last = self._clock()


class GrowingReply:
    """The messages of one reply while its text grows.

    Args:
        prompt: The message to answer.
        posted: The messages of the draft.
        text: The text of the draft.
        view: The buttons under the last message.
        pace: Throttles the requests.

    Attributes:
        text: The text that Discord shows.
        messages: The messages that show it.
    """

    def __init__(
        self,
        prompt: discord.Message,
        posted: Sequence[discord.Message],
        text: str,
        *,
        view: discord.ui.View | None,
        pace: Pace,
    ) -> None:
        self._prompt, self._pace = prompt, pace
        self.messages = list(posted)
        self.text = text
        no_views: list[discord.ui.View | None] = [None] * (len(posted) - 1)
        self._shown = list(zip(split_message(text), [*no_views, view], strict=False))

    async def show(self, text: str, view: discord.ui.View | None) -> None:
        """Show a longer text, split again, with ``view`` under the last message; only changes are sent.

        Raises:
            discord.HTTPException: Discord refused a step; :attr:`text` is still the earlier one.
        """
        chunks = await asyncio.to_thread(split_message, text)
        for index, chunk in enumerate(chunks):
            wanted = (chunk, view if index == len(chunks) - 1 else None)
            if index >= len(self.messages):
                await self._pace.turn()
                self.messages.append(await self._send(index, *wanted))
                self._shown.append(wanted)
            elif self._shown[index] != wanted:
                await self._pace.turn()
                await self.messages[index].edit(content=chunk, view=wanted[1], allowed_mentions=SILENT)
                self._shown[index] = wanted
        while len(self.messages) > len(chunks):  # cleaning removed text that was shown before
            await self._pace.turn()
            await self.messages.pop().delete()
            self._shown.pop()
        self.text = text

    async def _send(self, index: int, chunk: str, view: discord.ui.View | None) -> discord.Message:
        options = {"allowed_mentions": SILENT, "nonce": nonce_of(self._prompt.id, index)}
        if view is not None:
            options["view"] = view
        return await self._prompt.channel.send(chunk, **options)


async def grow(
    reply: GrowingReply,
    texts: AsyncGenerator[str],
    *,
    stopped: asyncio.Event,
    stop_view: discord.ui.View,
    unwanted: Callable[[], Awaitable[bool]],
    every_s: float = EDIT_EVERY_S,
) -> None:
    """Show the growing reply until it is complete or stopped.

    The model is read as fast as it writes; each edit shows the latest text. Closes ``texts``.

    Args:
        reply: The posted draft.
        texts: Longer and longer texts, each of which may be shown.
        stopped: Set to end the reply with the text that is shown.
        stop_view: The Stop button.
        unwanted: Called before each edit; True ends the reply with the text that is shown.
        every_s: Longest wait between two looks at the text, seconds.
    """
    latest = _Latest(reply.text)
    reading = asyncio.create_task(latest.read(texts))
    halt = asyncio.create_task(stopped.wait())
    try:
        while not stopped.is_set() and not await unwanted():
            finished = reading.done()
            if latest.text != reply.text:
                await reply.show(latest.text, stop_view)
            if finished:
                break
            await asyncio.wait({reading, halt}, timeout=every_s, return_when=asyncio.FIRST_COMPLETED)
    except discord.HTTPException as exc:
        log.warning("a growing reply stopped: Discord answered %s (code %s)", exc.status, exc.code)
    finally:
        for task in (reading, halt):
            task.cancel()
        await asyncio.gather(reading, halt, return_exceptions=True)
    if reading.done() and not reading.cancelled():
        reading.result()


async def finish(reply: GrowingReply, view: discord.ui.View | None) -> None:
    """Replace the Stop button by ``view``."""
    with contextlib.suppress(discord.NotFound):  # deleted meanwhile
        try:
            await reply.show(reply.text, view)
        except discord.NotFound:
            raise
        except discord.HTTPException as exc:
            log.warning("a Stop button could not be removed: Discord answered %s", exc.status)


class _Latest:
    """The newest text of a continuation."""

    def __init__(self, text: str) -> None:
        self.text = text

    async def read(self, texts: AsyncGenerator[str]) -> None:
        """Read texts to the end; if the model fails, the latest text stays."""
        async with aclosing(texts):
            try:
                async for text in texts:
                    self.text = text
            except GeneratorError as exc:
                log.warning("a reply could not be finished: %s", exc)
