"""A llama.cpp server that reads slowly is asked for one candidate after another."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from aiohttp import web

from bot.generation import Context, Style, Turn
from bot.generators.model_server.known import Pace
from tests.unit.bot.generators.scripted_server import generator, said, serving

STYLES = tuple(Style(name, f"{name}.", 0.5) for name in "abcd")
LONG = Context("and now?", tuple(Turn("user", f"turn {i} " + "of a long talk " * 9) for i in range(9)))
READS_SLOWLY = {"prompt_n": 900, "cache_n": 0, "prompt_ms": 60.0, "predicted_n": 8, "predicted_ms": 5.0}
WRITES_SLOWLY = READS_SLOWLY | {"prompt_ms": 5.0, "predicted_ms": 60.0}


class TimedServer:
    """Reports given times with each answer; counts the requests that run together. May hang in one style."""

    def __init__(self, timings: object) -> None:
        self.timings, self.hangs, self.url = timings, "", ""
        self.running = self.together = 0

    async def handle(self, request: web.Request) -> web.Response:
        style = (await request.json())["messages"][-1]["content"][-3]
        self.running += 1
        self.together = max(self.together, self.running)
        await asyncio.sleep(60.0 if style in self.hangs else 0.03)
        self.running -= 1
        answer = json.loads(said(f"I am {style}.").text)
        return web.json_response(answer | {"timings": self.timings})


@pytest.mark.parametrize(
    ("timings", "together"),
    [
        (READS_SLOWLY, 1),
        (READS_SLOWLY | {"prompt_n": 100, "cache_n": 800}, 1),
        (WRITES_SLOWLY, 4),
        (READS_SLOWLY | {"prompt_n": 8}, 4),  # too few to tell
        *((odd, 4) for odd in (None, {}, [], "fast", {"prompt_ms": 60.0}, READS_SLOWLY | {"prompt_ms": "?"})),
    ],
)
async def test_candidates_are_asked_for_in_turn_where_reading_takes_longer_than_writing(timings, together):
    server = TimedServer(timings)
    async with serving(server), generator(server.url) as gen:
        await gen.generate(LONG, STYLES)
        server.together = 0
        candidates = await gen.generate(LONG, STYLES)

    assert [candidate.style for candidate in candidates] == list("abcd")
    assert server.together == together


async def test_a_short_message_to_the_same_server_is_not_asked_in_turn():
    server = TimedServer(READS_SLOWLY | {"predicted_ms": 20.0})
    async with serving(server), generator(server.url) as gen:
        await gen.generate(LONG, STYLES)
        server.together = 0
        await gen.generate(Context("hi"), STYLES)

    assert server.together == 4


async def test_a_hanging_request_does_not_hold_back_the_others_for_long():
    server = TimedServer(READS_SLOWLY)
    async with serving(server), generator(server.url) as gen:
        await gen.generate(LONG, STYLES)
        server.hangs, started = "a", time.monotonic()
        candidates = await gen.generate(LONG, STYLES)
        took = time.monotonic() - started

    assert [candidate.style for candidate in candidates] == list("bcd")
    assert took < 20.0


async def test_a_cancelled_reply_frees_its_turn():
    pace = Pace()
    pace.learn(LONG, READS_SLOWLY)
    turns = pace.turns(LONG, 2)

    async def hold() -> None:
        async with turns():
            await asyncio.sleep(60.0)

    holding = asyncio.create_task(hold())
    await asyncio.sleep(0.01)
    holding.cancel()
    async with asyncio.timeout(1.0), turns():
        pass
