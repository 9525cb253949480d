"""Bursts: several quick messages of one member that get one answer, and what happens to them meanwhile.

Until the answer is begun, further messages join the burst. A message that is deleted while its answer waits
or is written is taken out, and an edited one gets its new words. The copy that a proxy such as PluralKit
posts by webhook takes the place of the message it repeats. :func:`follow` passes these events of the gateway
on, in their order. :mod:`bot.cogs.chat.chat` answers the bursts.
"""

from __future__ import annotations

import asyncio
import bisect
import itertools
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

import discord

from bot.identity import who_wrote
from bot.memory import Leaving
from bot.messages.conversation import parent_id_of, repeats
from bot.messages.words import without_quote

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_MESSAGES = 10
"""Further messages begin a new burst, so that no prompt grows without bound."""
MOST_EDITS = 2
"""Edits of a burst that start its answer anew; later ones leave the answer as it is."""
LOST_S = 5.0
"""Time in which the copy of a deleted message brings its burst back, seconds."""
MOST_LOST = 100
WAITED_S = 3.0
"""Wait after which the author may have left meanwhile, seconds."""


class Withdrawn(Exception):
    """The messages of a burst are gone, or are not for the bot any more: it gets no answer."""


class _Part:
    """One message of a burst: as its author wrote it, and its webhook copy, if any."""

    def __init__(self, message: discord.Message) -> None:
        self.written = message
        self.copy: discord.Message | None = None
        self.is_deleted = self.is_for_others = False

    @property
    def shown(self) -> discord.Message:
        """The message that people see."""
        return self.copy or self.written

    @property
    def is_there(self) -> bool:
        return (self.copy is not None or not self.is_deleted) and not self.is_for_others


class Burst:
    """Messages that get one answer, in the order of their ids, in which their author wrote them.

    Several events of the gateway are handled at once, so a message may join before an older one does.

    Args:
        first: The message that began it.

    Attributes:
        who: The member who wrote them.
        channel: Where they are.
        began: When the burst began, seconds of the monotonic clock.
        is_doubtful: Whether events may have been missed, so that the messages must be fetched again.
    """

    def __init__(self, first: discord.Message) -> None:
        self.who, self.channel, self.began = who_wrote(first), first.channel, time.monotonic()
        self.is_doubtful = False
        self._parts = [_Part(first)]
        self._begun = self._over = self._changed = False
        self._n_edits = 0
        self._work: asyncio.Task[Any] | None = None

    @property
    def first(self) -> discord.Message:
        """The first message, as its author wrote it; the context is read from here."""
        return (self._there or self._parts)[0].written

    @property
    def last(self) -> discord.Message:
        """The last message that people see; the answer is posted as a reply to it."""
        return (self._there or self._parts)[-1].shown

    @property
    def messages(self) -> tuple[discord.Message, ...]:
        """The messages that people see. Empty if the burst was withdrawn."""
        return tuple(part.shown for part in self._there)

    @property
    def is_withdrawn(self) -> bool:
        """Whether there is nothing to answer any more."""
        return not self._there

    @property
    def _there(self) -> list[_Part]:
        return [] if self._over else [part for part in self._parts if part.is_there]

    def join(self, message: discord.Message) -> bool:
        """Add a message; False when the answer has begun, the burst is full, or it replies elsewhere."""
        if self._begun or self.is_withdrawn or len(self._parts) == MOST_MESSAGES:
            return False
        older = [part.shown for part in self._there if part.written.id < message.id]
        newer = [part.written for part in self._there if part.written.id > message.id]
        if not all(itertools.starmap(_goes_on, itertools.pairwise([*older[-1:], message, *newer[:1]]))):
            return False
        bisect.insort(self._parts, _Part(message), key=lambda part: part.written.id)
        return True

    def begin(self) -> tuple[discord.Message, ...]:
        """Close the burst and return its messages. From now on their changes change the answer."""
        self._begun = True
        return self.messages

    async def while_there(self, write: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what ``write`` makes of the messages; if their words change meanwhile, begin again.

        Raises:
            Withdrawn: There is nothing to answer any more.
            Exception: The error of the work.
        """
        while not self.is_withdrawn:
            self._changed = False
            self._work = asyncio.ensure_future(write())
            try:
                result = await self._work
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if not self._changed or task is None or task.cancelling():
                    raise
            else:
                if not self._changed:
                    return result
            finally:
                self._work = None
        raise Withdrawn

    def deleted(self, message_id: int) -> None:
        """Take a deleted message out. It stays while its copy is there."""
        before = self.messages
        for part in self._parts:
            if part.copy is not None and message_id == part.copy.id:
                part.copy, part.is_deleted = None, True
            elif message_id == part.written.id:
                part.is_deleted = True
        self._compare(before)

    def edited(self, message: discord.Message) -> None:
        """Take the new words of an edited message; a preview of a link is none."""
        for part in self._parts:
            words = part.shown.content
            if part.copy is not None and message.id == part.copy.id:
                part.copy = message
            elif message.id == part.written.id:
                if message.reference is not None and part.written.reference is not None:
                    message.reference.resolved = part.written.reference.resolved  # an edit may not hold it
                message.author = part.written.author  # read from the history, it has no roles
                part.written = message
            if part.is_there and part.shown.content != words and self._n_edits < MOST_EDITS:
                self._n_edits += self._begun
                self._change()

    def copied(self, copy: discord.Message) -> bool:
        """Let a webhook's message take the place of the message that it repeats; False if it repeats none."""
        before = self.messages
        repeated = [part for part in self._parts if part.copy is None and repeats(copy, part.written)]
        if not repeated:
            return False
        # A copy of "hi" is also found in "hi there"; copies need not come in the order of the messages.
        n_said = len(without_quote(copy.content))
        part = min(repeated, key=lambda part: abs(len(part.written.content) - n_said))
        part.copy = copy
        if len(self.messages) > len(before):
            self._change()
        return True

    def keep_addressed(self, is_for_bot: Callable[[discord.Message], bool]) -> None:
        """Take out the messages that are not for the bot any more, by their words as written now."""
        before = self.messages
        for part in self._parts:
            part.is_for_others = not is_for_bot(part.written)
        self._compare(before)

    def end(self) -> None:
        """Withdraw the burst for good: its place or its author is gone."""
        self._over = True
        self._change()

    def _compare(self, before: tuple[discord.Message, ...]) -> None:
        if len(self.messages) < len(before):
            self._change()

    def _change(self) -> None:
        """Cancel the answer that is being written from words that are no more."""
        if self._work is not None and (self._begun or self.is_withdrawn):
            self._changed = True
            self._work.cancel()


def _goes_on(before: discord.Message, message: discord.Message) -> bool:
    """Return whether a message belongs to the talk of the one before it."""
    return parent_id_of(message) in (None, parent_id_of(before))


class LostBursts:
    """Bursts whose messages were deleted a moment ago. The copy of a proxy brings them back."""

    def __init__(self) -> None:
        self._lost: list[tuple[float, Burst]] = []

    def put(self, burst: Burst) -> None:
        """Remember a burst; it is dropped with the next event that comes after :data:`LOST_S` seconds."""
        self._lost = [*self._recent(), (time.monotonic(), burst)][-MOST_LOST:]

    def copied(self, copy: discord.Message) -> Burst | None:
        """Return the burst that a webhook's message brings back, None if there is none."""
        self._lost = self._recent()
        for entry in self._lost:
            if entry[1].copied(copy):
                self._lost.remove(entry)
                return entry[1]
        return None

    def forget(self, leaving: Leaving) -> None:
        """Drop the bursts of the members that leave."""
        self._lost = [entry for entry in self._recent() if not leaving.includes(entry[1].who)]

    def _recent(self) -> list[tuple[float, Burst]]:
        return [entry for entry in self._lost if time.monotonic() - entry[0] < LOST_S]


def follow(event: str, payload: Any, abouts: Iterable[object]) -> None:
    """Pass an event of the gateway on to the bursts that it is about.

    Args:
        event: discord.py's name of the event.
        payload: Its first argument.
        abouts: What the unfinished answers are about; those that are no bursts are skipped.
    """
    bursts = [about for about in abouts if isinstance(about, Burst)]
    match event:
        case "raw_message_delete" | "raw_bulk_message_delete":
            gone = {payload.message_id} if event == "raw_message_delete" else payload.message_ids
            for burst in bursts:
                for message_id in gone:
                    burst.deleted(message_id)
        case "raw_message_edit":
            for burst in bursts:
                burst.edited(payload.message)
        case "guild_channel_delete" | "raw_thread_delete":
            place = payload.thread_id if event == "raw_thread_delete" else payload.id
            for burst in bursts:
                if place in (burst.channel.id, getattr(burst.channel, "parent_id", None)):
                    burst.end()
        case "guild_remove":
            for burst in bursts:
                if payload.id == burst.who.guild_id:
                    burst.end()
        case "ready":
            for burst in bursts:
                burst.is_doubtful = True


FOLLOWED = frozenset(
    {
        "raw_message_delete",
        "raw_bulk_message_delete",
        "raw_message_edit",
        "guild_channel_delete",
        "raw_thread_delete",
        "guild_remove",
        "ready",
    }
)
"""The events that :func:`follow` passes on."""


async def fetch_again(burst: Burst) -> None:
    """Read the messages of a burst again, because events about them may have been missed."""
    burst.is_doubtful = False
    for message in burst.messages:
        try:
            burst.edited(await message.channel.fetch_message(message.id))
        except discord.NotFound:
            burst.deleted(message.id)
        except discord.HTTPException as exc:
            log.warning("a message could not be read again: Discord answered %s", exc.status)


async def has_left(burst: Burst) -> bool:
    """Return whether the author left the server or was banned while the burst waited.

    The gateway tells nothing of it without the intent for members. One request, and none for a short wait.
    """
    if burst.first.guild is None or time.monotonic() - burst.began < WAITED_S:
        return False
    try:
        await burst.first.guild.fetch_member(burst.who.user_id)
    except discord.NotFound:
        return True
    except discord.HTTPException as exc:
        log.warning("a member could not be looked up: Discord answered %s", exc.status)
    return False
