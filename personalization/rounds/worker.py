"""The worker process in which heads are solved, so that a solve never delays a reply.

Opened by :mod:`personalization.rounds.off_loop`. The process imports this module when it starts. So it is
separate from the trainer: the process needs the solve, but neither the encoder nor storage.

Features of a page of members reach the process through memory that both processes share. A pipe would copy
them four times. The memory has no name that another process could open, it lies in no file of a disk, and it
is cleared after each page.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing.context import SpawnContext
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import torch

from personalization.arrays import FloatArray
from personalization.solving.training import Examples

P = ParamSpec("P")
T = TypeVar("T")

SHARED_BYTES = 8 * 2**20
"""Size of the shared memory: one page of the trainer. Larger features take the pipe."""
_IN_MEMORY = "/dev/shm"  # noqa: S108 - only asked for its free space
"""Where Linux keeps shared memory. Without it, multiprocessing would use a file on a disk."""


class Worker(ProcessPoolExecutor):
    """A pool of one process, which starts at the first call. That takes a few seconds.

    The process is spawned, not forked: a fork would copy locks held by the event loop's and torch's threads.
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._shared = _shared_memory(context)
        super().__init__(1, context, become_worker, (self._shared,))

    def place(self, X: FloatArray) -> bool:
        """Copy features into the shared memory; return whether they fit. Blocks for a few milliseconds."""
        if self._shared is None or X.nbytes > SHARED_BYTES:
            return False
        np.copyto(_view(self._shared, X.shape), X)
        return True

    def clear(self) -> None:
        """Overwrite what was placed: it belongs to members, who may leave."""
        if self._shared is not None:
            _view(self._shared, (SHARED_BYTES // 4,)).fill(0)


def on_placed(
    function: Callable[Concatenate[Examples, P], T],
    shape: tuple[int, ...],
    rest: Examples,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Run a function in the worker process, on examples whose features :meth:`Worker.place` put there.

    Args:
        function: The function.
        shape: Shape of the features, ``u x n x d``.
        rest: The examples, without features.
        args: Further arguments of the function.
        kwargs: Further arguments of the function, by name.
    """
    return function(replace(rest, X=_view(_placed, shape)), *args, **kwargs)


def open_worker() -> Worker:
    """Make a pool of one process."""
    return Worker()


_placed: Any = None
"""The shared memory, in the worker process."""


def become_worker(shared: Any = None) -> None:
    """Lower the priority and the number of threads of the process, and tie its lifetime to the bot's.

    Args:
        shared: Memory shared with the bot, or None.
    """
    global _placed
    _placed = shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the bot handles Ctrl-C and then ends this process
    if hasattr(os, "nice"):
        os.nice(10)
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    threading.Thread(target=_follow_parent, name="follow-parent", daemon=True).start()


def _shared_memory(context: SpawnContext) -> Any:
    """Return memory to share, or None: a full ``/dev/shm`` would end the process at the first use."""
    try:
        has_room = shutil.disk_usage(_IN_MEMORY).free > 2 * SHARED_BYTES and os.access(_IN_MEMORY, os.W_OK)
        return context.RawArray("b", SHARED_BYTES) if has_room else None
    except OSError:
        return None


def _view(shared: Any, shape: tuple[int, ...]) -> FloatArray:
    return np.frombuffer(shared, np.float32, int(np.prod(shape))).reshape(shape)


def _follow_parent() -> None:
    # A bot killed by a signal cannot shut the pool down; without this the process would never exit.
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)
