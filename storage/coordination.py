"""What this process and the others on the same database owe each other.

Three promises hold over all of them as they do within one: one process trains at a time, nothing that was
learnt from somebody who left is stored, and nobody goes on with what memory has of them. The first two are
checked in the transaction that writes, against numbers that stand in the database; news only make what is
seen follow sooner.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from sqlalchemy import Connection

from storage.database.erasure_count import erasures_of
from storage.database.peers import News, Peers, next_fence, require_trainer
from storage.database.writer import Writer
from storage.keys.key_store import KeyStore

log = logging.getLogger(__name__)


class Coordination:
    """The part of the store that knows of other processes; with SQLite it is always alone and always trains.

    Reached as ``Store.coordination``. Methods that take a connection are for units of the writer.
    """

    def __init__(self, peers: Peers, keys: KeyStore, writer: Writer) -> None:
        self._peers = peers
        self._keys = keys
        self._writer = writer
        self._fence: int | None = None
        self._erasures = 0
        self._written_under = 0
        self._subscribers: list[Callable[[News], None]] = []

    async def open(self) -> None:
        """Begin to listen, and train if nobody else does.

        Raises:
            DatabaseFailed: The database cannot be reached.
        """
        await self._peers.open(self._on_news)
        self._erasures = self._written_under = await self._writer.submit(erasures_of)
        await self.lead()

    async def close(self) -> None:
        """Stop listening, and let another process train."""
        await self._peers.close()

    def subscribe(self, on_news: Callable[[News], None]) -> None:
        """Have ``listener`` called, on the event loop, with what other processes did."""
        self._subscribers.append(on_news)

    async def notify(self, news: News) -> None:
        """Tell the other processes."""
        await self._writer.submit(lambda c: self._peers.notify(c, news))

    # --- who trains ----------------------------------------------------------------------------------------

    @property
    def leads(self) -> bool:
        """Whether this process trains, as far as it knows."""
        return self._peers.leads

    async def lead(self) -> bool:
        """Become the one that trains, unless another process is.

        Raises:
            DatabaseFailed: The database cannot be reached.
        """
        if await self._peers.take_lead():
            self._fence = None
            self._fence = await self._writer.submit(next_fence)
            log.info("this process trains, under number %d", self._fence)
        return self.leads and self._fence is not None

    def require_lead(self, connection: Connection) -> int:
        """The number to store a round under.

        Raises:
            NotTrainer: Another process trains by now.
        """
        return require_trainer(connection, self._fence)

    # --- who left ------------------------------------------------------------------------------------------

    @property
    def erasures(self) -> int:
        """Grows whenever a member leaves, in whichever process; never ahead of the database. No I/O."""
        return self._erasures

    def no_erasure_since(self, connection: Connection, erasures: int | None) -> bool:
        """Whether nobody left since :attr:`erasures` was read; always True for None."""
        self._erasures = erasures_of(connection)
        return erasures in (None, self._erasures)

    def evict_stale_keys(self, connection: Connection) -> None:
        """Drop opened keys if somebody left in another process: they may have come back with a new one.

        At the beginning of every transaction that writes, where there are other processes.
        """
        found = erasures_of(connection)
        if found != self._written_under:
            self._keys.evict_opened()
            self._written_under = found

    def notify_heads(self, connection: Connection) -> None:
        """Tell the others that heads are new."""
        self._peers.notify(connection, News.HEADS)

    def notify_prior(self, connection: Connection) -> None:
        """Tell the others that the prior is new."""
        self._peers.notify(connection, News.PRIOR)

    def notify_settings(self, connection: Connection) -> None:
        """Tell the others that what is set for a server is new."""
        self._peers.notify(connection, News.SETTINGS)

    def _on_news(self, news: News) -> None:
        if news is News.LEFT:
            self._keys.evict_opened()
        for on_news in self._subscribers:
            on_news(news)
