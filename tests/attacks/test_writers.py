"""One of two writers misbehaves: the other one writes the reply, and no key goes astray."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from bot.config import parse_settings
from bot.generation import Context, GeneratorError, Style, seated
from bot.generators.factory import create_generator
from bot.generators.model_server import stragglers
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
    monkeypatch.setattr(stragglers, "GRACE_S", (0.2, 0.2))
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
