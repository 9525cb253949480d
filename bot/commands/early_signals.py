"""Handles signals from the first moment of a start, before the event loop does.

A start imports libraries and loads models for seconds to minutes. Without a handler SIGHUP, as of a service
that reloads, would end the process, and SIGTERM would be ignored by a process 1 in a container. Imports
nothing heavy.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from types import FrameType


def handle_early_signals(said: str = "stopped before it was ready", code: int = 0) -> None:
    """Ignore SIGHUP, and end the process at once on SIGTERM and SIGINT, until the event loop takes over.

    Ending at once is safe: nothing is served yet, and a kill at any moment loses nothing that was stored.

    Args:
        said: What the last line says.
        code: Exit code.
    """
    if hasattr(signal, "SIGHUP"):  # not on Windows
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, partial(_end, said, code))


def _end(said: str, code: int, _signal: int, _frame: FrameType | None) -> None:
    # On a line of its own: a progress bar or the terminal's ^C may stand before it.
    print(f"\nsimpatico: {said}", file=sys.stderr, flush=True)
    os._exit(code)  # not an exception: the event loop would wait for the thread that loads a model
