"""Fair queueing: decides whose answer is written next, so that no member starves another.

A language model writes few answers at a time. Members who wait take turns, one answer each; a member's own
messages keep their order. Answers in one conversation keep their order too, so a member may wait there behind
another member's message. That message may be answered in the turn of the member behind it; otherwise it would
delay both until all earlier messages of its author are answered. No discord import.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bot.memory import Leaving

MOST_REMEMBERED = 10_000
MOST_WAITING = 8
"""Answers of one member that may wait for a turn; by default one conversation queues as many."""


class TooManyWaiting(Exception):
    """Too many answers of the member wait for a turn already; ask again when they are written."""


@dataclass(eq=False, slots=True)
class _Ticket:
    """A request for a turn: its owner, and the members who wait behind it."""

    owner: Hashable
    behind: Callable[[], Collection[Hashable]]
    turn: asyncio.Future[None]

    def owners(self) -> Collection[Hashable]:
        others = self.behind()
        return {self.owner, *others} if others else (self.owner,)


class FairTurns:
    """Turns in rotation among the members who wait.

    Args:
        n_at_once: Turns that may be taken at the same time, >= 1.
        most_waiting: Requests of one member that may wait, >= 1.
    """

    def __init__(self, n_at_once: int, most_waiting: int = MOST_WAITING) -> None:
        self._n_free = n_at_once
        self._most_waiting = most_waiting
        self._waiting: dict[_Ticket, None] = {}
        self._rank: dict[Hashable, int] = {}
        """Logical time of each member's last turn, or of the first request. Of the members who wait the one
        with the lowest comes next. Kept after a turn: between two prompts of a conversation no member waits.
        """
        self._count = 0

    def __len__(self) -> int:
        """Number of requests that wait."""
        return len(self._waiting)

    @asynccontextmanager
    async def turn(
        self, owner: Hashable, behind: Callable[[], Collection[Hashable]] = tuple
    ) -> AsyncIterator[None]:
        """Wait for a turn of ``owner``, and hold it while the body runs.

        A turn comes after at most one turn of each other member who waits.

        Args:
            owner: The member who needs the turn.
            behind: Returns the members who wait for this turn to end; it may be taken in one of theirs.

        Raises:
            TooManyWaiting: As many requests of the member wait as may wait.
        """
        await self._take(owner, behind)
        try:
            yield
        finally:
            self._give()

    def forget(self, leaving: Leaving) -> None:
        """Drop the ids of members that leave; a waiting request is kept under an anonymous owner.

        A member who comes back starts behind all waiting members, so leaving does not help to jump the queue.
        """
        if leaving.everyone:
            waiting = {owner for ticket in self._waiting for owner in ticket.owners()}
            self._rank = {owner: rank for owner, rank in self._rank.items() if owner in waiting}
        elif leaving.person in self._rank:
            anonymous = object()
            self._rank[anonymous] = self._rank.pop(leaving.person)
            for ticket in self._waiting:
                if ticket.owner == leaving.person:
                    ticket.owner = anonymous

    async def _take(self, owner: Hashable, behind: Callable[[], Collection[Hashable]]) -> None:
        if self._n_free:
            self._n_free -= 1
            return
        if sum(ticket.owner == owner for ticket in self._waiting) >= self._most_waiting:
            raise TooManyWaiting
        self._count += 1
        self._rank.setdefault(owner, self._count)
        ticket = _Ticket(owner, behind, asyncio.get_running_loop().create_future())
        self._waiting[ticket] = None
        try:
            await ticket.turn
        except asyncio.CancelledError:
            if not ticket.turn.cancelled():
                self._give()  # granted at the moment of the cancellation
            raise
        finally:
            self._waiting.pop(ticket, None)

    def _give(self) -> None:
        """Grant a turn to the request whose owner was served longest ago; linear in waiting requests."""
        self._waiting = {ticket: None for ticket in self._waiting if not ticket.turn.done()}
        if not self._waiting:
            self._n_free += 1
            return
        self._count += 1
        lowest, found = self._count + 1, None
        for ticket in self._waiting:
            for owner in ticket.owners():
                rank = self._rank.setdefault(owner, self._count)
                if rank < lowest:
                    lowest, found = rank, (ticket, owner)
        assert found is not None, "there is a ticket, and it has an owner"
        self._served(found[1])
        del self._waiting[found[0]]
        found[0].turn.set_result(None)

    def _served(self, owner: Hashable) -> None:
        """Put an owner behind all others; evict the owners who were served longest ago."""
        self._count += 1
        self._rank[owner] = self._count
        if len(self._rank) > MOST_REMEMBERED:
            latest = sorted(self._rank.items(), key=lambda item: -item[1])
            self._rank = dict(latest[: MOST_REMEMBERED // 2])
