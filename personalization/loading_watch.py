"""Reports of a load that takes long: what is loaded, since when, and whether anything moves.

A load has no time limit, because the download of a large model may take hours. A network file system that
hangs or a hub that trickles would be silent, so a thread says every now and then what it sees, and how to
stop. Imports nothing heavy.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

FIRST_S = 30.0
LONGEST_S = 300.0
"""Time between two reports, seconds: it doubles from the first to the longest."""


@contextmanager
def watching(what: str) -> Generator[None]:
    """Report on the load in the body, or in the decorated function, until it ends.

    Args:
        what: What is loaded, for people: "the encoder".
    """
    ended = threading.Event()
    watch = threading.Thread(target=_report, args=(what, ended), name="loading watch", daemon=True)
    watch.start()
    try:
        yield
    finally:
        ended.set()
        watch.join()


def _report(what: str, ended: threading.Event) -> None:
    """Log one line after each pause, until the load has ended."""
    began, pause, before = time.monotonic(), FIRST_S, _moved()
    while not ended.wait(pause):
        now = _moved()
        log.warning(
            "still loading %s after %d s; since the last report %.1f s of computing, and %d KB read or"
            " written. Ctrl+C or SIGTERM stops the program at once",
            what,
            time.monotonic() - began,
            now[0] - before[0],
            (now[1] - before[1]) // 1024,
        )
        pause, before = min(2 * pause, LONGEST_S), now


def _moved() -> tuple[float, int]:
    """Return the computing time of this process, seconds, and the bytes that it has read and written."""
    try:
        counts = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        moved = sum(int(counts[name]) for name in ("rchar", "wchar", "read_bytes"))
    except OSError:  # macOS, or a container that hides it
        moved = 0
    return time.process_time(), moved
