"""Bursts: several quick messages of one member that get one answer.

Until the answer is begun, further messages join the burst. Pure bookkeeping over Discord's messages;
:mod:`bot.cogs.chat.chat` answers them.
"""

from __future__ import annotations

import discord

from bot.messages.conversation import parent_id_of

MOST_MESSAGES = 10
"""Further messages begin a new burst, so that no prompt grows without bound."""


class Burst:
    """Messages that get one answer, oldest first.

    Args:
        first: The message that began it.
    """

    def __init__(self, first: discord.Message) -> None:
        self._messages = [first]
        self._begun = False

    @property
    def first(self) -> discord.Message:
        """The first message; the context is read from here."""
        return self._messages[0]

    @property
    def last(self) -> discord.Message:
        """The last message; the answer is posted as a reply to it."""
        return self._messages[-1]

    def join(self, message: discord.Message) -> bool:
        """Add a message; False when the answer has begun, the burst is full, or it replies elsewhere."""
        same_talk = parent_id_of(message) in (None, parent_id_of(self.last))
        if self._begun or not same_talk or len(self._messages) == MOST_MESSAGES:
            return False
        self._messages.append(message)
        return True

    def begin(self) -> tuple[discord.Message, ...]:
        """Close the burst and return its messages."""
        self._begun = True
        return tuple(self._messages)
