"""Runs the slow work of a round off the event loop: a thread for arrays, a worker process for solving.

:mod:`personalization.rounds.trainer` decides what is computed; this module decides where. Labelling and
padding are short and share memory with the caller, so they run in a thread. Solving is long, so it runs in a
separate process (:mod:`personalization.rounds.worker`): there, neither the GIL nor a crash affects the bot.
That process holds a torch of its own, 220 MB. It ends after some minutes without work, and the next round
starts another one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Concatenate, ParamSpec, TypeVar

from personalization.errors import RoundFailed
from personalization.rounds.worker import Worker, on_placed, open_worker
from personalization.solving.training import Examples

P = ParamSpec("P")
T = TypeVar("T")

IDLE_S = 300.0
"""Time after which a worker process without work ends, seconds. Starting one takes 1.5 s of computing."""


def _timed(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> tuple[T, float]:
    """Run a function; return its result and the seconds of CPU time of this process meanwhile."""
    before = time.process_time()
    result = function(*args, **kwargs)
    return result, time.process_time() - before


class OffLoop:
    """One thread, and one worker process that starts with its first work and ends when it is idle.

    Args:
        executor: Solves in place of a worker process; the caller closes it. None starts a worker process.
        idle_s: Time without work after which the worker process ends, seconds.

    Attributes:
        worker_cpu_s: Seconds of CPU time that the worker process has used.
    """

    def __init__(self, executor: Executor | None = None, *, idle_s: float = IDLE_S) -> None:
        self._given = executor
        self._own: Executor | None = None
        self._idle_s = idle_s
        self._at_work = 0
        self._end_of_idling: asyncio.TimerHandle | None = None
        self.worker_cpu_s = 0.0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="labels")

    async def in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in the thread and return its result."""
        return await asyncio.wrap_future(self._thread.submit(function, *args, **kwargs))

    async def in_worker(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in the worker process and return its result.

        Raises:
            RoundFailed: The process died; the next call starts a new one.
        """
        return await self._run(self._given or self._own or self._open(), function, *args, **kwargs)

    async def on_examples(
        self,
        function: Callable[Concatenate[Examples, P], T],
        examples: Examples,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a function of examples in the worker process; their features take the shared memory.

        One call at a time.

        Raises:
            RoundFailed: The process died; the next call starts a new one.
        """
        self._begin_work()  # so that the process does not end between here and there
        worker = self._given or self._own or self._open()
        try:
            if not isinstance(worker, Worker) or not await self.in_thread(worker.place, examples.X):
                return await self._run(worker, function, examples, *args, **kwargs)
            try:
                rest = replace(examples, X=examples.X[:, :, :0])
                return await self._run(worker, on_placed, function, examples.X.shape, rest, *args, **kwargs)
            finally:
                await self.in_thread(worker.clear)
        finally:
            self._end_work()

    def _open(self) -> Executor:
        self._own = open_worker()
        return self._own

    async def _run(
        self, executor: Executor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        self._begin_work()
        try:
            result, cpu_s = await asyncio.wrap_future(executor.submit(_timed, function, *args, **kwargs))
            self.worker_cpu_s += cpu_s
            return result
        except BrokenProcessPool as exc:
            self._own = self._given = None
            raise RoundFailed(
                "expected an answer from the worker process, found it dead (killed, or out of memory); the"
                " heads in use stay, and the next round starts a new process"
            ) from exc
        finally:
            self._end_work()

    def _begin_work(self) -> None:
        self._at_work += 1
        if self._end_of_idling is not None:
            self._end_of_idling.cancel()

    def _end_work(self) -> None:
        self._at_work -= 1
        if self._at_work == 0:
            self._end_of_idling = asyncio.get_running_loop().call_later(self._idle_s, self._end_worker)

    def _end_worker(self) -> None:
        """Ask the worker process to end, without waiting for it."""
        if self._own is not None:
            self._own.shutdown(wait=False)
            self._own = None

    async def close(self) -> None:
        """End the worker process, if it is owned here, and the thread. Idempotent."""
        if self._end_of_idling is not None:
            self._end_of_idling.cancel()
        if self._own is not None:
            await self.in_thread(self._own.shutdown)
            self._own = None
        self._thread.shutdown()
