"""Thinking models behind a server: asked not to think, in ever fewer words, or given a budget."""

from __future__ import annotations

import pytest
from aiohttp import web

from bot.config import ConfigError, parse_settings
from bot.generation import Candidate, Context, GeneratorUnavailable, OnlyThoughts
from bot.generators.thinking import Quietness
from tests.unit.bot.generators.scripted_server import STYLES, ScriptedServer, generator, serving

QUESTION = Context("What is the capital of France?")
THOUGHT = "The canary asks about France"


def message(text, finish="stop", reasoning_tokens=0, **further):
    choice = {
        "index": 0,
        "finish_reason": finish,
        "message": {"role": "assistant", "content": text} | further,
    }
    usage = {"completion_tokens_details": {"reasoning_tokens": reasoning_tokens}}
    return web.json_response(
        {"id": "1", "object": "chat.completion", "created": 1, "choices": [choice], "usage": usage}
    )


THOUGHTS_ALONE = {
    "reasoning_content": lambda: message(None, "length", reasoning_content=THOUGHT),
    "reasoning": lambda: message("", "length", reasoning=THOUGHT),
    "reasoning_details": lambda: message("", reasoning_details=[{"text": THOUGHT}]),
    "in the text": lambda: message(f"<think>{THOUGHT}", "length"),
    "hidden": lambda: message("", "length", reasoning_tokens=96),
    "channel": lambda: message(f"<|channel|>analysis<|message|>{THOUGHT}", "length"),
}


@pytest.fixture
async def server():
    async with serving(ScriptedServer()) as running:
        yield running


def asked_for(body: dict) -> dict:
    return {key: body[key] for key in ("chat_template_kwargs", "reasoning_effort") if key in body}


OFF = {"enable_thinking": False, "thinking": False}


@pytest.mark.parametrize("kind", THOUGHTS_ALONE)
async def test_a_server_whose_model_thinks_is_asked_again_without_thoughts(server, kind):
    server.answer_all(lambda body: message("Paris.") if asked_for(body) else THOUGHTS_ALONE[kind]())

    async with generator(server.url) as gen:
        first = await gen.generate(QUESTION, STYLES[:1])
        second = await gen.generate(QUESTION, STYLES[:1])

    assert first == second == [Candidate("Paris.", "short")]
    assert [bool(asked_for(body)) for body in server.bodies] == [False, True, True]
    assert asked_for(server.bodies[-1]) == {"chat_template_kwargs": OFF, "reasoning_effort": "none"}


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    "taken",
    [
        {"chat_template_kwargs": OFF, "reasoning_effort": "none"},
        {"chat_template_kwargs": OFF},
        {"reasoning_effort": "none"},
        {"reasoning_effort": "minimal"},
        {"reasoning_effort": "low"},
        {},
    ],
    ids=str,
)
async def test_a_server_that_refuses_an_option_is_asked_with_another(server, taken, named, status):
    def strict(body):
        wrong = [key for key, value in asked_for(body).items() if taken.get(key) != value]
        if wrong:
            error = {"message": "unknown", **({"param": wrong[0]} if named else {})}
            return web.json_response({"error": error}, status=status)
        return message("Paris.", reasoning_content=THOUGHT)

    server.answer_all(strict)
    async with generator(server.url) as gen:
        for _ in range(2):  # the first answer shows that the model thinks
            assert await gen.generate(QUESTION, STYLES[:1]) == [Candidate("Paris.", "short")]
        n_learning = len(server.bodies)
        assert len(await gen.generate(QUESTION, STYLES * 2)) == 1

    assert [asked_for(body) for body in server.bodies[n_learning:]] == [taken] * 4
    assert n_learning <= 7


async def test_several_refusals_at_once_count_once(server):
    quiet = Quietness()
    quiet.asked = True
    sent = quiet.options()

    assert quiet.refused(sent, None) and quiet.refused(sent, None)
    assert quiet.options() == {"chat_template_kwargs": OFF}
    assert not quiet.refused({}, None)


async def test_a_model_that_does_not_think_is_asked_for_nothing(server):
    async with generator(server.url) as gen:
        await gen.generate(QUESTION, STYLES)
        await gen.generate(QUESTION, STYLES)

    assert [asked_for(body) for body in server.bodies] == [{}] * 4


async def test_a_budget_is_added_to_the_length_and_the_model_may_think(server):
    server.answer_all(lambda _: message("Paris.", reasoning_content=THOUGHT))

    async with generator(server.url, max_new_tokens=50, thinking_tokens=1000) as gen:
        for _ in range(2):
            assert await gen.generate(QUESTION, STYLES[:1]) == [Candidate("Paris.", "short")]

    assert [(body["max_tokens"], asked_for(body)) for body in server.bodies] == [(1050, {})] * 2


@pytest.mark.parametrize("kind", THOUGHTS_ALONE)
async def test_a_server_that_only_thinks_is_said_to(server, kind):
    server.answer_all(lambda _: THOUGHTS_ALONE[kind]())

    async with generator(server.url) as gen:
        with pytest.raises(OnlyThoughts) as caught:
            await gen.generate(QUESTION, STYLES)

    assert not isinstance(caught.value, GeneratorUnavailable)
    assert "canary" not in str(caught.value)


async def test_options_of_the_host_are_in_every_request_and_win(server):
    further = {"chat_template_kwargs": {"enable_thinking": True}, "reasoning_effort": "high", "top_k": 20}
    server.answer_all(lambda _: message("Paris.", reasoning_content=THOUGHT))

    async with generator(server.url, extra_body=further) as gen:
        for _ in range(2):
            await gen.generate(QUESTION, STYLES[:1])

    assert [{key: body[key] for key in further} for body in server.bodies] == [further] * 2


def test_options_of_the_host_are_read_from_the_file_and_cannot_replace_the_messages():
    raw = {"kind": "openai", "model": "m", "extra_body": {"a": {"b": [1, 2.5, "c", True]}}}

    assert parse_settings({"generator": raw}).generator.extra_body == raw["extra_body"]
    with pytest.raises(ConfigError, match=r"extra_body: expected parameters .* found messages, stream"):
        parse_settings({"generator": raw | {"extra_body": {"stream": True, "messages": []}}})


async def test_control_without_being_asked_to_stop_a_thinking_model_never_answers(server, monkeypatch):
    server.answer_all(lambda body: message("Paris.") if asked_for(body) else THOUGHTS_ALONE["reasoning"]())
    monkeypatch.setattr(Quietness, "options", lambda self: {})

    async with generator(server.url) as gen:
        with pytest.raises(OnlyThoughts):
            await gen.generate(QUESTION, STYLES[:1])
