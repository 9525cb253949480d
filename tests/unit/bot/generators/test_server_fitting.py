"""The server's own tokenizer cuts a context where it offers one; else the estimate does."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from bot.generation import Context, Turn
from bot.generators.prompt import estimate
from tests.unit.bot.generators.scripted_server import STYLES, generator, said

BURMESE = "ပါစတာကို မတူးဘဲ ဘယ်လိုချက်ရမလဲ ရှင်းပြပေးနိုင်မလား။ "
TURNS = tuple(Turn("assistant" if i % 2 else "user", f"turn {i}: {BURMESE}") for i in range(30))

VLLM = {"asks": "prompt", "says": lambda n: {"count": n, "max_model_len": 4096, "tokens": [1] * n}}
LLAMA_CPP = {"asks": "content", "says": lambda n: {"tokens": [1] * n}}
TGI = {"asks": "inputs", "says": lambda n: [{"id": 1, "text": "x", "start": 0, "stop": 1}] * n}
HOSTED = {"asks": "prompt", "says": lambda n: {"error": "no such page"}, "status": 404}
PAGE = {"asks": "prompt", "says": lambda n: "<html>"}
BUSY = {"asks": "prompt", "says": lambda n: {}, "status": 503}


class Counting:
    """A server with a tokenizer of four characters a token."""

    def __init__(self, kind: dict) -> None:
        self.kind = kind
        self.counted: list[str] = []
        self.bodies: list[dict] = []
        self.url = ""

    async def chat(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.json())
        return said("Fine.")

    async def tokenize(self, request: web.Request) -> web.Response:
        text = (await request.json())[self.kind["asks"]]
        self.counted.append(text)
        body = self.kind["says"](count(text))
        if isinstance(body, str):
            return web.Response(text=body, content_type="text/html")
        return web.json_response(body, status=self.kind.get("status", 200))


def count(text: str) -> int:
    return len(text) // 4 + 1


@asynccontextmanager
async def counting(kind: dict):
    server = Counting(kind)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.chat)
    app.router.add_post("/tokenize", server.tokenize)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield server
    finally:
        await runner.cleanup()


def n_turns(body: dict) -> int:
    return str(body["messages"]).count("turn ")


@pytest.mark.parametrize("kind", [VLLM, LLAMA_CPP, TGI], ids=["vLLM", "llama.cpp", "TGI"])
async def test_a_server_that_counts_keeps_as_much_history_as_fits(kind):
    async with counting(kind) as server, generator(server.url, context_tokens=400) as gen:
        await gen.generate(Context("and now?", TURNS), STYLES)

    assert {n_turns(body) for body in server.bodies} == {n_turns(server.bodies[0])}
    contents = "\n".join(m["content"] for m in server.bodies[0]["messages"])
    size = count(contents) + 8 * len(server.bodies[0]["messages"])
    assert 400 - 2 * count(TURNS[0].text) - 16 < size <= 410
    assert estimate(server.bodies[0]["messages"]) > 2 * size, "the estimate alone would keep less"
    assert server.counted[0] == "hello"
    assert max(map(len, server.counted)) < 16 * 400 * 3, "no more is sent than may fit"


@pytest.mark.parametrize("kind", [VLLM, LLAMA_CPP], ids=["vLLM", "llama.cpp"])
async def test_a_message_that_is_too_long_is_cut_by_the_servers_count(kind):
    async with counting(kind) as server, generator(server.url, context_tokens=200) as gen:
        await gen.generate(Context("START " + BURMESE * 100, TURNS), STYLES[:1])

    (body,) = server.bodies
    assert body["messages"][-1]["content"].startswith("START ")
    assert 180 < count("\n".join(m["content"] for m in body["messages"])) + 16 <= 200


@pytest.mark.parametrize("kind", [HOSTED, PAGE], ids=["hosted", "page"])
async def test_a_server_that_does_not_count_never_sees_a_text_there_and_is_asked_once(kind):
    async with counting(kind) as server, generator(server.url, context_tokens=400) as gen:
        await gen.generate(Context("and now?", TURNS), STYLES)
        await gen.generate(Context("and now?", TURNS), STYLES)

    assert server.counted == ["hello"]
    assert all(0 < n_turns(body) and estimate(body["messages"]) <= 400 for body in server.bodies)


async def test_a_busy_server_is_asked_for_its_count_again():
    async with counting(BUSY) as server, generator(server.url, context_tokens=400) as gen:
        await gen.generate(Context("and now?", TURNS), STYLES[:1])
        server.kind = VLLM
        await gen.generate(Context("and now?", TURNS), STYLES[:1])

    assert n_turns(server.bodies[1]) > n_turns(server.bodies[0])


async def test_a_context_that_fits_is_not_counted():
    async with counting(VLLM) as server, generator(server.url) as gen:
        await gen.generate(Context("hi", TURNS[:1]), STYLES)

    assert server.counted == []
    assert json.dumps(server.bodies[0]["messages"][-1]).count("turn 0") == 1
