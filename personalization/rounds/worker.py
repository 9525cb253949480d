"""The worker process in which heads are solved, so that a solve never delays a reply.

Opened by :mod:`personalization.rounds.off_loop`. The process imports this module when it starts. So it is
separate from the trainer: the process needs the solve, but neither the encoder nor storage.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor

import torch


def open_worker() -> ProcessPoolExecutor:
    """Make a pool of one process. The process starts at the first call, which takes a few seconds.

    The process is spawned, not forked: a fork would copy locks held by the event loop's and torch's threads.
    """
    return ProcessPoolExecutor(
        max_workers=1, mp_context=multiprocessing.get_context("spawn"), initializer=become_worker
    )


def become_worker() -> None:
    """Lower the priority and the number of threads of the process, and tie its lifetime to the bot's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the bot handles Ctrl-C and then ends this process
    if hasattr(os, "nice"):
        os.nice(10)
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    threading.Thread(target=_follow_parent, name="follow-parent", daemon=True).start()


def _follow_parent() -> None:
    # A bot killed by a signal cannot shut the pool down; without this the process would never exit.
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)
