"""The longest time that a stop may take: then the process ends, whatever still runs.

Supervisors kill a process about ten seconds after they asked it to stop. A part that does not close, such as
a model server that hangs or a locked database, must not use up that time in silence.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Self

STOP_WITHIN_S = 9.0
"""Longest time between a signal to stop and the end of the process, seconds."""


class StopDeadline:
    """Ends the process some time after :meth:`start`, unless the body of ``with`` ends before.

    Ending at once is safe: the bot first posts or withdraws its answers and writes the events it took, and a
    kill at any moment loses nothing that was stored.

    Args:
        within_s: Time between :meth:`start` and the end of the process, seconds.
    """

    def __init__(self, within_s: float = STOP_WITHIN_S) -> None:
        self._within_s = within_s
        self._ended, self._started = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stop-deadline", daemon=True)

    def __enter__(self) -> Self:
        return self

    def start(self) -> None:
        """Begin to count; further calls change nothing."""
        if not self._started.is_set():
            self._started.set()
            self._thread.start()

    def __exit__(self, *_exc: object) -> None:
        self._ended.set()
        if self._started.is_set():
            self._thread.join()

    def _watch(self) -> None:
        if not self._ended.wait(self._within_s):
            said = f"simpatico: a part did not close within {self._within_s:g} s; stopped without it"
            sys.stderr.write(said + "\n")
            sys.stderr.flush()
            os._exit(0)  # not an exception: the event loop would wait for the thread that hangs
