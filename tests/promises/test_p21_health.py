"""P21: health tells the truth.

The real bot runs with its real store and scheduler, and a clock that the test moves. Each beat checks every
part. A frozen gateway (its last frame gets old while everything else works), a stuck writer, a stuck event
path and a dead trainer turn red within three beats, and only they; they turn green again after recovery.
``/healthz`` then answers 503. ``/readyz`` answers 503 until every part has passed a check, and while one is
red.

Controls: a check that only asks whether the process answers stays green in all these cases; ``/healthz`` is
green before a part has passed a check.
"""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest
from aiohttp.test_utils import TestClient, TestServer

from bot.app.health import BEATS, SILENT_S, Health, health_of
from bot.app.monitor import create_page
from bot.metrics import Metrics
from bot.reactions.inbox import BATCH
from storage.records import Deleted

pytestmark = pytest.mark.promise("P21")

BEAT_S = 0.6
"""Interval of the checks, also their timeout; a stuck part uses all of it."""


class Clock:
    """Clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A bot with health checks, healthy until the test breaks a part."""

    def __init__(self, world) -> None:
        self.bot, self.scheduler = world.bot, world.house.scheduler
        self.frames = SimpleNamespace(_last_recv=time.perf_counter())
        self.bot.ws._keep_alive = self.frames
        self.scheduler.start()
        self.clock = Clock()
        self.health = health_of(self.bot, self.scheduler, beat_s=BEAT_S, clock=self.clock)

    async def beats(self, count: int = BEATS + 1) -> list[str]:
        for _ in range(count):
            self.clock.now += BEAT_S
            await self.health.beat()
        return self.health.red()

    async def break_(self, part: str) -> None:
        if part == "gateway":
            self.frames._last_recv -= SILENT_S + 1
        elif part == "writer":
            self.stuck = asyncio.Event()
            self.alone = self.bot.store._writer.submit_alone(lambda _connection: self.stuck.wait())
        elif part == "events":
            self.stuck = asyncio.Event()

            async def never(_events):
                await self.stuck.wait()
                raise RuntimeError("the test is over")

            self.bot.inbox._record = never
            for number in range(BATCH + 1):
                self.bot.inbox.put(Deleted(1, number))
        else:
            self.scheduler._worker.cancel()


@pytest.fixture
async def watched(world):
    watched = Watched(world)
    yield watched
    if (stuck := getattr(watched, "stuck", None)) is not None:
        stuck.set()
    watched.scheduler._worker = None if watched.scheduler._worker.done() else watched.scheduler._worker


async def test_everything_that_lives_is_green(watched):
    assert await watched.beats() == []


@pytest.mark.parametrize("part", ["gateway", "writer", "trainer"])
async def test_what_stands_still_is_red_within_three_beats_and_alone(watched, part):
    await watched.beats(1)
    await watched.break_(part)

    assert await watched.beats(BEATS + 1) == [part]


async def test_an_event_path_that_does_not_move_is_red(watched):
    await watched.break_("events")
    await watched.beats(1)

    assert await watched.beats(BEATS + 1) == ["events"]


async def test_a_part_that_lives_again_is_green_again(watched):
    await watched.break_("gateway")
    red = await watched.beats()
    watched.frames._last_recv = time.perf_counter()

    assert (red, await watched.beats(1)) == (["gateway"], [])


async def test_the_page_says_which_part(watched):
    async with TestClient(TestServer(create_page(Metrics(), watched.health.routes()))) as client:
        green = await client.get("/healthz")
        await watched.break_("gateway")
        await watched.beats()
        red = await client.get("/healthz")

        assert (green.status, red.status) == (200, 503)
        assert await red.json() == {
            "gateway": "red",
            "events": "green",
            "writer": "green",
            "trainer": "green",
        }


async def ready(watched) -> int:
    async with TestClient(TestServer(create_page(Metrics(), watched.health.routes()))) as client:
        return (await client.get("/readyz")).status


async def test_it_is_ready_once_every_part_has_passed_a_check(watched):
    before = await ready(watched)
    await watched.beats(1)

    assert (before, await ready(watched)) == (503, 200)


@pytest.mark.parametrize("part", ["gateway", "trainer"])
async def test_a_part_that_never_passed_a_check_is_not_ready_though_it_is_not_red_yet(watched, part):
    await watched.break_(part)
    await watched.beats(1)

    assert await ready(watched) == 503 and part in watched.health.not_ready()


async def test_what_becomes_red_is_not_ready_any_more_and_ready_again_after_recovery(watched):
    await watched.beats(1)
    await watched.break_("gateway")
    await watched.beats()
    broken = await ready(watched)
    watched.frames._last_recv = time.perf_counter()
    await watched.beats(1)

    assert (broken, await ready(watched)) == (503, 200)


async def test_control_whether_it_lives_does_not_tell_whether_it_is_ready(watched):
    await watched.break_("gateway")
    await watched.beats(1)

    assert watched.health.red() == [] and "gateway" in watched.health.not_ready()


@pytest.mark.parametrize("part", ["gateway", "writer", "trainer"])
async def test_control_health_that_asks_only_whether_the_process_answers_stays_green(watched, part):
    async def here() -> bool:
        return True

    watched.health = Health({"process": here}, beat_s=BEAT_S, clock=watched.clock)
    await watched.break_(part)

    assert await watched.beats() == []
