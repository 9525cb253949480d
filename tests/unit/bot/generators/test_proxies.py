"""Proxies of the environment, with a real proxy on the loopback interface that answers itself."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from bot.generation import Context, GeneratorUnavailable
from bot.generators.openai_server import OpenAIGenerator
from bot.settings import GeneratorSettings
from tests.unit.bot.generators.scripted_server import STYLES, ScriptedServer, generator, said, serving

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@asynccontextmanager
async def proxy():
    """Yield the address of a proxy, and the hosts that it was asked for."""
    hosts: list[str] = []

    async def handle(request: web.BaseRequest) -> web.Response:
        hosts.append(request.host)
        return said("Through the proxy.")

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", hosts
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
async def test_a_remote_model_server_is_asked_through_the_proxy(name, monkeypatch):
    async with proxy() as (url, hosts):
        monkeypatch.setenv(name, url)
        async with generator("http://models.invalid/v1") as gen:
            candidates = await gen.generate(Context("hello"), STYLES[:1])

    assert ([c.text for c in candidates], hosts) == (["Through the proxy."], ["models.invalid"])


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
async def test_a_host_without_proxy_is_asked_directly(name, monkeypatch):
    async with proxy() as (url, hosts):
        monkeypatch.setenv("HTTP_PROXY", url)
        monkeypatch.setenv(name, "models.invalid")
        async with generator("http://models.invalid/v1") as gen:
            with pytest.raises(GeneratorUnavailable, match="cannot be reached"):
                await gen.generate(Context("hello"), STYLES[:1])

    assert hosts == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "localhost"])
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_a_server_on_this_machine_is_never_asked_through_a_proxy(name, host, monkeypatch):
    async with proxy() as (url, hosts), serving(ScriptedServer()) as server:
        monkeypatch.setenv(name, url)
        async with generator(server.url.replace("127.0.0.1", host)) as gen:
            if host == "127.8.9.10":  # nothing listens there
                with pytest.raises(GeneratorUnavailable):
                    await gen.generate(Context("hello"), STYLES[:1])
            else:
                assert await gen.generate(Context("hello"), STYLES[:1])

    assert hosts == []


@pytest.mark.parametrize(
    ("address", "said_"), [("socks5://127.0.0.1:1", "socksio"), ("ftp://127.0.0.1:1", "no valid address")]
)
def test_a_proxy_that_cannot_be_used_is_one_line(address, said_, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", address)
    settings = GeneratorSettings(kind="openai", model="tiny", base_url="http://models.invalid/v1")

    with pytest.raises(GeneratorUnavailable, match=said_) as refused:
        OpenAIGenerator(settings, {})

    assert "\n" not in str(refused.value)
    OpenAIGenerator(GeneratorSettings(kind="openai", model="tiny"), {})  # a loopback address needs no proxy
