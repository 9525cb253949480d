"""Streams the continuation of a draft while a model generates on another thread.

Shared by the generators in this process. Every text it yields is cleaned and ends with a whole sentence if
there is one, so that it can be posted as it is.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncGenerator, Callable, Iterable
from concurrent.futures import Executor

from bot.generators.cleaning import clean

Emit = Callable[[str], None]
"""Receives all text generated so far after the draft; called on the generation thread."""

Work = Callable[[Emit, threading.Event], bool]
"""Generates until it is done or the event is set (checked between tokens); returns whether it was cut off."""


def grown(
    begun: str,
    more: str,
    *,
    cut_off: bool,
    markers: re.Pattern[str] | None = None,
    names: Iterable[str] = (),
) -> str:
    """Join a draft and its continuation into one cleaned reply.

    Args:
        begun: A cleaned candidate.
        more: Its continuation.
        cut_off: Whether more will follow, or the token limit cut it off.
        markers: Role markers of the model that the table does not hold.
        names: Names of the bot, which a model may write before its reply.
    """
    runs_together = begun[-1:] in ".!?…:;" and more[:1].isalnum()
    joined = f"{begun} {more}" if runs_together else begun + more
    return clean(joined, cut_off=cut_off, markers=markers, names=names)


async def texts_from_thread(
    threads: Executor,
    work: Work,
    begun: str,
    *,
    markers: re.Pattern[str] | None = None,
    names: Iterable[str] = (),
) -> AsyncGenerator[str]:
    """Run ``work`` on a thread and yield the growing reply. Closing the iterator stops the work.

    Args:
        threads: Executor of the work; its thread is free again once the iterator has ended.
        work: Generates the continuation.
        begun: The candidate to continue.
        markers: Role markers of the model that the table does not hold.
        names: Names of the bot, which a model may write before its reply.
    """
    loop, stop = asyncio.get_running_loop(), threading.Event()
    written: asyncio.Queue[str | None] = asyncio.Queue()

    def emit(more: str | None) -> None:
        loop.call_soon_threadsafe(written.put_nowait, more)

    def run() -> bool:
        try:
            return work(emit, stop)
        finally:
            emit(None)

    job = loop.run_in_executor(threads, run)
    more = ""
    try:
        while (latest := await written.get()) is not None:
            more = latest
            yield grown(begun, more, cut_off=True, markers=markers, names=names)
        yield grown(begun, more, cut_off=await job, markers=markers, names=names)
    finally:
        stop.set()
        await asyncio.wait([job])
        if not job.cancelled():
            job.exception()  # retrieved, because asyncio reports exceptions that are not
