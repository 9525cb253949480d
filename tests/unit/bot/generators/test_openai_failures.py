"""Failures of the model server: each is retried as configured, then explained without quoting a text."""

from __future__ import annotations

import logging
import socket

import pytest
from aiohttp import web

from bot.generation import Candidate, Context, GeneratorUnavailable, ModelMissing, Turn
from tests.unit.bot.generators.scripted_server import (
    STYLES,
    ScriptedServer,
    generator,
    refused,
    said,
    serving,
)


@pytest.fixture
async def server():
    async with serving(ScriptedServer()) as running:
        yield running


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
        (refused(429), "is overloaded or the quota is used up"),
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
        with pytest.raises(
            GeneratorUnavailable, match="did not answer with a chat completion; check base_url"
        ):
            await gen.generate(Context("hi"), STYLES)


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
