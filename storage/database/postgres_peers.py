"""Peers on a PostgreSQL database: a connection that listens and holds the trainer's lock, and one that sends.

The lock belongs to the listening connection. When the process dies or the connection breaks, the server gives
the lock to the next process that asks. A random name identifies the sender of a notification, so that a
process ignores its own.

A connection can be open and deliver nothing: a firewall dropped it, or a pooler swallows notifications. So
the process sends itself a heartbeat, on the way that notifications of the other processes take. If it does
not arrive in time, the connection counts as lost. A process without a listening connection evicts its cached
data: at the loss, every few seconds until it listens again, and once more then.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from asyncpg import InterfaceError, InternalClientError, PostgresError  # pyright: ignore[reportMissingTypeStubs] - it has none
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.database.backend import translated, translated_errors
from storage.database.peers import News
from storage.database.shard_locks import SharedShards
from storage.errors import DatabaseFailed, StorageError

log = logging.getLogger(__name__)

T = TypeVar("T")

DRIVER_ERRORS = (PostgresError, InterfaceError, InternalClientError)
"""Errors of the driver; the last: a connection ends while a statement begins."""
CHANNEL = "simpatico"
BEAT_S = 5.0
"""Seconds between two heartbeats, and the longest wait for one. Cached data are stale for twice as long."""
FIRST_WAIT_S = 1.0
"""Wait before the first attempt to reconnect, seconds; doubled after each failure."""
LONGEST_WAIT_S = 30.0
"""Longest wait between two attempts, and longest attempt, seconds."""
CONNECTIONS = 2
CLAIMS = 500
"""Claims that a process holds; a server has room for 6,400 locks by default."""
_NOTIFY = text("SELECT pg_notify(:channel, :payload)")  # on the writer's connection
_BEAT = "beat "
_SHOW_TRAINER = "SELECT pg_advisory_lock_shared($1, $2)"
_SEE_TRAINER = (
    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = $1::int::oid"
    " AND objid = $2::int::oid AND objsubid = 2"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
)


class PostgresPeers:
    """The other processes on one PostgreSQL database.

    Args:
        engine: Source of :data:`CONNECTIONS`, which commit each statement; disposed of here.
        what: Name of the database in messages.
        training: The two halves of the trainer's advisory lock.
        only_trains: Those of the lock that processes which do nothing but train share.

    Attributes:
        shards: Which process serves which shard.
        n_losses: How often notifications were missed.
        n_taken: How often this process has taken the trainer's lock.
    """

    shared = True

    def __init__(
        self, engine: AsyncEngine, what: str, *, training: tuple[int, int], only_trains: tuple[int, int]
    ) -> None:
        self._engine = engine
        self._what = what
        self._training, self._only_trains = training, only_trains
        self._first_wait_s = FIRST_WAIT_S
        self._beat_s = BEAT_S
        self._name = secrets.token_hex(8)
        self._connections: list[tuple[AsyncConnection, Any]] = []  # with the driver's own connection
        self._driver: Any = None  # of the connection that listens
        self._leads = False
        self.n_taken = 0
        self._shows_trainer = False
        self.shards = SharedShards()
        self._claims: deque[int] = deque()
        self._asking = asyncio.Lock()  # the driver runs one statement at a time
        self._on_news: Callable[[News], None] = lambda _: None
        self._lost = asyncio.Event()
        self._expected_beat = ""
        self._heard = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None
        self.n_losses = 0

    async def open(self, on_news: Callable[[News], None]) -> None:
        """Listen, and reconnect whenever the connection is lost or no heartbeat arrives.

        Raises:
            DatabaseFailed: The server cannot be reached, or its notifications do not arrive.
        """
        self._on_news = on_news
        await self._listen()
        self._watch = asyncio.create_task(self._keep_listening(), name="storage-peers")

    async def take_lead(self) -> bool:
        """Take the trainer's lock if it is free; return whether this process has just acquired it.

        Raises:
            DatabaseFailed: The server does not answer.
        """
        return await asyncio.shield(self._change_lead(take=True))

    async def give_lead(self) -> None:
        """Release the trainer's lock, if this process holds it.

        Raises:
            DatabaseFailed: The server does not answer.
        """
        await asyncio.shield(self._change_lead(take=False))

    async def _change_lead(self, *, take: bool) -> bool:
        """Take or release the lock; return whether it was taken now.

        Check, statement and note are one step: the server counts how often a session took a lock. After a
        statement without an answer the connection is closed, because only that frees the lock for certain.
        """
        async with self._asking:
            driver = self._driver
            if driver is None or self._leads is take:
                return False
            self._leads = False
            function = "pg_try_advisory_lock" if take else "pg_advisory_unlock"
            try:
                done = await self._run(driver, f"SELECT {function}($1, $2)", *self._training)
            except BaseException:
                driver.terminate()
                self._on_loss(driver)
                raise
            self._leads = take and bool(done) and driver is self._driver  # else it went with the connection
            self.n_taken += self._leads
            return self._leads

    @property
    def leads(self) -> bool:
        """Whether this process held the lock when it last checked."""
        return self._leads

    async def show_trainer(self) -> None:
        """Share the lock of processes that do nothing but train; a lost connection takes it when it is back.

        Raises:
            DatabaseFailed: The server does not answer.
        """
        if not self._shows_trainer:
            self._shows_trainer = True
            if self._driver is not None:
                await self._ask(self._driver, _SHOW_TRAINER, *self._only_trains)

    async def sees_trainer(self) -> bool:
        """Return whether any process holds that lock; True without a connection.

        Raises:
            DatabaseFailed: The server does not answer.
        """
        driver = self._driver
        return driver is None or bool(await self._ask(driver, _SEE_TRAINER, *self._only_trains))

    def notify(self, connection: Connection, news: News) -> None:
        """Notify the others when the transaction commits."""
        connection.execute(_NOTIFY, {"channel": CHANNEL, "payload": f"{self._name} {news}"})

    async def claim(self, number: int) -> bool:
        """Take an advisory lock, which no table and no file shows; the oldest of many claims is released.

        A process that cannot reach the server claims everything: better two answers than none.
        """
        driver = self._driver
        if driver is None or driver.is_closed():
            return True
        try:
            if not await self._ask(driver, "SELECT pg_try_advisory_lock($1)", number):
                return False
            self._claims.append(number)
            if len(self._claims) > CLAIMS:
                await self._ask(driver, "SELECT pg_advisory_unlock($1)", self._claims.popleft())
        except StorageError as exc:
            log.warning("a prompt could not be claimed (%s)", type(exc).__name__)
        return True

    async def close(self) -> None:
        """Stop listening; the server releases the lock."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
        await self._release()
        await self._engine.dispose()

    # --- listening -----------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        with self._translated():
            for _ in range(CONNECTIONS):
                connection = await self._engine.connect()
                raw = await connection.get_raw_connection()
                self._connections.append((connection, raw.driver_connection))
            (_, driver), _ = self._connections
            driver.add_termination_listener(self._on_loss)
            await driver.add_listener(CHANNEL, self._on_notification)
        if not await self._hears() or driver.is_closed():
            raise DatabaseFailed(
                f"{self._what}: notifications (LISTEN, NOTIFY) do not arrive, as behind a connection pooler "
                "or a firewall. Use the server's direct address in [storage] url."
            )
        await self.shards.connect(partial(self._ask, driver))
        if self._shows_trainer:
            await self._ask(driver, _SHOW_TRAINER, *self._only_trains)
        self._driver = driver

    async def _keep_listening(self) -> None:
        while True:
            why = "the connection was lost"
            try:
                await asyncio.wait_for(self._lost.wait(), self._beat_s)
            except TimeoutError:
                if await self._hears():
                    continue
                why = f"no heartbeat came back within {self._beat_s:.0f} s"
                self._on_loss(self._driver)
            log.warning(
                "notifications of other processes are missed (%s); cached data of members are dropped until "
                "they arrive again",
                why,
            )
            await self._reconnect()
            log.info("reconnected to other processes")
            self._on_news(News.LEFT)  # notifications in between were missed

    async def _hears(self) -> bool:
        """Send a heartbeat, and return whether it arrives in time."""
        self._expected_beat = _BEAT + secrets.token_hex(8)
        self._heard.clear()
        _, (_, sender) = self._connections
        beat = f"{self._name} {self._expected_beat}"
        try:
            async with asyncio.timeout(self._beat_s):
                with self._translated():
                    await sender.fetchval("SELECT pg_notify($1, $2)", CHANNEL, beat)
                await self._heard.wait()
        except (TimeoutError, StorageError):
            return self._heard.is_set()
        return True

    async def _reconnect(self) -> None:
        wait_s = self._first_wait_s
        while True:
            await self._deaf_during(self._release())
            await self._deaf_during(asyncio.sleep(wait_s))
            try:
                await self._deaf_during(asyncio.wait_for(self._listen(), LONGEST_WAIT_S))
            except (TimeoutError, StorageError) as exc:
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
                log.warning(
                    "no connection to other processes, retrying in %.0f s: %s",
                    wait_s,
                    exc or f"no answer in {LONGEST_WAIT_S:.0f} s",
                )
            else:
                self._lost.clear()
                return

    async def _deaf_during(self, work: Coroutine[Any, Any, T]) -> T:
        """Await ``work``, and keep evicting what is cached meanwhile."""
        task = asyncio.create_task(work)
        try:
            while not task.done():
                await asyncio.wait([task], timeout=self._beat_s)
                self._on_news(News.DEAF)
        finally:
            task.cancel()
            await asyncio.wait([task])
        return task.result()

    async def _release(self) -> None:
        self._driver, self._leads = None, False
        self._claims.clear()
        self.shards.disconnect()
        while self._connections:
            connection, driver = self._connections.pop()
            driver.terminate()  # a connection that does not answer cannot be closed
            # Not returned to the pool: a listening or dead connection cannot be reused.
            await connection.invalidate()
            await connection.close()

    def _on_loss(self, driver: Any) -> None:
        if driver is not None and driver is self._driver:
            self._driver, self._leads = None, False
            self.shards.disconnect()
            self.n_losses += 1
            self._lost.set()
            self._on_news(News.LEFT)  # news are missed from now on

    def _on_notification(self, _driver: Any, _pid: int, _channel: str, payload: str) -> None:
        name, _, news = payload.partition(" ")
        if name == self._name:
            if news == self._expected_beat:
                self._heard.set()
            return
        if news.startswith(_BEAT):
            return
        if news not in set(News):  # sent by another version: treat everything as changed
            news = News.LEFT
        self._on_news(News(news))

    async def _ask(self, driver: Any, query: str, *values: object) -> Any:
        """Run a query on the driver's own connection. It goes on if the caller is cancelled.

        Raises:
            DatabaseFailed: The server does not answer.
        """
        return await asyncio.shield(self._asked(driver, query, *values))

    async def _asked(self, driver: Any, query: str, *values: object) -> Any:
        async with self._asking:
            return await self._run(driver, query, *values)

    async def _run(self, driver: Any, query: str, *values: object) -> Any:
        with self._translated():
            return await driver.fetchval(query, *values)

    @contextmanager
    def _translated(self) -> Generator[None]:
        """Translate errors, also of asyncpg itself, whose connection is used without SQLAlchemy here.

        Raises:
            DatabaseFailed: The server cannot be reached, or refuses.
        """
        try:
            with translated_errors(self._what):
                yield
        except DRIVER_ERRORS as exc:
            raise translated(exc, self._what) from exc
