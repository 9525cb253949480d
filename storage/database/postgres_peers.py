"""Several processes on one PostgreSQL database: one connection that listens, and holds the trainer's lock.

The lock belongs to the connection: when the process dies, or the line is cut, the server gives it to the next
who asks. Whoever lost the line connects again by itself, and then takes everything in memory for old. Which
process a notification is from is told by a random name, so that nobody reacts to the own ones.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.database.backend import LIBRARY_ERRORS, translated_errors
from storage.database.peers import News

log = logging.getLogger(__name__)

CHANNEL = "simpatico"
LONGEST_WAIT_S = 30.0
_NOTIFY = text("SELECT pg_notify(:channel, :payload)")


class PostgresPeers:
    """The other processes on one database.

    Args:
        engine: Where its one connection comes from; closed here.
        what: The database in messages.
        lock: The two halves of the trainer's advisory lock.
        first_wait_s: Before the first try to connect again, seconds; each further wait is twice as long.
    """

    def __init__(
        self, engine: AsyncEngine, what: str, lock: tuple[int, int], *, first_wait_s: float = 1.0
    ) -> None:
        self._engine = engine
        self._what = what
        self._lock = lock
        self._first_wait_s = first_wait_s
        self._name = secrets.token_hex(8)
        self._connection: AsyncConnection | None = None
        self._driver: Any = None
        self._leads = False
        self._on_news: Callable[[News], None] = lambda _: None
        self._lost = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None

    async def open(self, on_news: Callable[[News], None]) -> None:
        """Listen, and connect again whenever the connection is lost.

        Raises:
            DatabaseFailed: The server cannot be reached.
        """
        self._on_news = on_news
        with translated_errors(self._what):
            await self._listen()
        self._watch = asyncio.create_task(self._keep_listening(), name="storage-peers")

    async def take_lead(self) -> bool:
        """Take the trainer's lock when nobody has it; whether it is ours now and was not before.

        Raises:
            DatabaseFailed: The server does not answer.
        """
        if self._leads or self._driver is None:
            return False
        driver = self._driver
        with translated_errors(self._what):
            taken = bool(await driver.fetchval("SELECT pg_try_advisory_lock($1, $2)", *self._lock))
        self._leads = taken and driver is self._driver  # else it went with the connection
        return self._leads

    @property
    def leads(self) -> bool:
        """Whether the lock is ours, as far as is known."""
        return self._leads

    def notify(self, connection: Connection, news: News) -> None:
        """Tell the others, if and when the transaction commits."""
        connection.execute(_NOTIFY, {"channel": CHANNEL, "payload": f"{self._name} {news}"})

    async def close(self) -> None:
        """Stop listening; the server gives the lock back."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
        await self._release()
        await self._engine.dispose()

    async def _listen(self) -> None:
        connection = await self._engine.connect()
        self._connection = connection
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        driver.add_termination_listener(self._on_loss)
        await driver.add_listener(CHANNEL, self._on_notification)
        self._driver = driver

    async def _keep_listening(self) -> None:
        while True:
            await self._lost.wait()
            self._lost.clear()
            wait_s = self._first_wait_s
            while self._driver is None:
                await self._release()
                await asyncio.sleep(wait_s)
                try:
                    await self._listen()
                except LIBRARY_ERRORS as exc:
                    wait_s = min(2 * wait_s, LONGEST_WAIT_S)
                    log.warning(
                        "no news of other processes (%s); trying again in %.0f s", type(exc).__name__, wait_s
                    )
            log.info("connected again to the news of other processes")
            self._on_news(News.LEFT)  # what was said meanwhile was missed

    async def _release(self) -> None:
        self._driver, self._leads = None, False
        connection, self._connection = self._connection, None
        if connection is not None:
            # Not back to the pool: a listening connection, or a dead one, is of no use to anybody else.
            await connection.invalidate()
            await connection.close()

    def _on_loss(self, driver: Any) -> None:
        if driver is self._driver:
            self._driver, self._leads = None, False
            self._lost.set()

    def _on_notification(self, _driver: Any, _pid: int, _channel: str, payload: str) -> None:
        name, _, news = payload.partition(" ")
        if name == self._name:
            return
        if news not in set(News):  # of another version: the safest is to take everything for changed
            news = News.LEFT
        self._on_news(News(news))
