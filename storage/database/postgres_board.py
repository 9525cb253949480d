"""Board on a PostgreSQL database: carries texts between processes by NOTIFY, and no table holds them.

It has a connection of its own, so that a burst of texts delays neither the heartbeat nor the locks of
:mod:`storage.database.postgres_peers`. While the connection is lost, what is to tell waits at its owner.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from storage.database.backend import LIBRARY_ERRORS
from storage.database.postgres_peers import DRIVER_ERRORS
from storage.errors import StorageError

log = logging.getLogger(__name__)

CHANNEL = "simpatico_board"
BEAT_S = 5.0
"""Longest silence after which the connection is tried, and longest wait for an answer, seconds."""
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
"""Wait before the first attempt to reconnect, doubled after each failure up to the longest, seconds."""
_NOTIFY = "SELECT count(pg_notify($1, told)) FROM unnest($2::text[]) AS told"
_ERRORS = (*DRIVER_ERRORS, *LIBRARY_ERRORS, StorageError, TimeoutError)


class PostgresBoard:
    """A board of all processes on one database.

    Args:
        engine: Source of one connection that commits each statement; disposed of here.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._wake = asyncio.Event()
        self._unsent: list[str] = []
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    async def open(
        self, hear: Callable[[str], None], to_tell: Callable[[], Sequence[str]], greeting: Callable[[], str]
    ) -> bool:
        """Connect in the background, and connect again whenever the connection is lost; return True."""
        self._task = asyncio.create_task(self._run(hear, to_tell, greeting), name="storage-board")
        return True

    def wake(self) -> None:
        """Send what is to tell, soon."""
        self._wake.set()

    async def close(self) -> None:
        """Send what is to tell, then disconnect."""
        if self._task is not None:
            self._closing = True
            self._wake.set()
            await asyncio.wait([self._task], timeout=BEAT_S)
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._engine.dispose()

    async def _run(
        self, hear: Callable[[str], None], to_tell: Callable[[], Sequence[str]], greeting: Callable[[], str]
    ) -> None:
        def heard(_driver: Any, _pid: int, _channel: str, payload: str) -> None:
            hear(payload)

        wait_s = FIRST_WAIT_S
        while True:
            connection = driver = None
            try:
                async with asyncio.timeout(LONGEST_WAIT_S):
                    connection = await self._engine.connect()
                    driver = (await connection.get_raw_connection()).driver_connection
                    assert driver is not None
                    await driver.add_listener(CHANNEL, heard)
                    # Before the greeting, so that the answers to it hold them.
                    self._unsent += to_tell()
                    await self._send(driver, [*self._unsent, greeting()])
                    self._unsent = []
                wait_s = FIRST_WAIT_S
                await self._keep_sending(driver, to_tell)
                return
            except _ERRORS as exc:
                log.warning(
                    "counts are not shared with the other processes; retrying in %.0f s (%s)",
                    wait_s,
                    type(exc).__name__,
                )
            finally:
                if driver is not None:
                    driver.terminate()  # a connection that does not answer cannot be closed
                if connection is not None:
                    await connection.invalidate()  # not returned to the pool: it listens, or is dead
                    await connection.close()
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    async def _keep_sending(self, driver: Any, to_tell: Callable[[], Sequence[str]]) -> None:
        """Send what is to tell until the connection fails or the board closes."""
        closing = False
        while not closing:
            try:
                await asyncio.wait_for(self._wake.wait(), BEAT_S)
            except TimeoutError:
                pass  # an empty send tries the connection
            self._wake.clear()
            closing = self._closing
            self._unsent += to_tell()
            await self._send(driver, self._unsent)
            self._unsent = []

    async def _send(self, driver: Any, payloads: Sequence[str]) -> None:
        await driver.fetchval(_NOTIFY, CHANNEL, list(payloads), timeout=BEAT_S)
