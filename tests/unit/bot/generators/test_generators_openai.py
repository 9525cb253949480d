"""The server generator against a real HTTP server on loopback that says whatever the test scripts."""

import asyncio
import json
import logging
import socket
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from bot.generation import (
    Candidate,
    Context,
    GeneratorError,
    GeneratorUnavailable,
    ModelMissing,
    Picture,
    Style,
    Turn,
)
from bot.generators.factory import create_generator
from bot.generators.openai_server import OpenAIGenerator
from bot.settings import GeneratorSettings
from tests.rig.waiting import until

STYLES = (Style("short", "Be short.", 0.5), Style("long", "Be long.", 1.0))


class ScriptedServer:
    """Answers by the style asked for and keeps what it was sent."""

    def __init__(self) -> None:
        self.bodies: list[dict] = []
        self.keys: list[str | None] = []
        self.answers: dict[str, object] = {"short": "Hi.", "long": "Hello there, friend."}
        self.delay_s = 0.0
        self.streams = None
        self.n_together = 0
        """Nobody is answered before so many have asked."""
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        if body.get("stream") and self.streams is not None:
            return await self.streams(request)
        self.keys.append(request.headers.get("Authorization"))
        await asyncio.sleep(self.delay_s)
        await until(lambda: len(self.bodies) >= self.n_together)
        answer = self.answers["short" if "Be short." in body["messages"][0]["content"] else "long"]
        return answer(body) if callable(answer) else said(answer)

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


@pytest.fixture
async def server():
    async with serving(ScriptedServer()) as running:
        yield running


@asynccontextmanager
async def generator(url: str, environ=None, **settings):
    chosen = {"kind": "openai", "model": "tiny", "base_url": url, "retries": 0, "persona": "You are kind."}
    gen = OpenAIGenerator(GeneratorSettings(**(chosen | settings)), environ or {})
    try:
        yield gen
    finally:
        await gen.close()


async def test_one_request_per_style_gives_candidates_in_order(server):
    context = Context("and now?", (Turn("user", "hi"), Turn("assistant", "hello")))

    async with generator(server.url, max_new_tokens=50) as gen:
        candidates = await gen.generate(context, STYLES)

    assert candidates == [Candidate("Hi.", "short"), Candidate("Hello there, friend.", "long")]
    assert sorted(server.bodies, key=lambda body: body["temperature"]) == [
        {
            "model": "tiny",
            "messages": [
                {"role": "system", "content": f"You are kind. {style.instruction}"},
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "hello"},
                {"role": "user", "content": "and now?"},
            ],
            "temperature": style.temperature,
            "max_tokens": 50,
            "top_p": 0.9,
        }
        for style in STYLES
    ]


async def test_pictures_are_sent_as_data_behind_the_words_of_the_message_alone(server):
    context = Context(
        "what is it?", (Turn("user", "hi"), Turn("assistant", "ho")), (Picture("image/png", b"png"),)
    )

    async with generator(server.url) as gen:
        await gen.generate(context, STYLES[:1])

    *earlier, last = server.bodies[0]["messages"]
    assert all(isinstance(message["content"], str) for message in earlier)
    assert last["content"] == [
        {"type": "text", "text": "what is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,cG5n"}},
    ]


def streamed(*pieces: str, finish: str | None = "stop", breaks_off: bool = False):
    """Answers as a stream of server-sent events."""

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


async def test_a_draft_is_gone_on_with_behind_its_own_words(server):
    server.streams = streamed(" And", " two. Thr", "ee", finish="length")
    async with generator(server.url, max_new_tokens=100, draft_tokens=30) as gen:
        server.answers["short"] = lambda _body: said("One. Tw", "length")
        (draft,) = await gen.generate(Context("count"), STYLES[:1])
        grown = [text async for text in gen.continued(Context("count"), STYLES[0], draft.text)]

    assert draft == Candidate("One.", "short", unfinished=True)
    assert [body["max_tokens"] for body in server.bodies] == [30, 70]
    assert server.bodies[1]["messages"] == [
        *server.bodies[0]["messages"],
        {"role": "assistant", "content": "One."},
    ]
    assert server.bodies[1]["continue_final_message"] is True
    assert grown == ["One.", "One. And two.", "One. And two.", "One. And two."]


@pytest.mark.parametrize("how", ["refused", "broken off"])
async def test_a_server_that_cannot_go_on_says_so_and_what_it_wrote_stands(server, how):
    if how == "refused":
        server.answers["short"] = refused(400)
    else:
        server.streams = streamed(" Two.", finish=None, breaks_off=True)
    grown = []
    async with generator(server.url, max_new_tokens=100, draft_tokens=30) as gen:
        with pytest.raises(GeneratorError):
            async for text in gen.continued(Context("count"), STYLES[0], "One."):
                grown.append(text)

    assert grown == (["One. Two."] if how == "broken off" else [])


async def test_requests_run_at_the_same_time(server):
    server.n_together = 8

    async with generator(server.url) as gen:
        await gen.generate(Context("hi"), STYLES * 4)

    assert len(server.bodies) == 8


async def test_the_key_comes_from_the_named_variable(server):
    async with generator(server.url, {"MY_KEY": "sesame"}, api_key_env="MY_KEY") as gen:
        await gen.generate(Context("hi"), STYLES[:1])

    assert server.keys == ["Bearer sesame"]


async def test_an_unset_key_sends_a_placeholder(server):
    async with generator(server.url, {"OPENAI_API_KEY": ""}) as gen:
        await gen.generate(Context("hi"), STYLES[:1])

    assert server.keys == ["Bearer none"]


async def test_what_the_token_limit_cut_off_ends_at_a_sentence(server):
    server.answer_all(lambda _: said("One. Two is not fin", finish="length"))

    async with generator(server.url) as gen:
        assert await gen.generate(Context("hi"), STYLES[:1]) == [Candidate("One.", "short")]


async def test_an_over_long_message_is_cut_to_the_budget(server):
    async with generator(server.url, context_tokens=128) as gen:
        await gen.generate(Context("START " + "x" * 9000), STYLES[:1])

    content = server.bodies[0]["messages"][-1]["content"]
    assert content.startswith("START x")
    assert len(content) < 128 * 3


async def test_what_came_back_is_used_when_another_request_failed(server, caplog):
    server.answers["long"] = refused(500)

    async with generator(server.url) as gen:
        candidates = await gen.generate(Context("hi"), STYLES)

    assert candidates == [Candidate("Hi.", "short")]
    assert "1 of 2 requests to the model server failed" in caplog.text


async def test_repeated_and_blank_answers_are_left_out(server):
    server.answers = {"short": "Same", "long": " same "}

    async with generator(server.url) as gen:
        assert await gen.generate(Context("hi"), STYLES) == [Candidate("Same", "short")]
        server.answer_all(" ")
        with pytest.raises(GeneratorError, match="wrote nothing"):
            await gen.generate(Context("hi"), STYLES)


async def test_a_server_that_is_down_is_named_with_what_to_check():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"

    async with generator(url) as gen:
        with pytest.raises(GeneratorUnavailable) as caught:
            await gen.generate(Context("hi"), STYLES)

    assert str(caught.value) == (
        f"the model server at {url} cannot be reached; check that it is running and base_url is right"
    )


async def test_a_slow_server_times_out_after_the_configured_retries(server):
    server.delay_s = 60.0

    async with generator(server.url, timeout_s=1.0, retries=1) as gen:
        with pytest.raises(GeneratorUnavailable, match=r"did not answer within 1 s; .* timeout_s too low"):
            await gen.generate(Context("hi"), STYLES[:1])

    assert len(server.bodies) == 2


async def test_a_failing_request_is_repeated_until_it_succeeds(server):
    outcomes = [refused(500), refused(429), lambda _: said("Third time lucky.")]
    server.answers["short"] = lambda body: outcomes.pop(0)(body)

    async with generator(server.url, retries=2) as gen:
        assert await gen.generate(Context("hi"), STYLES[:1]) == [Candidate("Third time lucky.", "short")]

    assert len(server.bodies) == 3


async def test_retries_end_at_the_configured_number(server):
    server.answer_all(refused(503))

    async with generator(server.url, retries=1) as gen:
        with pytest.raises(GeneratorUnavailable, match="answered with HTTP status 503; see the server's log"):
            await gen.generate(Context("hi"), STYLES[:1])

    assert len(server.bodies) == 2


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (refused(401), "refused the key; check the environment variable OPENAI_API_KEY"),
        (refused(403), "refused the key; check the environment variable OPENAI_API_KEY"),
        (refused(429), "has too much to do or the quota is used up"),
        (refused(400), "answered with HTTP status 400"),
        (refused(418), "answered with HTTP status 418"),
    ],
)
async def test_a_refusal_says_what_to_check(server, answer, message):
    server.answer_all(answer)

    async with generator(server.url) as gen:
        with pytest.raises(GeneratorUnavailable, match=f"the model server at {server.url} {message}"):
            await gen.generate(Context("hi"), STYLES)


@pytest.mark.parametrize("answer", [refused(404), refused(400, code="model_not_found")])
async def test_an_unknown_model_is_missing_and_not_asked_for_again(server, answer):
    server.answers = {"short": refused(500), "long": answer}

    async with generator(server.url) as gen:
        with pytest.raises(
            ModelMissing, match=r'knows no model "tiny" .* check \[generator\] model and base_url'
        ):
            await gen.generate(Context("hi"), STYLES)

    assert len(server.bodies) == 2


def raw(body: str, content_type: str = "application/json"):
    return lambda _: web.Response(text=body, content_type=content_type)


@pytest.mark.parametrize(
    "answer",
    [
        raw("<html>Welcome</html>", "text/html"),
        raw("{not json"),
        raw("[]"),
        raw("{}"),
        raw("null"),
        raw('"text"'),
        raw('{"choices": []}'),
        raw('{"choices": [null]}'),
        raw('{"choices": {}}'),
        raw('{"choices": [{"message": null}]}'),
        raw('{"choices": [{"message": {"content": null}}]}'),
        raw('{"choices": [{"message": {"content": 5}}]}'),
        raw(""),
    ],
    ids=range(13),
)
async def test_a_garbage_answer_is_no_candidate(server, answer):
    server.answer_all(answer)

    async with generator(server.url) as gen:
        with pytest.raises(GeneratorUnavailable, match="gave no chat completion; check base_url"):
            await gen.generate(Context("hi"), STYLES)


async def test_parameters_that_a_server_refuses_are_renamed_or_left_out_for_good(server):
    def strict(body):
        for name in ("max_tokens", "temperature"):
            if name in body:
                return web.json_response({"error": {"message": "unsupported", "param": name}}, status=400)
        return said("Fine.")

    server.answer_all(strict)
    async with generator(server.url) as gen:
        first = await gen.generate(Context("hi"), STYLES[:1])
        n_learning = len(server.bodies)
        await gen.generate(Context("hi"), STYLES[:1])

    assert first == [Candidate("Fine.", "short")]
    assert (n_learning, len(server.bodies)) == (3, 4)
    assert {key: server.bodies[-1][key] for key in server.bodies[-1] if key != "messages"} == {
        "model": "tiny",
        "max_completion_tokens": 96,
        "top_p": 0.9,
    }


async def test_cancelling_drops_the_requests(server):
    server.delay_s = 60.0
    async with generator(server.url) as gen:
        task = asyncio.create_task(gen.generate(Context("hi"), STYLES))
        while len(server.bodies) < 2:
            await asyncio.sleep(0.01)

        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.delay_s = 0.0
        assert len(await gen.generate(Context("hi"), STYLES)) == 2


async def test_neither_text_nor_key_is_logged_at_any_level(server, caplog):
    caplog.set_level(logging.DEBUG)
    context = Context("canary-message", (Turn("user", "canary-turn"),))  # tracebacks quote no values

    def echoing(body):
        return web.json_response({"error": {"message": f"bad: {body}"}}, status=400)

    async with generator(server.url, {"OPENAI_API_KEY": "canary-key"}, persona="canary-persona") as gen:
        await gen.generate(context, STYLES)
        server.answer_all(echoing)
        with pytest.raises(GeneratorUnavailable) as caught:
            await gen.generate(context, STYLES)
    logging.getLogger("test").error("it failed", exc_info=caught.value)

    assert "it failed" in caplog.text
    assert "canary" not in caplog.text
    assert "Hello there" not in caplog.text


async def test_the_name_hides_a_password_in_the_address():
    async with generator("http://user:secret@127.0.0.1:9/v1?key=x") as gen:
        assert gen.name == "tiny at http://127.0.0.1:9/v1"


async def test_closing_twice_is_fine(server):
    async with generator(server.url) as gen:
        await gen.close()
        await gen.close()

        assert gen._client.is_closed()


def test_the_embedded_model_is_no_servers_model():
    with pytest.raises(ModelMissing, match='needs the server\'s name for the model; found "packaged"'):
        create_generator(GeneratorSettings(kind="openai"))


async def test_the_factory_opens_the_server_generator(server):
    gen = create_generator(GeneratorSettings(kind="openai", model="tiny", base_url=server.url))

    assert await gen.generate(Context("hi"), STYLES[:1]) == [Candidate("Hi.", "short")]
    await gen.close()
