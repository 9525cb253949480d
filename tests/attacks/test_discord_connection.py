"""The way to Discord: through a proxy, refused by it, and lost again and again.

The real discord.py speaks to a proxy, or to a part of Discord, on the loopback interface.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
import re
import signal
import socket
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import aiohttp
import discord
import pytest
import yarl
from aiohttp import web
from discord.backoff import ExponentialBackoff
from discord.gateway import DiscordWebSocket

from bot.app.composition import open_house
from bot.app.logs import discreet_handler
from bot.app.stop_deadline import StopDeadline
from bot.commands import DiscordRefused, join_discord
from bot.config import Settings, discord_proxy
from bot.doctor import Verdict
from bot.doctor.discord_account import examine_account
from bot.settings import BotSettings
from tests.fakes import HashEncoder, ScriptedGenerator
from tests.rig.discord_server import TOKEN, IdentifyBudget, discord_server, pointed_at
from tests.rig.discord_server.gateway import Gateway
from tests.rig.proxying import NAMES, proxying
from tests.rig.waiting import until
from tests.unit.bot.doctor.findings import listed, serving

USER, PASSWORD = "us%40er", "pass-word"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def log():
    """What the handler of all records writes."""
    out = io.StringIO()
    handler = discreet_handler(out)
    logging.getLogger().addHandler(handler)
    yield out
    logging.getLogger().removeHandler(handler)


@pytest.fixture
def serve(settings: Settings, monkeypatch):
    """Return what runs the bot on Discord, with fakes for the models."""
    fakes = partial(open_house, encoder=HashEncoder(), generator=ScriptedGenerator())
    monkeypatch.setattr(join_discord, "open_house", fakes)

    async def run(**bot: Any) -> None:
        changed = Settings(bot=BotSettings(**bot), storage=settings.storage)
        with StopDeadline(3600) as deadline:
            await join_discord.serve(changed, TOKEN, lambda: None, deadline)

    return run


@pytest.fixture
def start(serve):
    """Run the bot on Discord; return why it ended."""

    async def run(**bot: Any) -> str:
        with pytest.raises(DiscordRefused) as refused:
            await serve(**bot)
        return str(refused.value)

    return run


@asynccontextmanager
async def little_discord(monkeypatch):
    """A part of Discord without TLS, which only a proxy can reach; yields its routes."""
    async with discord_server() as server:
        monkeypatch.setattr(discord.http.Route, "BASE", "http://discord.invalid/api/v10")
        yield {"discord.invalid": yarl.URL(server.url).port}


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (407, "asks for a user and a password (status 407): set HTTPS_PROXY"),
        (403, "refuses the way to Discord (status 403); correct HTTPS_PROXY or [bot] proxy"),
        (502, "refuses the way to Discord (status 502)"),
    ],
)
async def test_a_proxy_that_refuses_is_one_line_in_the_start_and_in_the_doctor(
    refusal, said, start, log, monkeypatch
):
    async with proxying(refusal=refusal) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", f"//{USER}:{PASSWORD}@"))
        why = await start()
        findings = await listed(examine_account(TOKEN, BotSettings(), discord_proxy(BotSettings())))

    assert set(proxy.asked) == {"CONNECT discord.com:443"}
    assert set(proxy.credentials) == {"Basic dXNAZXI6cGFzcy13b3Jk"}
    assert said in why and "\n" not in why
    assert [(f.what, f.verdict, f.said) for f in findings] == [("proxy", Verdict.FAILED, why)]
    for secret in (TOKEN, PASSWORD):
        assert secret not in why + log.getvalue()


async def test_rest_and_gateway_both_go_through_the_proxy(start, log, monkeypatch):
    async with little_discord(monkeypatch) as routes, proxying(routes=routes) as proxy:
        why = await start(proxy=proxy.url)

    assert proxy.asked[-1] == "CONNECT gateway.discord.gg:443"
    assert {line.split()[1] for line in proxy.asked[:-1]} == {"discord.invalid:80"}
    assert why.startswith(f"the proxy {proxy.url} refuses the way to Discord (status 502)")
    assert TOKEN not in why + log.getvalue()


async def test_a_proxy_that_does_not_listen_is_one_line(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    why = await start(proxy=f"http://127.0.0.1:{port}")

    assert why.startswith(f"the proxy http://127.0.0.1:{port} to Discord cannot be reached; correct")


async def test_the_doctor_names_the_proxy_through_which_discord_answers(monkeypatch):
    async with little_discord(monkeypatch) as routes, proxying(routes=routes) as proxy:
        settings = BotSettings(proxy=proxy.url)
        first, *_ = await listed(examine_account(TOKEN, settings, discord_proxy(settings)))

    assert first.said.startswith(f"Discord accepts it through the proxy {proxy.url}; invite")


async def test_control_a_client_without_the_argument_asks_no_proxy(monkeypatch):
    async with little_discord(monkeypatch) as routes, proxying(routes=routes) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        (finding,) = await listed(examine_account(TOKEN, BotSettings(), None))

    assert (finding.verdict, proxy.asked) == (Verdict.WARNING, [])


@pytest.mark.parametrize("shard_count", [1, 2])
@pytest.mark.parametrize(
    ("gateway", "said"),
    [
        ("ws://127.0.0.1:{closed}/", "Discord cannot be reached (Cannot connect to host 127.0.0.1"),
        ("ws://gateway.invalid/", "Discord cannot be reached (Cannot connect to host gateway.invalid"),
        ("ws://127.0.0.1:{page}/gateway", "Discord cannot be reached (404, message='Invalid response"),
    ],
    ids=["refused", "no such name", "a page"],
)
async def test_a_gateway_that_cannot_be_reached_at_first_is_one_line(
    gateway, said, shard_count, start, log, monkeypatch
):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with discord_server() as server:
        url = gateway.format(closed=port, page=yarl.URL(server.url).port)
        with pointed_at(server.url):
            monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(url))
            why = await start(shard_count=shard_count)

    assert why.startswith(said) and "\n" not in why
    assert "Traceback" not in log.getvalue()


@pytest.mark.parametrize("shard_count", [1, 2])
@pytest.mark.parametrize(
    ("code", "said"),
    [
        (4004, "refused the token"),
        (4010, "shard_count and shard_ids"),
        (4011, "a larger shard_count"),
        (4012, "install a newer discord.py"),
        (4013, "install a newer version"),
        (4014, "needs the message-content intent"),
    ],
)
async def test_a_session_that_discord_refuses_for_good_is_one_line_and_is_not_tried_again(
    code, said, shard_count, start, log, monkeypatch
):
    monkeypatch.setattr(Gateway, "_code_against", lambda *_: code)
    async with discord_server() as server:
        with pointed_at(server.url):
            why = await start(shard_count=shard_count)

    assert said in why and "\n" not in why
    assert server.gateway.counted[f"closed {code}"] == 1
    assert "Traceback" not in log.getvalue()


@pytest.mark.parametrize("status", [200, 302, 403, 407, 511])
@pytest.mark.parametrize("kind", ["text/html", "application/json"])
async def test_a_page_in_place_of_discord_is_one_line(status, kind, start, log, monkeypatch):
    """As a network with a login page, or a filter that opens TLS, answers."""

    async def page(_: web.Request) -> web.Response:
        body = b"<html>Log in</html>" if kind == "text/html" else b"[]"
        return web.Response(status=status, body=body, headers={"Content-Type": kind})

    async with serving(page) as url:
        monkeypatch.setattr(discord.http.Route, "BASE", f"{url}/api/v10")
        why = await start()
        findings = await listed(examine_account(TOKEN, BotSettings()))

    assert "Discord" in why and "\n" not in why
    assert findings[0].verdict in (Verdict.WARNING, Verdict.FAILED)
    assert TOKEN not in why + findings[0].said + log.getvalue()


async def test_an_intent_that_discord_does_not_grant_is_one_line(start, log):
    async with discord_server(message_content=False) as server:
        with pointed_at(server.url):
            why = await start(message_content=True)

    assert why.startswith("message_content = true needs the message-content intent: switch it on")
    assert server.gateway.counted["closed 4014"] == 1
    assert "Traceback" not in log.getvalue()


@pytest.mark.parametrize("shard_count", [1, 2])
async def test_without_sessions_left_the_bot_waits_keeps_its_token_and_can_be_stopped(
    shard_count, serve, log
):
    """As after a crash loop: a further session would cost the token."""
    async with discord_server(budget=IdentifyBudget(total=0)) as server:
        with pointed_at(server.url):
            running = asyncio.create_task(serve(shard_count=shard_count))
            await until(lambda: "0 of 0 sessions of this day are left" in log.getvalue())
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(running, 60)

    assert (server.n_resets, server.budget.n_used) == (0, 0)
    assert TOKEN not in log.getvalue()


async def test_a_token_that_discord_resets_is_one_line_and_is_not_tried_again(start, log, monkeypatch):
    """As after a crash loop, if Discord's counter of sessions is behind."""
    shown = IdentifyBudget().as_shown()
    monkeypatch.setattr(IdentifyBudget, "as_shown", lambda _: shown)
    async with discord_server(budget=IdentifyBudget(total=0)) as server:
        with pointed_at(server.url):
            why = await start()

    assert why.startswith("Discord closed the connection (code 4004): it refused the token; copy a fresh one")
    assert (server.n_resets, server.gateway.counted["closed 4004"]) == (1, 1)
    assert TOKEN not in why + log.getvalue()


class _Lost:
    """A session that was lost: what discord.py reads of it before it resumes."""

    def __init__(self, gateway: yarl.URL) -> None:
        self.sequence, self.session_id, self.gateway = 1, "s", gateway
        self.open = False


async def paused(base_s: float, n: int, monkeypatch) -> list[float]:
    """Let a client lose its connection to a gateway that refuses it; return its first pauses, seconds."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        gateway = yarl.URL(f"ws://127.0.0.1:{taken.getsockname()[1]}/")
    monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", gateway)
    monkeypatch.setattr("discord.client.ExponentialBackoff", partial(ExponentialBackoff, base_s))
    pauses: list[float] = []

    class Counts(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            pauses.extend(record.args or ())
            return True

    logger, counts = logging.getLogger("discord.client"), Counts()
    logger.addFilter(counts)
    client = discord.Client(intents=discord.Intents(guilds=True))
    client.ws = _Lost(gateway)
    await client._async_setup_hook()
    client.http.connector = aiohttp.TCPConnector(limit=0)
    client.http._HTTPClient__session = aiohttp.ClientSession(connector=client.http.connector)
    running = asyncio.create_task(client.connect())
    try:
        async with asyncio.timeout(30):
            while len(pauses) < n:
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await client.close()
        logger.removeFilter(counts)
    return pauses[:n]


async def test_lost_connections_are_one_line_each_and_the_pauses_grow(log, monkeypatch):
    """discord.py draws each pause below a bound that doubles; the sums of ten clients show it."""
    base_s = 0.002
    runs = [await paused(base_s, 6, monkeypatch) for _ in range(10)]
    lines = log.getvalue().splitlines()

    assert all(pause <= base_s * 2**i for run in runs for i, pause in enumerate(run, start=1))
    early, middle, late = (sum(run[i] + run[i + 1] for run in runs) for i in (0, 2, 4))
    assert all(first < second for first, second in pairwise((early, middle, late)))
    assert len(lines) >= 60
    one = r"\S+ \S+ ERROR discord\.client: Attempting a reconnect in \d\.\d\ds \(aiohttp\.\S+\)"
    assert [line for line in lines if not re.fullmatch(one, line)] == []
