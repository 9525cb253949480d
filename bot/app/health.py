"""Health that tells the truth: each part that must live proves it with a beat of its own, or it is red.

A page that only says "the process answers" stays green over a frozen gateway. So each part is asked for a
proof: the event path by the gateway's own heartbeats, the writer by a write of its own that was committed,
the trainer by its worker task being alive and by no work running for too long. A part is red as soon as its
latest proof is older than three beats. Served as ``/healthz`` on the operator's loopback page
(:mod:`bot.app.monitor`): 200 when all is green, else 503; it names parts, never people.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Self

from aiohttp import web

from bot.background.scheduler import LearningScheduler
from bot.client import SimpaticoBot
from bot.tasks import Tasks

log = logging.getLogger(__name__)

BEAT_S = 10.0
BEATS = 3
"""A part without a proof for so many beats is red."""

Proof = Callable[[], Awaitable[bool]]
"""Asks a part whether it lives: True is a proof; False, an error or no answer within a beat is none."""


class Health:
    """Asks every part once a beat and remembers when each last proved itself.

    Args:
        proofs: Part -> how to ask it.
        beat_s: Seconds between two questions.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        proofs: Mapping[str, Proof],
        *,
        beat_s: float = BEAT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._proofs = dict(proofs)
        self._beat_s = beat_s
        self._clock = clock
        self._proven_at = {name: clock() for name in proofs}
        self._tasks = Tasks()

    async def beat(self) -> None:
        """Ask every part once, all at the same time; none holds up another."""
        await asyncio.gather(*(self._ask(name, proof) for name, proof in self._proofs.items()))

    async def __aenter__(self) -> Self:
        """Beat while the body runs."""
        self._tasks.spawn(self._run(), name="health")
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._tasks.close()

    async def _run(self) -> None:
        while True:
            started = self._clock()
            await self.beat()
            await asyncio.sleep(max(0.0, self._beat_s - (self._clock() - started)))

    def red(self) -> list[str]:
        """The parts whose last proof is too old."""
        oldest = self._clock() - BEATS * self._beat_s
        return [name for name, at in self._proven_at.items() if at < oldest]

    def route(self) -> web.RouteDef:
        """``/healthz``."""

        async def answer(_request: web.Request) -> web.Response:
            red = self.red()
            parts = {name: "red" if name in red else "green" for name in self._proofs}
            return web.json_response(parts, status=503 if red else 200)

        return web.get("/healthz", answer)

    async def _ask(self, name: str, proof: Proof) -> None:
        try:
            proven = await asyncio.wait_for(proof(), self._beat_s)
        except Exception as exc:  # boundary: whatever keeps a part from proving itself, it has not
            log.warning("%s gave no proof of life (%s)", name, type(exc).__name__)
            return
        if proven:
            self._proven_at[name] = self._clock()


SILENT_S = 65.0
"""Discord acknowledges a heartbeat of ours every 41 s; a connection that was silent for longer is frozen."""


def proofs_of(bot: SimpaticoBot, scheduler: LearningScheduler) -> dict[str, Proof]:
    """How the parts of a running bot are asked."""
    written = -1

    async def gateway() -> bool:
        # discord.py tells the time of the last frame nowhere else; its latency stays when all is frozen.
        keeper = getattr(bot.ws, "_keep_alive", None)
        return bot.is_ready() and keeper is not None and time.perf_counter() - keeper._last_recv < SILENT_S

    async def events() -> bool:
        nonlocal written
        moved, written = bot.inbox.n_written != written, bot.inbox.n_written
        return moved or not len(bot.inbox)

    async def writer() -> bool:
        await bot.store.notes.put("heartbeat", "")
        return True

    async def trainer() -> bool:
        return scheduler.is_alive

    return {"gateway": gateway, "events": events, "writer": writer, "trainer": trainer}
