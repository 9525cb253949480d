"""Health checks: each part must pass a check on every heartbeat, or it is red.

A page that only shows that the process answers stays green over a frozen gateway. So each part is checked.
The gateway is checked by the heartbeats of its connection, the event path by written events, the writer by a
committed write. The trainer needs a live worker task and no work that runs for too long. A part is red when
its latest success is older than three heartbeats.

Served on the operator's loopback page (:mod:`bot.app.monitor`). ``/healthz`` asks whether the process lives:
200 when all parts are green, else 503. A part that has not passed a check yet has the same three heartbeats.
``/readyz`` asks whether the process works: 200 when every part has passed a check and none is red, else 503.
Orchestrators restart a process by the first and wait for the second. Both pages name parts, never people.

A restart does not end an outage of Discord, and it costs a scarce session for each shard. So the gateway has
two checks. It works when every shard is connected. It lives while a live task connects each shard or reads
from it: shards may wait for their turn to identify for hours.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, Self

from aiohttp import web

from bot.app.sharded_client import Link, ShardedBot
from bot.background.scheduler import LearningScheduler
from bot.reactions.inbox import Inbox
from bot.tasks import Tasks
from storage.store import Store

log = logging.getLogger(__name__)

BEAT_S = 10.0
BEATS = 3
"""A part without a success for so many heartbeats is red."""

Proof = Callable[[], Awaitable[bool]]
"""Checks a part: True is a success; False, an error or no answer within a heartbeat is none."""


class Health:
    """Checks every part once per heartbeat and keeps the time of each latest success.

    Args:
        proofs: Part -> its check.
        lives: Part -> the check that decides on ``/healthz`` instead, for a part that may wait for others.
        beat_s: Seconds between two heartbeats.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        proofs: Mapping[str, Proof],
        *,
        lives: Mapping[str, Proof] | None = None,
        beat_s: float = BEAT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._proofs, self._lives = dict(proofs), dict(lives or {})
        self._beat_s = beat_s
        self._clock = clock
        self._worked_at = {name: clock() for name in self._proofs}
        self._lived_at = {name: clock() for name in self._lives}
        self._unproven = set(proofs)
        self._tasks = Tasks()

    async def beat(self) -> None:
        """Check every part once, all concurrently."""
        asked = [self._ask(name, proof, self._worked_at) for name, proof in self._proofs.items()]
        asked += [self._ask(name, proof, self._lived_at) for name, proof in self._lives.items()]
        await asyncio.gather(*asked)

    async def __aenter__(self) -> Self:
        """Run heartbeats while the body runs."""
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
        """Return the parts that do not live: their latest success is too old."""
        return self._older(self._worked_at | self._lived_at)

    def not_ready(self) -> list[str]:
        """Return the parts that do not work, or have not passed a check since the start."""
        old = self._older(self._worked_at)
        return [name for name in self._proofs if name in old or name in self._unproven]

    def _older(self, successes: Mapping[str, float]) -> list[str]:
        oldest = self._clock() - BEATS * self._beat_s
        return [name for name, at in successes.items() if at < oldest]

    def routes(self) -> list[web.RouteDef]:
        """Return the routes ``/healthz`` and ``/readyz``."""

        def page(failing: Callable[[], list[str]], word: str) -> Callable[..., Awaitable[web.Response]]:
            async def answer(_request: web.Request) -> web.Response:
                found = failing()
                parts = {name: word if name in found else "green" for name in self._proofs}
                return web.json_response(parts, status=503 if found else 200)

            return answer

        return [
            web.get("/healthz", page(self.red, "red")),
            web.get("/readyz", page(self.not_ready, "not ready")),
        ]

    async def _ask(self, name: str, proof: Proof, successes: dict[str, float]) -> None:
        try:
            proven = await asyncio.wait_for(proof(), self._beat_s)
        except Exception as exc:  # boundary: any failure counts as no success
            log.warning("%s failed its health check (%s)", name, type(exc).__name__)
            return
        if proven:
            successes[name] = self._clock()
            if successes is self._worked_at:
                self._unproven.discard(name)


SILENT_S = 65.0
"""Discord acknowledges our heartbeat every 41 s; one that is silent for longer is frozen, seconds."""


class Checked(Protocol):
    """The parts of the bot that are checked."""

    @property
    def ws(self) -> object:
        """The gateway connection of discord.py; None before login."""
        ...

    @property
    def is_spare(self) -> bool:
        """Whether this process leaves all shards to other processes at the moment."""
        ...

    def is_ready(self) -> bool:
        """Return whether the gateway session is ready; with shards, that of each."""
        ...

    @property
    def inbox(self) -> Inbox:
        """Events that wait to be written."""
        ...

    @property
    def store(self) -> Store:
        """Commits the test write."""
        ...


def links_of(bot: Checked) -> list[Link]:
    """Return the connections of this process: one for each shard, or the only one.

    The program ends with the task of an only one, so that task lives.
    """
    return bot.links() if isinstance(bot, ShardedBot) else [Link(bot.ws, is_made=False, is_read=True)]


def _is_silent(ws: Any) -> bool:
    # discord.py has the time of the last frame nowhere else; its latency keeps its value when frozen.
    keeper = getattr(ws, "_keep_alive", None)
    return keeper is None or time.perf_counter() - keeper._last_recv >= SILENT_S


def _lives(link: Link) -> bool:
    """Return whether a task connects this link, or reads from a socket that is closed or not silent.

    discord.py replaces a silent socket itself within a minute, and a closed one after a pause.
    """
    is_open = link.ws is not None and getattr(link.ws, "open", True)
    return link.is_made or (link.is_read and not (is_open and _is_silent(link.ws)))


def learning_proofs(store: Store, scheduler: LearningScheduler) -> dict[str, Proof]:
    """Return the checks of what writes and learns; a process without Discord has no other parts."""

    async def writer() -> bool:
        await store.notes.put("heartbeat", "")
        return True

    async def trainer() -> bool:
        return scheduler.is_alive

    return {"writer": writer, "trainer": trainer}


def proofs_of(bot: Checked, scheduler: LearningScheduler) -> dict[str, Proof]:
    """Return the checks of a running bot."""
    written = -1

    async def gateway() -> bool:
        return bot.is_spare or (bot.is_ready() and not any(_is_silent(link.ws) for link in links_of(bot)))

    async def events() -> bool:
        nonlocal written
        moved, written = bot.inbox.n_written != written, bot.inbox.n_written
        return moved or not len(bot.inbox)

    return {"gateway": gateway, "events": events, **learning_proofs(bot.store, scheduler)}


def lives_of(bot: Checked) -> dict[str, Proof]:
    """Return the checks of parts that live although they wait for Discord."""

    async def gateway() -> bool:
        claims = not isinstance(bot, ShardedBot) or bot.is_claiming
        return claims and all(_lives(link) for link in links_of(bot))

    return {"gateway": gateway}


def health_of(
    bot: Checked,
    scheduler: LearningScheduler,
    *,
    beat_s: float = BEAT_S,
    clock: Callable[[], float] = time.monotonic,
) -> Health:
    """Return the health checks of a bot that connects to Discord."""
    return Health(proofs_of(bot, scheduler), lives=lives_of(bot), beat_s=beat_s, clock=clock)
