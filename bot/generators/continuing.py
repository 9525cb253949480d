"""Going on with a begun reply: the text grows while a model writes on a thread of its own.

Shared by the generators in this process. What is handed out is always cleaned, and ends with a whole sentence
wherever there is one, so that it can be shown as it is.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor

from bot.generators.cleaning import clean

Emit = Callable[[str], None]
"""Takes everything that was written so far behind the begun text; called on the thread."""

Work = Callable[[Emit, threading.Event], bool]
"""Writes until it is done or the event is set, asked between two tokens; tells whether it was cut off."""


def grown(begun: str, more: str, *, cut_off: bool) -> str:
    """The reply so far.

    Args:
        begun: A cleaned candidate.
        more: What the model wrote behind it.
        cut_off: Whether more is to come, or the token limit ended it.
    """
    runs_together = begun[-1:] in ".!?…:;" and more[:1].isalnum()
    return clean(f"{begun} {more}" if runs_together else begun + more, cut_off=cut_off)


async def texts_from_thread(threads: Executor, work: Work, begun: str) -> AsyncGenerator[str]:
    """Run ``work`` on a thread and hand out the growing reply; closing the iterator ends the work.

    Args:
        threads: Where it runs; it is free again when the iterator has ended.
        work: Writes.
        begun: The candidate to go on with.
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
            yield grown(begun, more, cut_off=True)
        yield grown(begun, more, cut_off=await job)
    finally:
        stop.set()
        await asyncio.wait([job])
        if not job.cancelled():
            job.exception()  # raised above, or nobody waits for it any more
