"""Who may have an answer written next: member by member, so that nobody starves another.

A language model writes few answers at a time. Whoever waits with a thousand messages gets one turn, then
everybody else who waits gets one, and so on; a member's own messages keep their order. As answers in one
conversation keep their order too, a member may wait behind another's message there: then that message may be
answered in the turn of whoever waits behind it, or it would hold up both for as long as its author's thousand
others take. No discord import.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bot.memory import Leaving

MOST_REMEMBERED = 10_000


@dataclass(eq=False, slots=True)
class _Ticket:
    """A turn that is waited for: by whom, and by whom besides because it is in their way."""

    owner: Hashable
    behind: Callable[[], Collection[Hashable]]
    turn: asyncio.Future[None]

    def owners(self) -> Collection[Hashable]:
        others = self.behind()
        return {self.owner, *others} if others else (self.owner,)


class FairTurns:
    """Turns in rotation among those who wait.

    Args:
        n_at_once: Turns that may be taken at the same time, >= 1.
    """

    def __init__(self, n_at_once: int) -> None:
        self._n_free = n_at_once
        self._waiting: dict[_Ticket, None] = {}
        self._rank: dict[Hashable, int] = {}
        """When each member had a turn last, or began to wait for the first; of those who wait the lowest
        comes next. Kept when they wait no more: between two prompts of a conversation nobody does."""
        self._count = 0

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @asynccontextmanager
    async def turn(
        self, owner: Hashable, behind: Callable[[], Collection[Hashable]] = tuple
    ) -> AsyncIterator[None]:
        """Wait for a turn of ``owner``, and keep it while the body runs.

        With others waiting, a turn comes after at most one turn of each of them.

        Args:
            owner: Whose turn it is.
            behind: Who waits for this turn to be over, at the moment of asking; it may be taken in theirs.
        """
        await self._take(owner, behind)
        try:
            yield
        finally:
            self._give()

    def forget(self, leaving: Leaving) -> None:
        """Drop the ids of who leaves; a turn that is waited for is kept under an anonymous owner.

        A member who comes back begins behind all who wait, so leaving is no way to jump the queue.
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
        self._count += 1
        self._rank.setdefault(owner, self._count)
        ticket = _Ticket(owner, behind, asyncio.get_running_loop().create_future())
        self._waiting[ticket] = None
        try:
            await ticket.turn
        except asyncio.CancelledError:
            if not ticket.turn.cancelled():
                self._give()  # it came at the same moment
            raise
        finally:
            self._waiting.pop(ticket, None)

    def _give(self) -> None:
        """Hand a turn to the one for whom somebody waits longest. Takes time in proportion to who waits."""
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
        """Put an owner behind all others; those who were served longest ago are forgotten at last."""
        self._count += 1
        self._rank[owner] = self._count
        if len(self._rank) > MOST_REMEMBERED:
            latest = sorted(self._rank.items(), key=lambda item: -item[1])
            self._rank = dict(latest[: MOST_REMEMBERED // 2])
