"""What Discord shows and what is stored, as fakes for who reads back: every request is written down."""

from __future__ import annotations

import asyncio

from bot.reactions.inbox import Inbox
from bot.reactions.readback import NotHere, NotNow, Shown
from bot.reactions.reconciler import Reconciler
from storage.records import Applied
from storage.replies.posted_messages import PostedMessage, PostedPage

UP = ("👍", False)


class Posted:
    """What is stored, as the store tells it."""

    def __init__(self, *messages: PostedMessage) -> None:
        self.messages = list(messages)

    async def page(self, before, limit):
        """Everything at once."""
        return PostedPage(self.messages, None)

    async def of(self, message_ids):
        """Some."""
        return [message for message in self.messages if message.message_id in message_ids]


class Discord:
    """What Discord shows; stands where :class:`bot.reactions.readback.Readback` does."""

    def __init__(self) -> None:
        self.standing: dict[int, dict[tuple[str, bool], list[int]]] = {}
        self.channel_of: dict[int, int] = {}
        self.gone: set[int] = set()
        self.closed: set[int] = set()
        self.bad_days = 0
        self.asked: list[tuple] = []
        self.before_answer = lambda: None

    def fill(self, posted: Posted, n_replies: int, *, channels: int, every: int, changed: int) -> None:
        """Replies between others' messages; each second one has a thumb, one in ``changed`` another's."""
        for number in range(n_replies * every):
            self.standing[number] = {}
            self.channel_of[number] = channel = number // every % channels
            if number % every:
                continue
            reply = number // every
            stored = {UP: 1} if reply % 2 else {}
            posted.messages.append(PostedMessage(channel, number, 9, stored))
            self.standing[number] = {UP: [5, 6] if reply % changed == 1 else [5]} if stored else {}

    def _ask(self, *request) -> None:
        self.asked.append(request)
        if self.bad_days:
            self.bad_days -= 1
            raise NotNow
        if request[1] in self.closed:
            raise NotHere
        self.before_answer()

    async def page(self, channel_id, before):
        """A hundred messages, newest first."""
        self._ask("page", channel_id, before)
        here = (id_ for id_ in self.standing if self.channel_of.get(id_, channel_id) == channel_id)
        newest = sorted((id_ for id_ in here if id_ < before), reverse=True)[:100]
        return [self._shown(id_) for id_ in newest]

    def _shown(self, id_: int) -> Shown:
        here = self.standing[id_]
        return Shown(id_, {key: len(users) for key, users in here.items()}, {key: [key[0]] for key in here})

    async def is_gone(self, channel_id, message_id):
        """Whether it was deleted."""
        self._ask("is_gone", channel_id, message_id)
        return message_id in self.gone

    async def users(self, channel_id, message_id, spelling, burst, after):
        """A hundred users."""
        self._ask("users", channel_id, message_id, spelling, burst, after)
        return [user for user in sorted(self.standing[message_id][spelling, burst]) if user > after][:100]


async def looks_over(discord: Discord, posted: Posted, *, thorough: bool) -> Reconciler:
    """Let one look go over everything, in no time."""

    async def record(_events) -> Applied:
        return Applied()

    async def sleep(_seconds: float) -> None:
        await asyncio.sleep(0)

    tasks: list[asyncio.Task] = []
    inbox = Inbox(record, lambda _: None)
    reconciler = Reconciler(
        discord, posted, inbox, spawn=lambda work: tasks.append(asyncio.create_task(work)), sleep=sleep
    )
    if thorough:
        await reconciler.look_thoroughly()
    else:
        reconciler._quick_due = True
        reconciler._start()
    await asyncio.gather(*tasks)
    await inbox.wait_idle()
    return reconciler
