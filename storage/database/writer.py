"""The single writer: every change of the database is a unit of work in its queue.

The writer is one task on one connection. Units that arrive within a few milliseconds, or during a commit,
share one transaction (group commit). Each unit has its own savepoint, so a failing unit rolls back only
itself. A unit's future resolves after the commit: acknowledged means on disk. Cancelling a caller does not
cancel its unit.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database.backend import LIBRARY_ERRORS, Backend, own_error, roll_back, translated
from storage.errors import DatabaseFailed, StoreClosed, WriterFull
from storage.failpoints import failpoint
from storage.wording import counted

log = logging.getLogger(__name__)

T = TypeVar("T")

GROUP_LIMIT = 256
QUEUE_LIMIT = 20_000


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[Any], Any]
    alone: bool
    done: asyncio.Future[Any]

    def settle(self, outcome: object, what: str) -> None:
        if self.done.done():  # its caller was cancelled
            return
        if (own := own_error(outcome)) is not None:
            outcome = own
        elif isinstance(outcome, LIBRARY_ERRORS):
            failure = translated(outcome, what)
            failure.__cause__ = outcome
            outcome = failure
        if isinstance(outcome, BaseException):
            self.done.set_exception(outcome)
        else:
            self.done.set_result(outcome)


class Writer:
    """Applies units of work in the order of submission."""

    def __init__(
        self,
        connection: AsyncConnection,
        backend: Backend,
        *,
        wait_s: float,
        limit: int = QUEUE_LIMIT,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Start the writer's task; call inside the running loop.

        Args:
            connection: Reserved for the writer from now on; not closed here.
            backend: The database behind the connection.
            wait_s: How long a unit waits for others to share its commit, seconds.
            limit: Size of the queue, units.
            before: Awaited before each transaction, while other processes can still write. It never fails.
        """
        self._before = before
        self._connection = connection
        self._backend = backend
        self._wait_s = wait_s
        self._limit = limit
        self._waiting: deque[_Job] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._log_due = False
        self._task = asyncio.create_task(self._run(), name="storage-writer")

    def __len__(self) -> int:
        """Return the number of units in the queue."""
        return len(self._waiting)

    def submit(self, unit: Callable[[Connection], T]) -> asyncio.Future[T]:
        """Queue a unit; it may share its transaction with others.

        Raises:
            StoreClosed: After :meth:`close`.
            WriterFull: The queue is full.
        """
        return self._enqueue(unit, alone=False)

    def submit_alone(self, job: Callable[[AsyncConnection], Awaitable[T]]) -> asyncio.Future[T]:
        """Queue a job that makes its own transactions; no other unit runs between them.

        Raises:
            StoreClosed: After :meth:`close`.
            WriterFull: The queue is full.
        """
        return self._enqueue(job, alone=True)

    async def empty_log(self, wait_s: float = 1.0) -> None:
        """Empty the write-ahead log; if that fails, retry after each commit.

        Inside a job of :meth:`submit_alone`.
        """
        failpoint("writer.before-checkpoint")
        self._log_due = not await self._connection.run_sync(self._backend.empty_log, wait_s)
        failpoint("writer.after-checkpoint")
        if self._log_due and wait_s:
            log.warning("the log of data.db could not be emptied (does another program read it?); retrying")

    async def close(self) -> None:
        """Apply the queued units, then stop. Idempotent."""
        self._closing = True
        self._wake.set()
        await asyncio.wait([self._task])

    def _enqueue(self, work: Callable[[Any], Any], *, alone: bool) -> asyncio.Future[Any]:
        if self._closing or self._task.done():
            raise StoreClosed
        if len(self._waiting) >= self._limit:
            raise WriterFull(
                f"{counted(self._limit, 'write is', 'writes are')} waiting, so this one was rejected;"
                " try again in a moment."
            )
        job = _Job(work, alone, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        self._wake.set()
        return job.done

    async def _run(self) -> None:
        try:
            while self._waiting or not self._closing:
                if self._waiting:
                    await self._apply(self._next_group())
                    if self._log_due:
                        await self.empty_log(wait_s=0)
                    continue
                self._wake.clear()
                await self._wake.wait()
                if not self._closing:
                    await asyncio.sleep(self._wait_s)
        finally:
            for job in self._waiting:
                job.settle(StoreClosed(), self._backend.what)

    def _next_group(self) -> list[_Job]:
        group = [self._waiting.popleft()]
        while (
            self._waiting and not group[0].alone and not self._waiting[0].alone and len(group) < GROUP_LIMIT
        ):
            group.append(self._waiting.popleft())
        return group

    async def _apply(self, group: list[_Job]) -> None:
        """Run the group and commit it, then settle the future of every unit."""
        outcomes: list[object]
        try:
            if self._before is not None:
                await self._before()
            if group[0].alone:
                async with self._backend.alone(self._connection):
                    outcomes = [await group[0].work(self._connection)]
            else:
                async with self._connection.begin():
                    outcomes = await self._connection.run_sync(_run_units, group)
                    failpoint("writer.before-commit")
                failpoint("writer.after-commit")
        # Boundary: an error of a job or of the commit goes to the callers; the writer goes on.
        except Exception as exc:
            outcomes = [exc] * len(group)
            await self._connection.run_sync(roll_back)
        except BaseException:
            for job in group:
                stopped = DatabaseFailed("The writer stopped before the commit; nothing was acknowledged.")
                job.settle(stopped, self._backend.what)
            raise
        for job, outcome in zip(group, outcomes, strict=True):
            job.settle(outcome, self._backend.what)


def _run_units(connection: Connection, group: list[_Job]) -> list[object]:
    """Run every unit in its own savepoint; an error becomes the unit's outcome."""
    outcomes: list[object] = []
    for job in group:
        if outcomes:
            failpoint("writer.mid-batch")
        savepoint = connection.begin_nested()
        try:
            outcome = job.work(connection)
            savepoint.commit()
        # Boundary: the error of one unit goes to its caller; the other units of the transaction go on.
        except Exception as exc:
            try:
                savepoint.rollback()
            except SQLAlchemyError:  # the whole transaction is lost, for example on a full disk
                raise exc from None
            outcome = exc
        outcomes.append(outcome)
    return outcomes
