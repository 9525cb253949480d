"""The process beside the bot in which heads are solved, so that no solve ever holds up a reply.

Kept apart from :mod:`personalization.rounds.trainer`, because the process imports this module at its start:
it needs the solve, but neither the encoder nor anything of storage.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor

import torch


def open_worker() -> ProcessPoolExecutor:
    """Make a pool of one process; it starts with its first work, in a few seconds.

    Spawned, not forked: a fork would copy the threads' locks of event loop and torch in whatever state they
    are.
    """
    return ProcessPoolExecutor(
        max_workers=1, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare
    )


def _prepare() -> None:
    """Set up the process: leave room for the bot, and end when the bot ends in whatever way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the bot's to answer
    if hasattr(os, "nice"):
        os.nice(10)
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    threading.Thread(target=_follow_parent, name="follow-parent", daemon=True).start()


def _follow_parent() -> None:
    # A killed bot cannot tell; without this the process would wait for work for ever.
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)
