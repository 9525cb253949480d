"""Answers of every shape are read, and an answer without a reply is told apart by name."""

from __future__ import annotations

import json

import pytest
from aiohttp import web

from bot.generation import Candidate, Context, GeneratorUnavailable, OnlyThoughts
from bot.generators.model_server.answers import Said, Silence, read_answer, text_of
from tests.unit.bot.generators.scripted_server import STYLES, ScriptedServer, generator, serving
from tests.unit.bot.generators.server_shapes import ANSWERS, ERRORS, ONLY_THOUGHTS, SILENCES, saying


def body_of(answer: object) -> str:
    return answer if isinstance(answer, str) else json.dumps(answer)


def sent(answer: object):
    kind = "text/event-stream" if isinstance(answer, str) else "application/json"
    return lambda _request: web.Response(text=body_of(answer), content_type=kind)


@pytest.fixture
async def server():
    async with serving(ScriptedServer()) as running:
        yield running


@pytest.mark.parametrize("shape", ANSWERS)
def test_a_reply_is_read_in_every_shape(shape):
    said = read_answer(body_of(ANSWERS[shape]))

    assert isinstance(said, Said)
    assert (said.text, said.cut_off) == ("Fine.", False)


async def test_replies_of_all_shapes_become_candidates(server):
    async with generator(server.url) as gen:
        for answer in ANSWERS.values():
            server.answer_all(sent(answer))
            assert await gen.generate(Context("hi"), STYLES[:1]) == [Candidate("Fine.", "short")]


@pytest.mark.parametrize("finish", ["length", "max_tokens", "MAX_TOKENS"])
@pytest.mark.parametrize("key", ["finish_reason", "stop_reason", "finishReason", "done_reason"])
def test_a_reply_that_the_limit_cut_off_is_one_in_every_dialect(key, finish):
    answer = {"choices": [{"message": {"content": "One. Tw"}, key: finish}]}

    assert read_answer(json.dumps(answer)) == Said("One. Tw", cut_off=True)


@pytest.mark.parametrize("shape", SILENCES)
async def test_an_answer_without_a_reply_is_told_apart_by_name(server, caplog, shape):
    answer, what = SILENCES[shape]
    server.answers = {"short": "Hi.", "long": sent(answer)}
    async with generator(server.url) as gen:
        candidates = await gen.generate(Context("hi"), STYLES)
        with pytest.raises(GeneratorUnavailable, match=f"sent {what}"):
            await gen.generate(Context("hi"), STYLES[1:])

    assert candidates == [Candidate("Hi.", "short")]
    assert (
        f"1 of 2 requests to the model server failed: 1 x the model server at {server.url} sent {what}"
        in (caplog.text)
    )


@pytest.mark.parametrize("shape", ONLY_THOUGHTS)
async def test_an_answer_of_thoughts_alone_is_told_apart_from_silence(server, shape):
    server.answers = {"short": "Hi.", "long": sent(ONLY_THOUGHTS[shape])}
    async with generator(server.url) as gen:
        assert await gen.generate(Context("hi"), STYLES) == [Candidate("Hi.", "short")]
        with pytest.raises(OnlyThoughts):
            await gen.generate(Context("hi"), STYLES[1:])


@pytest.mark.parametrize("shape", ERRORS)
async def test_an_error_in_an_answer_with_status_200_is_an_error(server, shape):
    answer, what = ERRORS[shape]
    server.answer_all(sent(answer))
    async with generator(server.url) as gen:
        with pytest.raises(GeneratorUnavailable, match=what):
            await gen.generate(Context("hi"), STYLES)


def test_thoughts_tools_and_pictures_are_no_text():
    parts = [
        {"type": kind, "text": "secret", kind: "secret"} for kind in ("thinking", "tool_use", "image_url")
    ]

    assert text_of(parts) is None
    assert text_of([*parts, {"type": "text", "text": "Fine."}]) == "Fine."


@pytest.mark.parametrize("depth", [10, 5000])
def test_an_answer_that_is_nested_without_end_is_no_reply(depth):
    deep = '{"content": ' * depth + '"Fine."' + "}" * depth
    answer = json.dumps(saying("HERE")).replace('"HERE"', deep)

    assert read_answer(answer) in (Silence.NO_CONTENT, Silence.NOT_A_COMPLETION)
    assert read_answer("[" * depth + "]" * depth) is Silence.NOT_A_COMPLETION
