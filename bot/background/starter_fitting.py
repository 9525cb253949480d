"""Fits a starter prior in the background, once, for a configured encoder that has none.

A child process does the work (:mod:`personalization.lab.own_starter.fitting`), with low priority, so that
neither the start nor a reply waits for it. The plain prior answers meanwhile. The scheduler's job "starter"
starts the process and, once the starter is kept, gives it to the trainer. In a bot of several processes only
the one that trains starts it. The next start of the bot starts a killed process again; a failed one is tried
again a day later.
"""

from __future__ import annotations

import asyncio
import logging
import math
import multiprocessing
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

from bot.tasks import Tasks
from personalization.errors import StarterFailed
from personalization.heads.heads import Prior
from personalization.heads.kept_starter import KeptStarter
from personalization.settings import Device

log = logging.getLogger(__name__)

POLL_S = 2.0
LOGGED_EVERY_S = 300.0
RETRY_S = 86400.0


class StarterFitting:
    """Fits the starter of one encoder in a child process, and publishes it.

    Args:
        encoder: Name of the encoder, as configured.
        device: Device of the child process.
        kept: Where the starter is kept.
        fits: Whether to fit a missing starter; False: only publish one that is there.
        lead: Returns whether this process is the one that trains.
        publish: Gives the starter to the trainer, and tells it whether to store it for other processes;
            returns whether it is another one than before.
        sets: Folders of the sets to fit to; None: those that ship.
    """

    def __init__(
        self,
        encoder: str,
        device: Device,
        kept: KeptStarter,
        *,
        fits: bool,
        lead: Callable[[], Awaitable[bool]],
        publish: Callable[[Prior, bool], Awaitable[bool]],
        sets: Sequence[Path] | None = None,
    ) -> None:
        self._arguments = (encoder, device, kept.folder, sets)
        self._kept, self._fits = kept, fits
        self._lead, self._publish = lead, publish
        self._tasks = Tasks()
        self._retry_at = -math.inf
        self.mark_due: Callable[..., None] = lambda *works: None
        """Called with the names of works that are due: "starter" is :meth:`run`."""

    async def run(self) -> None:
        """Publish the kept starter; without one, start a child process that fits it and return at once.

        Raises:
            StorageError: The starter could not be stored.
        """
        try:
            found = await asyncio.to_thread(self._kept.read)
        except StarterFailed as exc:  # it may be sound, so the next run reads it again
            log.warning("The kept starter prior is not used now: %s", exc)
            return
        if found is not None:
            if await self._publish(found, await self._lead()):
                self.mark_due("prior", "round")
        elif self._fits and not len(self._tasks) and time.monotonic() >= self._retry_at:
            if await self._lead():
                self._retry_at = time.monotonic() + RETRY_S
                self._tasks.spawn(self._fit(), name="starter")

    async def close(self) -> None:
        """Kill a child process that runs."""
        await self._tasks.close()

    async def _fit(self) -> None:
        """Run the child process to its end and log its progress; a cancellation kills it."""
        log.info(
            "A starter prior is being fitted for this encoder, once, in the background; a plain one answers"
        )
        started_s = time.monotonic()
        why = await self._run_child()
        if not why:
            log.info("The starter prior is fitted, after %.0f s", time.monotonic() - started_s)
            self.mark_due("starter")
            return
        log.warning("No starter prior was fitted (%s); a plain one answers, and it is tried tomorrow", why)
        await asyncio.to_thread(self._kept.tell_failure, why)

    async def _run_child(self) -> str:
        """Run the child process to its end; return why it failed, without any text of a member, or ""."""
        from personalization.lab.own_starter.fitting import fit_in_process  # the lab: hardly a bot needs it

        context = multiprocessing.get_context("spawn")
        reasons, sent = context.Pipe(duplex=False)
        process: BaseProcess = context.Process(
            target=fit_in_process, args=(*self._arguments, sent), name="starter", daemon=True
        )
        logged_s = time.monotonic()
        try:
            await asyncio.to_thread(process.start)
            sent.close()  # so that the end of the process ends the pipe
            while process.is_alive():
                await asyncio.sleep(POLL_S)
                if time.monotonic() - logged_s >= LOGGED_EVERY_S:
                    logged_s = time.monotonic()
                    log.info("The starter prior is fitted: %s", await asyncio.to_thread(self._kept.told))
            if process.exitcode == 0:
                return ""
            told = await asyncio.to_thread(self._kept.told)
            with suppress(EOFError, OSError):
                return str(reasons.recv())
            return f"the process ended with {process.exitcode} at {told or 'its start'}"
        except OSError as exc:
            return f"the process did not start: {exc.strerror}"
        finally:
            if process.pid is not None:
                process.kill()
                process.join()
            reasons.close()
