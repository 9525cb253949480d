"""Fakes of Discord and of the stored messages for tests of the reconciler; they log every request."""

from __future__ import annotations

from bot.reactions.readback import NotHere, NotNow, Shown
from storage.replies.posted_messages import PostedMessage, PostedPage

UP = ("👍", False)


class Posted:
    """Fake of the store's list of posted messages."""

    def __init__(self, *messages: PostedMessage) -> None:
        self.messages = list(messages)

    async def page(self, before, limit):
        """Return all messages as one page."""
        return PostedPage(self.messages, None)

    async def of(self, message_ids):
        """Return the messages with these ids."""
        return [message for message in self.messages if message.message_id in message_ids]


class Discord:
    """Fake of :class:`bot.reactions.readback.Readback`: the messages and reactions that Discord shows.

    Attributes:
        standing: Message -> (emoji, burst) -> users who reacted with it.
        gone: Deleted messages.
        closed: Channels that the bot may not read.
        bad_days: How many of the next requests fail with :class:`NotNow`.
        asked: Every request, in order.
        before_answer: Called before each answer.
    """

    def __init__(self) -> None:
        self.standing: dict[int, dict[tuple[str, bool], list[int]]] = {}
        self.gone: set[int] = set()
        self.closed: set[int] = set()
        self.bad_days = 0
        self.asked: list[tuple] = []
        self.before_answer = lambda: None

    def _ask(self, *request) -> None:
        self.asked.append(request)
        if self.bad_days:
            self.bad_days -= 1
            raise NotNow
        if request[1] in self.closed:
            raise NotHere
        self.before_answer()

    async def page(self, channel_id, before):
        """Return up to 100 messages, newest first."""
        self._ask("page", channel_id, before)
        newest = sorted((id_ for id_ in self.standing if id_ < before), reverse=True)[:100]
        return [self._shown(id_) for id_ in newest]

    def _shown(self, id_: int) -> Shown:
        here = self.standing[id_]
        return Shown(id_, {key: len(users) for key, users in here.items()}, {key: [key[0]] for key in here})

    async def is_gone(self, channel_id, message_id):
        """Return whether the message was deleted."""
        self._ask("is_gone", channel_id, message_id)
        return message_id in self.gone

    async def users(self, channel_id, message_id, spelling, burst, after):
        """Return up to 100 users."""
        self._ask("users", channel_id, message_id, spelling, burst, after)
        return [user for user in sorted(self.standing[message_id][spelling, burst]) if user > after][:100]
