"""A model server on the loopback interface whose answers a test scripts, and a generator that asks it."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from inspect import isawaitable

from aiohttp import web

from bot.generation import Style
from bot.generators.openai_server import OpenAIGenerator
from bot.settings import GeneratorSettings
from tests.rig.waiting import until

STYLES = (Style("short", "Be short.", 0.5), Style("long", "Be long.", 1.0))


class ScriptedServer:
    """Answers by the requested style and records the requests."""

    def __init__(self) -> None:
        self.bodies: list[dict] = []
        self.keys: list[str | None] = []
        self.headers: list[str] = []
        self.answers: dict[str, object] = {"short": "Hi.", "long": "Hello there, friend."}
        self.delay_s = 0.0
        self.streams = None
        self.n_together = 0
        """Number of requests that must have arrived before any is answered."""
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.headers.append(str(request.headers))
        body = await request.json()
        self.bodies.append(body)
        if body.get("stream") and self.streams is not None:
            return await self.streams(request)
        self.keys.append(request.headers.get("Authorization"))
        await asyncio.sleep(self.delay_s)
        await until(lambda: len(self.bodies) >= self.n_together)
        answer = self.answers["short" if "Be short." in str(body["messages"]) else "long"]
        if not callable(answer):
            return said(answer)
        response = answer(body)
        return await response if isawaitable(response) else response

    def answer_all(self, answer: object) -> None:
        self.answers = {"short": answer, "long": answer}


def said(text: object, finish: str = "stop") -> web.Response:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": finish, "message": message}
    return web.json_response(
        {"id": "1", "object": "chat.completion", "created": 1, "model": "tiny", "choices": [choice]}
    )


def refused(status: int, **error: object):
    return lambda _body: web.json_response({"error": {"message": "no", **error}}, status=status)


@asynccontextmanager
async def serving(server: ScriptedServer):
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield server
    finally:
        await runner.cleanup()


@asynccontextmanager
async def generator(url: str, environ=None, **settings):
    chosen = {"kind": "openai", "model": "tiny", "base_url": url, "retries": 0, "persona": "You are kind."}
    gen = OpenAIGenerator(GeneratorSettings(**(chosen | settings)), environ or {})
    try:
        yield gen
    finally:
        await gen.close()


def streamed(*pieces: str, finish: str | None = "stop", breaks_off: bool = False):
    """Answer as a stream of server-sent events."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number, piece in enumerate(pieces, start=1):
            last = finish if number == len(pieces) else None
            choice = {"index": 0, "delta": {"content": piece}, "finish_reason": last}
            chunk = {
                "id": "1",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": "t",
                "choices": [choice],
            }
            event = json.dumps(chunk)
            await response.write(f"data: {event}\n\n".encode())
        if breaks_off:
            request.transport.close()
        else:
            await response.write(b"data: [DONE]\n\n")
        return response

    return handle
