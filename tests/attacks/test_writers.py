"""One of two writers misbehaves: the other one writes the reply, and no key goes astray."""

from __future__ import annotations

import asyncio
import logging
import os
import time

import pytest

from bot.config import parse_settings
from bot.generation import Context, GeneratorError, Style, seated
from bot.generators import openai_server
from bot.generators.factory import create_generator
from bot.generators.model_server import stragglers, writers
from bot.generators.model_server.connection import ServerClient, is_openai
from storage.records import Seat
from tests.unit.bot.generators.scripted_server import ScriptedServer, refused, said, serving

SECRET = "sk-of-the-first-server"
WORDS = "words of a member"


async def hangs(body):
    await asyncio.sleep(30)
    return said("too late")


async def says_only_thoughts(body):
    return said("<think>hmm</think>")


WAYS = {
    "error": refused(500),
    "overloaded": refused(429),
    "no such model": refused(404),
    "wrong key": refused(401, code="invalid_api_key"),
    "blank": "",
    "thinks": says_only_thoughts,
    "hangs": hangs,
}


def seats(*writers: str) -> list[Style]:
    names = ("concise", "detailed", "playful", "warm")
    return [
        seated(Style(name, f"{name}."), Seat(place, name, writer))
        for place, (name, writer) in enumerate(zip(names, writers, strict=True))
    ]


def writers_at(first: str, second: str):
    writers = [{"model": "good"}, {"model": "bad", "base_url": second}]
    raw = {"kind": "openai", "model": "good", "base_url": first, "retries": 0, "writers": writers}
    return create_generator(parse_settings({"generator": raw}).generator)


@pytest.mark.parametrize("way", WAYS)
async def test_the_reply_comes_from_the_other_writer_and_the_log_holds_no_word(way, monkeypatch, caplog):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    for waits in (stragglers, writers):
        monkeypatch.setattr(waits, "GRACE_S", (0.2, 0.2))
    good, bad = ScriptedServer(), ScriptedServer()
    bad.answer_all(WAYS[way])
    async with serving(good), serving(bad):
        generator = writers_at(good.url, bad.url)
        started = time.monotonic()
        with caplog.at_level(logging.DEBUG):
            found = await generator.generate(Context(WORDS), seats("good", "bad", "good", "bad"))
        took = time.monotonic() - started
        able = [one.name for one in generator.able()]
        await generator.close()

    assert {one.seat.writer for one in found} == {"good"}
    assert took < 10
    assert able == ["good"]
    assert WORDS not in caplog.text and SECRET not in caplog.text
    assert set(good.keys) == {f"Bearer {SECRET}"}
    assert all(SECRET not in str(key) for key in bad.keys)


async def test_a_server_that_is_gone_costs_nothing_but_its_candidates():
    good = ScriptedServer()
    async with serving(good):
        generator = writers_at(good.url, "http://127.0.0.1:9/v1")
        found = await generator.generate(Context("hi"), seats("bad", "bad", "bad", "bad"))
        await generator.close()

    assert {(one.seat.writer, one.seat.shares) for one in found} == {("good", ())}
    assert len(good.bodies) == 4  # k candidates, not more


async def test_control_a_single_writer_that_is_gone_leaves_no_reply():
    raw = {"kind": "openai", "model": "bad", "base_url": "http://127.0.0.1:9/v1", "retries": 0}
    generator = create_generator(parse_settings({"generator": raw}).generator)

    with pytest.raises(GeneratorError):
        await generator.generate(Context("hi"), seats("bad", "bad", "bad", "bad"))
    await generator.close()


class AllSet(dict):
    """An environment that holds a secret under every name that begins with ``OPENAI_``, also unknown ones."""

    SECRET = "meant-for-openai"

    def get(self, name, default=None):
        if not str(name).startswith("OPENAI_"):
            return super().get(name, default)
        lines = [f"{header}: {self.SECRET}" for header in ("Authorization", "User-Agent", "X-Key")]
        return ("\n" if "HEADERS" in name else " ").join(lines)


async def headers_at_both(monkeypatch) -> str:
    """Return every header that two writers send, also with the requests that count tokens."""
    monkeypatch.setattr(os, "environ", AllSet(os.environ))
    first, second = ScriptedServer(), ScriptedServer()
    async with serving(first), serving(second):
        generator = writers_at(first.url, second.url)
        await generator.generate(Context(WORDS), seats("good", "bad", "good", "bad"))
        clients = [one.generator._client for one in generator._writers]
        counting = [str(one.with_options(timeout=1).default_headers) for one in clients]
        await generator.close()
    return "\n".join([*first.headers, *second.headers, *counting])


async def test_what_the_environment_holds_for_openai_reaches_no_other_server(monkeypatch):
    found = await headers_at_both(monkeypatch)

    assert found.count("Content-Type") >= 6  # requests were sent
    assert AllSet.SECRET not in found


async def test_control_the_library_alone_sends_it_to_every_server(monkeypatch):
    monkeypatch.setattr(openai_server, "ServerClient", openai_server.openai.AsyncOpenAI)

    assert AllSet.SECRET in await headers_at_both(monkeypatch)


@pytest.mark.parametrize(
    ("address", "is_theirs"),
    [
        ("https://api.openai.com/v1", True),
        ("https://eu.api.openai.com/v1", True),
        ("HTTPS://API.OPENAI.COM/v1", True),
        ("http://api.openai.com/v1", False),
        ("https://notopenai.com/v1", False),
        ("https://api.openai.com.evil.example/v1", False),
        ("https://api.openai.com@evil.example/v1", False),
        ("https://evil.example/api.openai.com", False),
        ("https://me.openai.azure.com/v1", False),
        ("http://localhost:8000/v1", False),
    ],
)
def test_openai_is_known_by_its_address_alone(address, is_theirs, monkeypatch):
    monkeypatch.setenv("OPENAI_ORG_ID", SECRET)

    assert is_openai(address) is is_theirs
    client = ServerClient(base_url=address, api_key="own").with_options(max_retries=0)
    assert (SECRET in str(client.default_headers)) is is_theirs
