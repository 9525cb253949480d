"""Whether the server of the keys answers, so that a silent one is noticed before a lock is held.

A change of the data that needs a key asks the server of the keys while it holds the lock of the one writer
of all processes. A server that refuses fails such a change at once. A server that is silent, as behind a
firewall that drops packets, would hold up the changes of every host. So the writer asks before it takes the
lock. While no answer comes, what needs a key fails at once, and a question in the background notices the
first answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.database.backend import LIBRARY_ERRORS, own_error, translated
from storage.errors import DatabaseFailed, StorageError
from storage.keys.key_place import Part

ANSWER_S = 5.0
"""Longest wait for a connection and for the answer to a statement, seconds."""
_AGAIN_S = 0.5
"""Longest wait of a change for the next question to a server that did not answer the last one, seconds."""
_FRESH_S = 0.1
"""Age up to which an answer needs no new question, seconds."""


class Answers:
    """The latest answer of a server.

    Args:
        engine: Its connections, which are tested whenever they are taken from the pool.
        what: Name of the place in messages.
    """

    def __init__(self, engine: AsyncEngine, what: str) -> None:
        self._engine, self._what = engine, what
        self._heard_s = time.monotonic()
        self._failure: StorageError | None = None
        self._question: asyncio.Task[None] | None = None

    async def ask(self) -> None:
        """Find out whether the server answers; wait a few seconds at most, and less while it does not."""
        if self._failure is None and time.monotonic() - self._heard_s < _FRESH_S:
            return
        question = self._ask_in_background()
        await asyncio.wait([question], timeout=ANSWER_S if self._failure is None else _AGAIN_S)
        if not question.done():
            self._failure = self._failure or self._silence()

    def require(self) -> None:
        """Fail at once if the server did not answer the last question.

        Raises:
            DatabaseFailed: It did not.
        """
        if self._failure is not None:
            self._ask_in_background()
            raise DatabaseFailed(str(self._failure)) from self._failure

    def note(self, failure: DatabaseFailed) -> None:
        """Note that a statement failed; after a loss or a silence the next ones fail at once."""
        cause = failure.__cause__
        if isinstance(cause, TimeoutError):
            self._failure = self._silence()
        elif isinstance(cause, OSError) or (isinstance(cause, DBAPIError) and cause.connection_invalidated):
            self._failure = failure

    async def close(self) -> None:
        """End the question in the background."""
        if self._question is not None:
            self._question.cancel()
            await asyncio.wait([self._question])

    def _ask_in_background(self) -> asyncio.Task[None]:
        if self._question is None or self._question.done():
            self._question = asyncio.create_task(self._asked(), name="storage-keys")
        return self._question

    def _silence(self) -> DatabaseFailed:
        return DatabaseFailed(
            f"{self._what} does not answer; what needs a key fails until it does. Check that server and the"
            " network to it, then try again."
        )

    async def _asked(self) -> None:
        try:
            async with self._engine.connect():
                self._failure, self._heard_s = None, time.monotonic()
        except TimeoutError:
            self._failure = self._silence()
        except LIBRARY_ERRORS as exc:
            self._failure = own_error(exc) or translated(exc, self._what)
        except StorageError as exc:  # the server answers, but its settings are wrong
            self._failure = exc


class ServerPart(Part):
    """Key store or erasure ledger on a server that may fall silent.

    Args:
        engine: Source of connections.
        what: Its name in messages.
        answers: Shared by the parts of one server.
    """

    def __init__(self, engine: AsyncEngine, what: str, answers: Answers) -> None:
        super().__init__(engine, what)
        self._answers = answers

    @contextmanager
    def connected(self) -> Generator[Connection]:
        """Yield a connection as :meth:`Part.connected`, or fail at once while the server does not answer.

        Raises:
            DatabaseFailed: It does not answer, or it refused.
        """
        self._answers.require()
        try:
            with super().connected() as connection:
                yield connection
        except DatabaseFailed as exc:
            self._answers.note(exc)
            raise

    async def ask(self) -> None:
        """Find out whether the server answers."""
        await self._answers.ask()
