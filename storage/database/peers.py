"""Other processes of the same bot: election of the trainer, and notifications between processes.

One process at a time trains; it holds a lock. A fencing number grows each time the lock changes hands. Each
round is written with the fencing number of its trainer and rejected unless that number is the newest. So a
trainer that lost the lock without noticing (a pause, a broken connection) cannot store anything.

A notification holds no name or id. On receiving one, a process evicts its caches and reads again when needed.
With SQLite there are no other processes: the lock is always free, and no notification arrives.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

from sqlalchemy import Connection, select, update

from storage.database.schema import origin
from storage.database.shard_locks import OwnShards, ShardLocks
from storage.errors import NotTrainer


class News(StrEnum):
    """Kinds of notification from another process."""

    HEADS = "heads"
    """A round was stored; cached heads may be stale."""
    PRIOR = "prior"
    """The prior was replaced."""
    LEFT = "left"
    """A member was erased; evict keys, heads, the prior and all other cached data of members.
    Also sent to this process's own subscribers when notifications may have been missed.
    """
    SETTINGS = "settings"
    """Settings of a server changed."""
    DEAF = "deaf"
    """Notifications are missed at the moment: evict all cached data of members and servers. Never sent."""
    DUE = "due"
    """The sender has enough new labels for an early round. Only the trainer acts on it."""
    TRAINER = "trainer"
    """The sender does nothing but train, and asks for the trainer's lock; the others stand aside."""


class Peers(Protocol):
    """Connection of this process to the other processes.

    Attributes:
        shared: Whether other processes may use the database.
        n_losses: How often notifications were missed, because a connection was lost or a heartbeat not heard.
    """

    shared: bool
    n_losses: int

    @property
    def shards(self) -> ShardLocks:
        """Which process serves which shard."""
        ...

    async def open(self, on_news: Callable[[News], None]) -> None:
        """Start listening; ``on_news`` is called on the event loop."""
        ...

    async def take_lead(self) -> bool:
        """Take the trainer's lock if it is free; return whether this process has just acquired it.

        Raises:
            DatabaseFailed: The database cannot be reached.
        """
        ...

    async def give_lead(self) -> None:
        """Release the trainer's lock, if this process holds it.

        Raises:
            DatabaseFailed: The database cannot be reached.
        """
        ...

    @property
    def leads(self) -> bool:
        """Whether this process held the trainer's lock when it last checked. No I/O."""
        ...

    @property
    def n_taken(self) -> int:
        """How often this process has taken the trainer's lock. No I/O."""
        ...

    async def show_trainer(self) -> None:
        """Show the others that this process does nothing but train, until it ends.

        Raises:
            DatabaseFailed: The database cannot be reached.
        """
        ...

    async def sees_trainer(self) -> bool:
        """Return whether a process runs that does nothing but train; True without a connection.

        Raises:
            DatabaseFailed: The database cannot be reached.
        """
        ...

    def notify(self, connection: Connection, news: News) -> None:
        """Notify the others when the transaction commits. In the writer."""
        ...

    async def claim(self, number: int) -> bool:
        """Return whether this process claims a number, before any other one that runs. Never fails.

        Args:
            number: 63 bits at most. The latest hundreds of claims of a process hold.
        """
        ...

    async def close(self) -> None:
        """Stop listening and release the lock."""
        ...


class NoPeers:
    """Peers of a database that belongs to this process alone."""

    shared = False
    n_losses = 0

    def __init__(self) -> None:
        self._leads = False
        self.shards = OwnShards()

    async def open(self, on_news: Callable[[News], None]) -> None:
        """Do nothing: no notification will arrive."""

    async def take_lead(self) -> bool:
        """Return True at the first call."""
        taken, self._leads = not self._leads, True
        return taken

    async def give_lead(self) -> None:
        """Do nothing: there is no other process to give it to."""

    async def show_trainer(self) -> None:
        """Do nothing: there is no other process to show it to."""

    async def sees_trainer(self) -> bool:
        """Return False: there is no other process."""
        return False

    @property
    def leads(self) -> bool:
        """Whether the lock was taken."""
        return self._leads

    @property
    def n_taken(self) -> int:
        """1 once the lock was taken: it is never lost."""
        return int(self._leads)

    def notify(self, connection: Connection, news: News) -> None:
        """Do nothing: there are no other processes."""

    async def claim(self, number: int) -> bool:
        """Return True: there is no other process."""
        return True

    async def close(self) -> None:
        """Release the lock."""
        self._leads = False


def next_fence(connection: Connection) -> int:
    """Return the fencing number of a new trainer, above all earlier ones. In the writer."""
    taken = update(origin).values(fence=origin.c.fence + 1).returning(origin.c.fence)
    return connection.execute(taken).scalar_one()


def require_trainer(connection: Connection, fence: int | None) -> int:
    """Return the fencing number if it is the newest. In the writer.

    Raises:
        NotTrainer: Another process has become the trainer, or this one never was.
    """
    newest = connection.execute(select(origin.c.fence)).scalar_one()
    if fence is None or fence != newest:
        raise NotTrainer
    return fence
