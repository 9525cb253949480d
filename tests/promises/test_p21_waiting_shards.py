"""P21: probes while shards wait: few sessions of the day are left, Discord is away, or the process hangs.

A restart costs a session for each shard, so ``/healthz`` stays green while a live task connects a shard or
waits for its turn. ``/readyz`` is red meanwhile. The real discord.py speaks to a Discord on the loopback
interface; the clock of the health checks is moved by the test.

Control: with the check of ``/readyz`` alone, the same process is red on ``/healthz``.
"""

from __future__ import annotations

import asyncio
import threading
import time
import urllib.error
import urllib.request
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import NamedTuple

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from bot.app.composition import open_house
from bot.app.health import BEAT_S, SILENT_S, Health, health_of, links_of, proofs_of
from bot.app.monitor import create_page
from bot.app.sharded_client import create_sharded_bot
from bot.client import SimpaticoBot
from bot.metrics import Metrics
from storage.records import Shard
from tests.fakes import HashEncoder, ScriptedGenerator
from tests.rig.discord_server import TOKEN, DiscordServer, IdentifyBudget, discord_server, pointed_at
from tests.rig.waiting import until

pytestmark = pytest.mark.promise("P21")
N_SHARDS = 4
HOUR_S, TEN_MINUTES_S = 3600.0, 600.0


class Pages(NamedTuple):
    """Status of the gateway on both pages."""

    healthz: str
    readyz: str


LIVES, WORKS, HANGS = Pages("green", "not ready"), Pages("green", "green"), Pages("red", "not ready")


class Probed:
    """A bot, and health checks whose clock the test moves."""

    def __init__(self, bot: SimpaticoBot, house, server: DiscordServer, *, lives: bool = True) -> None:
        self.bot, self.house, self.server = bot, house, server
        self.now = 0.0
        self.health = health_of(bot, house.scheduler, clock=lambda: self.now)
        if not lives:
            self.health = Health(proofs_of(bot, house.scheduler), clock=lambda: self.now)

    async def after(self, seconds: float) -> Pages:
        """Return what both pages say of the gateway, after heartbeats for so long."""
        for _ in range(int(seconds / BEAT_S)):
            self.now += BEAT_S
            await asyncio.gather(*(self._ask(at) for at in (self.health._worked_at, self.health._lived_at)))
        async with TestClient(TestServer(create_page(Metrics(), self.health.routes()))) as client:
            pages = [await (await client.get(path)).json() for path in ("/healthz", "/readyz")]
        return Pages(*(page["gateway"] for page in pages))

    async def _ask(self, at: dict[str, float]) -> None:
        """Check the gateway alone: hours of heartbeats need no committed writes."""
        proofs = self.health._lives if at is self.health._lived_at else self.health._proofs
        if "gateway" in proofs:
            await self.health._ask("gateway", proofs["gateway"], at)

    def silence(self) -> None:
        """Let no frame have come for a long time."""
        for link in links_of(self.bot):
            if link.ws is not None and link.ws._keep_alive is not None:  # a closed one has none
                link.ws._keep_alive._last_recv -= SILENT_S + 1


@pytest.fixture
def probed(settings):
    """Start a bot; how many sessions Discord allows is given."""

    @asynccontextmanager
    async def start(left: int, *, shard_count: int = N_SHARDS):
        budget = IdentifyBudget(max_concurrency=N_SHARDS, total=1000, n_used=1000 - left)
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(discord_server(shards=shard_count, budget=budget))
            stack.enter_context(pointed_at(server.url))
            fakes = {"encoder": HashEncoder(), "generator": ScriptedGenerator(), "seed": 0}
            house = await stack.enter_async_context(open_house(settings, **fakes))
            ids = tuple(range(shard_count))
            bot = create_sharded_bot(replace(settings.bot, shard_ids=ids), house.parts, shard_count)
            running = asyncio.create_task(bot.start(TOKEN))
            stack.push_async_callback(asyncio.wait, [running])
            stack.push_async_callback(bot.close)
            yield Probed(bot, house, server)

    return start


async def test_shards_that_wait_for_their_turn_live_and_do_not_work(probed):
    """100 of 1,000 sessions are left, so a shard may begin every 14 minutes."""
    async with probed(100) as one:
        await until(lambda: one.bot.shard_states()["ready"] == 1)
        await until(lambda: one.bot.identifies.limits is not None)

        assert await one.after(HOUR_S) == LIVES
    assert one.server.budget.n_used == 901


@pytest.mark.parametrize("shard_count", [1, N_SHARDS])
async def test_a_process_lives_without_sessions_left(probed, shard_count):
    async with probed(0, shard_count=shard_count) as one:
        await until(lambda: one.bot.identifies.limits is not None)

        assert await one.after(HOUR_S) == LIVES
    assert one.server.budget.n_used == 1000


async def test_a_shard_that_is_lost_before_all_were_ready_keeps_no_process_from_readiness(probed):
    async with probed(100) as one:
        await until(lambda: one.bot.shard_states()["ready"] == 1)
        waiting = [shard for shard in one.bot._served if one.bot.server_lists.state_of(shard) != "ready"]
        before = one.bot.is_ready()
        for shard in waiting:
            one.bot._lose(Shard(shard, N_SHARDS))

        assert (before, one.bot.is_ready()) == (False, True)


async def test_control_with_the_check_of_readiness_alone_a_process_that_waits_is_restarted(probed):
    async with probed(0) as one:
        control = Probed(one.bot, one.house, one.server, lives=False)

        assert await control.after(HOUR_S) == HANGS


@pytest.mark.parametrize("shard_count", [1, 2])
async def test_an_outage_of_discord_is_survived_and_works_again_after_it(probed, shard_count):
    async with probed(1000, shard_count=shard_count) as one:
        states = one.bot.shard_states
        await until(lambda: states()["ready"] == shard_count)
        assert await one.after(BEAT_S) == WORKS
        one.server.gateway.down = True
        one.server.gateway.drop()
        await until(lambda: states()["connecting"] == shard_count)
        one.silence()

        assert await one.after(TEN_MINUTES_S) == LIVES
        one.server.gateway.down = False
        await until(lambda: states()["ready"] == shard_count)
        assert await one.after(BEAT_S) == WORKS
    assert len(one.server.budget.started) == shard_count  # resumed


async def test_what_hangs_is_red(probed):
    """A task that died connects no shard, and a silent socket that stays open is frozen."""
    async with probed(1000, shard_count=2) as one:
        await until(lambda: one.bot.shard_states()["ready"] == 2)
        one.silence()
        assert await one.after(HOUR_S) == HANGS
        for link in one.bot.links():
            link.ws._keep_alive.tick()
        assert await one.after(BEAT_S) == WORKS

        one.bot._claiming.cancel()
        await asyncio.sleep(0)
        assert await one.after(HOUR_S) == Pages("red", "green")


@pytest.mark.parametrize("dies", ["launch", "reconnect"])
async def test_a_shard_whose_task_died_is_red(probed, dies):
    async with probed(1000 if dies != "launch" else 0, shard_count=2) as one:
        if dies == "launch":
            await until(lambda: len(one.bot.links()) == 2)
            one.bot._launches[1].cancel()
        else:
            await until(lambda: one.bot.shard_states()["ready"] == 2)
            connection = one.bot._AutoShardedClient__shards[1]
            connection._task.cancel()
            await asyncio.sleep(0)
            assert (await one.after(HOUR_S)).healthz == "red"
            one.server.gateway.down = True
            await connection.reconnect()
            assert (await one.after(HOUR_S)).healthz == "green"
            connection._connecting.cancel()
        await asyncio.sleep(0)

        assert (await one.after(HOUR_S)).healthz == "red"


def test_a_blocked_event_loop_answers_no_probe():
    """The page is served by the event loop, so a probe of a blocked one times out."""
    started, loops, port = threading.Event(), [], []

    async def serve() -> None:
        runner = web.AppRunner(create_page(Metrics(), Health({}).routes()), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        loops.append(asyncio.get_running_loop())
        port.append(runner.addresses[0][1])
        stop = asyncio.Event()
        loops.append(stop)
        started.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    started.wait(10)
    url = f"http://127.0.0.1:{port[0]}/healthz"
    ask = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
    with ask(url, timeout=10) as answer:
        assert answer.status == 200
    loops[0].call_soon_threadsafe(time.sleep, 1.0)
    with pytest.raises((TimeoutError, urllib.error.URLError)):
        ask(url, timeout=0.3)
    with ask(url, timeout=10) as answer:  # again, and the connection that timed out is accepted and ended
        assert answer.status == 200
    loops[0].call_soon_threadsafe(loops[1].set)
    thread.join()
