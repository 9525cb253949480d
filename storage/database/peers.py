"""Other processes of the same bot: who of them trains, and what the others must hear of.

One process at a time trains. Who does holds a lock, and every time it changes hands a fencing number grows;
each round is written with the number of its trainer, and refused when that is not the newest one, so that a
trainer who lost the lock without noticing (a pause, a cut line) can store nothing. What changes for others is
told as news without any name in them: what they keep in memory is dropped, and read anew when it is needed.
With SQLite there are no other processes, so the lock is always free and nothing is ever received.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

from sqlalchemy import Connection, select, update

from storage.database.schema import origin
from storage.errors import NotTrainer


class News(StrEnum):
    """What another process did."""

    HEADS = "heads"
    """It stored a round: heads in memory may be old."""
    PRIOR = "prior"
    """It replaced the prior."""
    LEFT = "left"
    """Somebody left: keys, heads, the prior, and everything else that memory has of members is to be dropped.
    Also what is received after news may have been missed."""
    SETTINGS = "settings"
    """Somebody changed what is set for a server."""
    DUE = "due"
    """Enough labels wait there for a round to start early. Concerns the one who trains."""


class Peers(Protocol):
    """The other processes, as one of them sees them."""

    async def open(self, on_news: Callable[[News], None]) -> None:
        """Begin to listen; ``on_news`` is called on the event loop."""
        ...

    async def take_lead(self) -> bool:
        """Take the trainer's lock when nobody has it; whether it is ours now and was not before.

        Raises:
            DatabaseFailed: The database cannot be reached.
        """
        ...

    @property
    def leads(self) -> bool:
        """Whether the trainer's lock is ours, as far as is known. No I/O."""
        ...

    def notify(self, connection: Connection, news: News) -> None:
        """Tell the others, if and when the transaction commits. In the writer."""
        ...

    async def close(self) -> None:
        """Stop listening and give the lock back."""
        ...


class NoPeers:
    """A database that is this process's alone."""

    def __init__(self) -> None:
        self._leads = False

    async def open(self, on_news: Callable[[News], None]) -> None:
        """Nothing will be received."""

    async def take_lead(self) -> bool:
        """True the first time."""
        taken, self._leads = not self._leads, True
        return taken

    @property
    def leads(self) -> bool:
        """Whether it was taken."""
        return self._leads

    def notify(self, connection: Connection, news: News) -> None:
        """Nobody is there to be told."""

    async def close(self) -> None:
        """Nothing to close."""
        self._leads = False


def next_fence(connection: Connection) -> int:
    """The fencing number of a new trainer, above all earlier ones. In the writer."""
    taken = update(origin).values(fence=origin.c.fence + 1).returning(origin.c.fence)
    return connection.execute(taken).scalar_one()


def require_trainer(connection: Connection, fence: int | None) -> int:
    """Return the fencing number if it is the newest one. In the writer.

    Raises:
        NotTrainer: Another process has taken over, or this one never trained.
    """
    newest = connection.execute(select(origin.c.fence)).scalar_one()
    if fence is None or fence != newest:
        raise NotTrainer
    return fence
