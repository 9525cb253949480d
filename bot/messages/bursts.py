"""Quick messages of one member, answered once: while an answer waits to be begun, what follows joins it.

Pure bookkeeping over Discord's messages; :mod:`bot.cogs.chat.chat` answers them.
"""

from __future__ import annotations

import discord

from bot.messages.conversation import parent_id_of

MOST_MESSAGES = 10
"""Further ones begin a burst of their own, so that no prompt grows without end."""


class Burst:
    """Messages that one answer is for, oldest first.

    Args:
        first: The message that wants an answer.
    """

    def __init__(self, first: discord.Message) -> None:
        self._messages = [first]
        self._begun = False

    @property
    def first(self) -> discord.Message:
        """What the others followed; what led to it is the context of all."""
        return self._messages[0]

    @property
    def last(self) -> discord.Message:
        """The one that is replied to."""
        return self._messages[-1]

    def join(self, message: discord.Message) -> bool:
        """Add a message; False when the answer has been begun, or it belongs to another part of the talk."""
        same_talk = parent_id_of(message) in (None, parent_id_of(self.last))
        if self._begun or not same_talk or len(self._messages) == MOST_MESSAGES:
            return False
        self._messages.append(message)
        return True

    def begin(self) -> tuple[discord.Message, ...]:
        """Take the messages; none joins them any more."""
        self._begun = True
        return tuple(self._messages)
