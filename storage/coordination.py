"""Coordination of processes that share a database: leader election and notifications.

Three guarantees hold across all processes as within one:

* one process trains at a time;
* nothing learnt from an erased member is stored;
* no process uses cached data that were learnt from an erased member.

The writing transaction checks the first two against numbers in the database. The third is checked against the
counter of erasures there, whenever a cached head is used (:meth:`Coordination.catch_up`). Notifications only
speed up what members see, and invalidate the caches that are not checked: settings of servers, for example.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from sqlalchemy import Connection

from storage.database.backend import Reader
from storage.database.erasure_count import erasures_of
from storage.database.peers import News, Peers, next_fence, require_trainer
from storage.database.shard_locks import ShardLocks
from storage.database.writer import Writer
from storage.keys.key_store import KeyStore
from storage.records import Shard

log = logging.getLogger(__name__)

ASIDE_S = 180.0
"""Longest wait for a process that does nothing but train, asked for the training and runs, seconds."""
HANDOVER_S, _TRY_EVERY_S = 10.0, 0.2
"""Longest wait of that process for the trainer's lock each time it asks, and seconds between two tries."""


class Coordination:
    """This process's view of the others. With SQLite it is alone, and always the trainer.

    Reached as ``Store.coordination``. Methods that take a connection are for units of the writer.

    Attributes:
        only_trains: Whether this process does nothing but train; the others then leave the training to it.
    """

    def __init__(self, peers: Peers, keys: KeyStore, reader: Reader, writer: Writer) -> None:
        self._peers = peers
        self._keys = keys
        self._reader = reader
        self._writer = writer
        self._fence: int | None = None
        self._fenced = 0  # the taking of the lock that this number belongs to
        self.only_trains = False
        self._aside_until_s = -math.inf
        self._erasures = 0
        self._erases = False
        self._subscribers: list[Callable[[News], None]] = []

    async def open(self) -> None:
        """Subscribe to notifications, and become the trainer if there is none.

        Raises:
            DatabaseFailed: The database cannot be reached.
        """
        await self._peers.open(self._on_news)
        self._erasures = await self._writer.submit(erasures_of)
        await self.lead()

    async def close(self) -> None:
        """Stop listening, and release the trainer's lock."""
        await self._peers.close()

    def subscribe(self, on_news: Callable[[News], None]) -> None:
        """Call ``on_news`` on the event loop for every notification of another process."""
        self._subscribers.append(on_news)

    @property
    def n_losses(self) -> int:
        """How often notifications of other processes were missed. No I/O."""
        return self._peers.n_losses

    async def notify(self, news: News) -> None:
        """Notify the other processes."""
        await self._writer.submit(lambda c: self._peers.notify(c, news))

    # --- leader election -----------------------------------------------------------------------------------

    @property
    def leads(self) -> bool:
        """Whether this process was the trainer when it last checked: lock and fencing number. No I/O."""
        return self._peers.leads and self._fenced == self._peers.n_taken

    async def lead(self) -> bool:
        """Become the trainer, unless another process is, or a process that only trains asked for it.

        A process that took the lock and got no fencing number asks for the number at the next call.

        Raises:
            AlreadyOpen: A command excludes bots.
            DatabaseFailed: The database cannot be reached.
        """
        if not self.only_trains and await self._stands_aside():
            if self._peers.leads:
                log.info("this process leaves the training to one that does nothing else")
            await self._peers.give_lead()
            return False
        if not await self._peers.take_lead() and self.only_trains:
            await self._take_over()
        taken = self._peers.n_taken
        if self._peers.leads and self._fenced != taken:
            self._fence = None  # the number of an earlier taking
            self._fence = await self._writer.submit(next_fence)
            self._fenced = taken
            log.info("this process is the trainer now, fencing number %d", self._fence)
        return self.leads

    async def _stands_aside(self) -> bool:
        """Return whether a process that does nothing but train asked for the training, and still runs."""
        return time.monotonic() < self._aside_until_s and await self._peers.sees_trainer()

    async def _take_over(self) -> None:
        """Ask the trainer to hand over, and wait for its lock for a while."""
        if self._peers.leads:
            return
        await self._peers.show_trainer()
        await self.notify(News.TRAINER)
        until = time.monotonic() + HANDOVER_S
        while time.monotonic() < until:
            await asyncio.sleep(_TRY_EVERY_S)
            if await self._peers.take_lead():
                return

    def require_lead(self, connection: Connection) -> int:
        """Return the fencing number to store a round under.

        Raises:
            NotTrainer: Another process has become the trainer.
        """
        return require_trainer(connection, self._fence)

    # --- shards --------------------------------------------------------------------------------------------

    @property
    def shards(self) -> ShardLocks:
        """Which process serves which shard, and which shards are ready."""
        return self._peers.shards

    @property
    def shared(self) -> bool:
        """Whether other processes may use the database. No I/O."""
        return self._peers.shared

    async def claim_prompt(self, message_id: int) -> bool:
        """Return whether this process answers a prompt. Two processes may receive it during a hand-over.

        The claim ends with the process, so that another one may answer what a crash left open. Nothing about
        the prompt is stored.
        """
        return await self._peers.claim(int.from_bytes(self._keys.pseudonyms.message(message_id)[:8]) >> 1)

    def all_ready(self, connection: Connection, count: int) -> bool:
        """Return whether exactly the shards of this number are ready, in all processes together."""
        return self.shards.all_ready(connection) == {Shard(number, count) for number in range(count)}

    # --- erasures ------------------------------------------------------------------------------------------

    @property
    def erasures(self) -> int:
        """Counter of erasures in all processes; never ahead of the database. No I/O."""
        return self._erasures

    def no_erasure_since(self, connection: Connection, erasures: int | None) -> bool:
        """Return whether the counter still equals ``erasures``; always True for None."""
        self._erasures = erasures_of(connection)
        return erasures in (None, self._erasures)

    @contextmanager
    def erasing(self) -> Generator[None]:
        """Treat erasures as this process's own within the block: its caches evict only the erased members.

        The block runs alone in the writer, and calls :meth:`no_erasure_since` at its end.
        """
        self._erases = True
        try:
            yield
        finally:
            self._erases = False

    def notice_erasures(self, connection: Connection) -> None:
        """Evict all cached data of members if another process erased one since the last look.

        Runs at the beginning of every writing transaction if other processes can exist: the member may have a
        new key.
        """
        found = erasures_of(connection)
        if found > self._erasures and not self._erases:
            self._erasures = found
            self._on_news(News.LEFT)

    async def catch_up(self) -> None:
        """Evict all cached data of members if another process erased one, also if that was not heard.

        Call before cached data of a member are used. No I/O if there are no other processes.

        Raises:
            DatabaseFailed: The database cannot be reached.
        """
        if self._peers.shared:
            await self._reader.run(self.notice_erasures)

    def notify_heads(self, connection: Connection) -> None:
        """Notify the other processes of new heads."""
        self._peers.notify(connection, News.HEADS)

    def notify_prior(self, connection: Connection) -> None:
        """Notify the other processes of a new prior."""
        self._peers.notify(connection, News.PRIOR)

    def notify_settings(self, connection: Connection) -> None:
        """Notify the other processes of changed server settings."""
        self._peers.notify(connection, News.SETTINGS)

    def _on_news(self, news: News) -> None:
        if news in (News.LEFT, News.DEAF):
            self._keys.evict_opened()
        if news is News.TRAINER:
            self._aside_until_s = time.monotonic() + ASIDE_S
        for on_news in self._subscribers:
            on_news(news)
