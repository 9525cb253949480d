"""The server generator against a real HTTP server on loopback: requests, drafts, parameters, cancelling."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from bot.generation import Candidate, Context, GeneratorError, ModelMissing, Picture, Turn
from bot.generators.factory import create_generator
from bot.settings import GeneratorSettings
from tests.unit.bot.generators.scripted_server import (
    STYLES,
    ScriptedServer,
    generator,
    refused,
    said,
    serving,
    streamed,
)


@pytest.fixture
async def server():
    async with serving(ScriptedServer()) as running:
        yield running


async def test_one_request_per_style_gives_candidates_in_order(server):
    context = Context("and now?", (Turn("user", "hi"), Turn("assistant", "hello")))

    async with generator(server.url, max_new_tokens=50) as gen:
        candidates = await gen.generate(context, STYLES)

    assert candidates == [Candidate("Hi.", "short"), Candidate("Hello there, friend.", "long")]
    assert sorted(server.bodies, key=lambda body: body["temperature"]) == [
        {
            "model": "tiny",
            "messages": [
                {"role": "system", "content": "You are kind."},
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "hello"},
                {"role": "user", "content": f"and now?\n\n({style.instruction})"},
            ],
            "temperature": style.temperature,
            "max_tokens": 50,
            "top_p": 0.9,
        }
        for style in STYLES
    ]


async def test_pictures_are_sent_as_data_between_the_words_of_the_message_and_the_style(server):
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
        {"type": "text", "text": "(Be short.)"},
    ]


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
        with pytest.raises(GeneratorError, match="wrote only blank text"):
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
