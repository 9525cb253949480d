"""Peers on a PostgreSQL database: one connection that listens and holds the trainer's lock.

The lock belongs to the connection. When the process dies or the connection breaks, the server gives the lock
to the next process that asks. A process that lost its connection treats all its cached data as stale: at the
loss, and again when it has reconnected with back-off. A random name identifies the sender of a notification,
so that a process ignores its own.
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
    """The other processes on one PostgreSQL database.

    Args:
        engine: Source of the one connection; disposed of here.
        what: Name of the database in messages.
        lock: The two halves of the trainer's advisory lock.
        first_wait_s: Wait before the first attempt to reconnect, seconds; doubled after each failure.
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
        """Listen, and reconnect whenever the connection is lost.

        Raises:
            DatabaseFailed: The server cannot be reached.
        """
        self._on_news = on_news
        with translated_errors(self._what):
            await self._listen()
        self._watch = asyncio.create_task(self._keep_listening(), name="storage-peers")

    async def take_lead(self) -> bool:
        """Take the trainer's lock if it is free; return whether this process has just acquired it.

        Raises:
            DatabaseFailed: The server does not answer.
        """
        if self._leads or self._driver is None:
            return False
        driver = self._driver
        with translated_errors(self._what):
            taken = bool(await driver.fetchval("SELECT pg_try_advisory_lock($1, $2)", *self._lock))
        self._leads = taken and driver is self._driver  # else the lock was lost with the connection
        return self._leads

    @property
    def leads(self) -> bool:
        """Whether this process held the lock when it last checked."""
        return self._leads

    def notify(self, connection: Connection, news: News) -> None:
        """Notify the others when the transaction commits."""
        connection.execute(_NOTIFY, {"channel": CHANNEL, "payload": f"{self._name} {news}"})

    async def close(self) -> None:
        """Stop listening; the server releases the lock."""
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
                        "no connection to other processes (%s); retrying in %.0f s",
                        type(exc).__name__,
                        wait_s,
                    )
            log.info("reconnected to other processes")
            self._on_news(News.LEFT)  # notifications in between were missed

    async def _release(self) -> None:
        self._driver, self._leads = None, False
        connection, self._connection = self._connection, None
        if connection is not None:
            # Not returned to the pool: a listening or dead connection cannot be reused.
            await connection.invalidate()
            await connection.close()

    def _on_loss(self, driver: Any) -> None:
        if driver is self._driver:
            self._driver, self._leads = None, False
            self._lost.set()
            self._on_news(News.LEFT)  # news are missed from now on

    def _on_notification(self, _driver: Any, _pid: int, _channel: str, payload: str) -> None:
        name, _, news = payload.partition(" ")
        if name == self._name:
            return
        if news not in set(News):  # sent by another version: treat everything as changed
            news = News.LEFT
        self._on_news(News(news))
