"""A model server hangs in one of many ways: the reply comes with the candidates that are there."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager

import pytest

from bot.generation import Context, GeneratorUnavailable, Style
from bot.generators.model_server import stragglers
from tests.rig.waiting import until
from tests.unit.bot.generators.scripted_server import generator
from tests.unit.bot.generators.server_shapes import saying

STYLES = tuple(Style(name, f"{name}.", 0.5) for name in ("a", "b", "c", "d"))
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
BODY = json.dumps(saying("Fine.")).encode()
WAYS = ("silent", "head only", "half a body", "trickles a head", "trickles a body", "busy for ever")


class Hanging:
    """A server that answers at once, except the style ``hangs``; records whose connections were closed."""

    def __init__(self, way: str, hangs: str) -> None:
        self.way = way
        self.hangs = hangs
        self.n_open = 0
        self.n_asked = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.n_open += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
                )
                body = json.loads(await reader.readexactly(int(length.split(b":")[1])))
                self.n_asked += 1
                if body["messages"][-1]["content"].split()[-1].strip("(.)") in self.hangs:
                    await self.hang(reader, writer)
                    return
                writer.write(HEAD + f"Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.n_open -= 1
            writer.close()

    async def hang(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gone = asyncio.ensure_future(reader.read())  # ends when the bot closes the connection
        piece = {"head only": HEAD, "half a body": HEAD + b"Content-Length: 999\r\n\r\n" + BODY[:40]}
        writer.write(piece.get(self.way, b""))
        if self.way == "trickles a head":
            writer.write(HEAD + b"X-Drop: ")
        if self.way == "trickles a body":
            writer.write(HEAD + b"Content-Length: 99999\r\n\r\n")
        if self.way == "busy for ever":
            writer.write(b"HTTP/1.1 503 Busy\r\nRetry-After: 100\r\nContent-Length: 2\r\n\r\n{}")
            return
        while not gone.done():
            if self.way.startswith("trickles"):
                writer.write(b" ")
            await asyncio.wait([gone], timeout=0.05)


@asynccontextmanager
async def hanging(way: str, hangs: str, **settings):
    server = Hanging(way, hangs)
    running = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}/v1"
    try:
        async with generator(url, **settings) as gen:
            yield server, gen
        await until(lambda: server.n_open == 0)
    finally:
        running.close()


async def replied_within(way: str, hangs: str) -> float:
    """Return the seconds until a reply; the candidates of all other styles are in it."""
    async with hanging(way, hangs, retries=2) as (server, gen):
        started = time.monotonic()
        candidates = await gen.generate(Context("hi"), STYLES)
        took = time.monotonic() - started
        assert [one.text for one in candidates] == ["Fine."]  # four equal texts are one candidate
        await until(lambda: server.n_open <= 4 - len(hangs))
        assert server.n_asked == 4
    return took


async def test_one_hanging_request_in_any_way_holds_no_reply_back():
    took = await asyncio.gather(*(replied_within(way, hangs) for way in WAYS for hangs in ("a", "bcd")))

    assert max(took) < stragglers.GRACE_S[0] + 2


async def test_control_without_the_grace_a_hanging_request_holds_the_reply_back(monkeypatch):
    monkeypatch.setattr(stragglers, "GRACE_S", (1000.0, 1000.0))

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(stragglers.FACTOR + 1.5):
            await replied_within("trickles a body", "a")


@pytest.mark.parametrize("way", ["silent", "trickles a body"])
async def test_if_all_requests_hang_the_reply_ends_in_time(way, monkeypatch):
    monkeypatch.setattr(stragglers, "_RETRY_PAUSE_S", 0.5)

    async with hanging(way, "abcd", timeout_s=0.5, retries=0) as (_, gen):
        started = time.monotonic()
        with pytest.raises(GeneratorUnavailable, match="did not answer within"):
            await gen.generate(Context("hi"), STYLES)

    assert time.monotonic() - started < 3
