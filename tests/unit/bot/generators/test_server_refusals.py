"""A refused request is asked again leaner or shorter, and what the model takes is remembered."""

from __future__ import annotations

import asyncio
from itertools import combinations

import pytest
from aiohttp import web

from bot.generation import Candidate, Context, GeneratorUnavailable, Picture, Turn
from bot.generators.model_server.refusals import Refusal
from bot.generators.prompt import estimate
from tests.rig.waiting import until
from tests.unit.bot.generators.scripted_server import STYLES, ScriptedServer, generator, said, serving
from tests.unit.bot.generators.server_refusals import OTHER_REFUSALS, TOO_LONG

TURNS = tuple(Turn("assistant" if i % 2 == 0 else "user", f"turn {i} " + "words " * 20) for i in range(12))
CONTEXT = Context("And now?", TURNS)


@pytest.fixture
async def server():
    async with serving(ScriptedServer()) as running:
        yield running


def answer_with(status: int, body: object) -> web.Response:
    if isinstance(body, str):
        return web.Response(status=status, text=body, content_type="text/html")
    return web.json_response(body, status=status)


# ---- what a model does not take ----

CHECKS = {
    "top_p": lambda body: "top_p" not in body,
    "temperature": lambda body: "temperature" not in body,
    "system": lambda body: all(message["role"] != "system" for message in body["messages"]),
    "order": lambda body: next(m["role"] for m in body["messages"] if m["role"] != "system") == "user",
}


def picky(wanted: tuple[str, ...], status: int = 400, error: object = None):
    """Refuse every request that breaks one of the checks, without saying which."""

    def answer(body: dict) -> web.Response:
        if all(CHECKS[check](body) for check in wanted):
            return said("Fine.")
        return answer_with(
            status, error or {"error": {"message": "bad request", "type": "invalid_request_error"}}
        )

    return answer


@pytest.mark.parametrize(
    "wanted", [wanted for n in range(1, 5) for wanted in combinations(CHECKS, n)], ids="-".join
)
async def test_a_server_that_only_refuses_is_asked_leaner_and_what_helps_is_remembered(server, wanted):
    server.answer_all(picky(wanted, status=400 if len(wanted) % 2 else 422))
    async with generator(server.url) as gen:
        first = await gen.generate(CONTEXT, STYLES)
        n_learning = len(server.bodies)
        again = await gen.generate(CONTEXT, STYLES)

    assert first == again == [Candidate("Fine.", "short")]
    assert n_learning <= 2 + 10
    assert len(server.bodies) == n_learning + 2
    unneeded = [key for key in ("top_p", "temperature") if key not in wanted and len(wanted) == 1]
    assert all(key in server.bodies[-1] for key in unneeded)
    assert "turn 11" in str(server.bodies[-1]) and "Be long." in str(server.bodies[-2:])


@pytest.mark.parametrize("check", CHECKS)
async def test_a_refusal_that_arrives_after_another_request_has_learnt_changes_nothing_more(server, check):
    late = asyncio.Event()
    answer = picky((check,))

    async def in_turn(body: dict) -> web.Response:
        said_of_it = answer(body)
        if said_of_it.status == 400 and "Be long." in str(body["messages"]):
            await late.wait()
        return said_of_it

    server.answer_all(in_turn)
    async with generator(server.url) as gen:
        waiting = asyncio.create_task(gen.generate(CONTEXT, STYLES[1:]))
        await until(lambda: len(server.bodies) == 1)
        await gen.generate(CONTEXT, STYLES[:1])
        learnt = server.bodies[-1]
        late.set()
        assert await waiting == [Candidate("Fine.", "long")]

    last = server.bodies[-1]
    assert last.keys() == learnt.keys()
    assert [m["role"] for m in last["messages"]] == [m["role"] for m in learnt["messages"]]


@pytest.mark.parametrize(
    ("words", "check"),
    [
        ("OpenAI, temperature", "temperature"),
        ("Anthropic", "top_p"),
        ("TGI", "top_p"),
        ("FastAPI", "top_p"),
        ("Gemma's template", "system"),
        ("Mistral's template", "order"),
    ],
)
async def test_the_words_of_a_refusal_name_what_to_leave_out(server, words, check):
    server.answer_all(picky((check,), error=OTHER_REFUSALS[words]))
    async with generator(server.url) as gen:
        assert await gen.generate(CONTEXT, STYLES[:1]) == [Candidate("Fine.", "short")]

    assert len(server.bodies) <= 3


async def test_a_template_that_raises_for_a_role_counts_as_a_refusal(server):
    error = {"error": {"message": "Jinja Exception: System role not supported", "type": "server_error"}}
    server.answer_all(picky(("system",), status=500, error=error))
    async with generator(server.url) as gen:
        assert await gen.generate(CONTEXT, STYLES[:1]) == [Candidate("Fine.", "short")]

    assert len(server.bodies) == 2


async def test_a_picture_stays_when_the_system_prompt_moves_into_its_message(server):
    server.answer_all(picky(("system",)))
    async with generator(server.url) as gen:
        await gen.generate(Context("what is it?", pictures=(Picture("image/png", b"png"),)), STYLES[:1])

    (message,) = server.bodies[-1]["messages"]
    assert [part.get("text") for part in message["content"]] == [
        "You are kind.",
        "what is it?",
        None,
        "(Be short.)",
    ]


async def test_a_message_that_is_refused_for_what_it_says_changes_no_form(server):
    def answer(body: dict) -> web.Response:
        if "forbidden" in body["messages"][-1]["content"]:
            return answer_with(
                400, {"error": {"message": "filtered", "code": "content_filter", "param": "prompt"}}
            )
        return said("Fine.")

    server.answer_all(answer)
    async with generator(server.url) as gen:
        with pytest.raises(GeneratorUnavailable, match="because of its content policy"):
            await gen.generate(Context("forbidden"), STYLES[:1])
        n_refused = len(server.bodies)
        await gen.generate(Context("hi"), STYLES[:1])

    assert n_refused == 1
    assert {"temperature", "top_p", "max_tokens"} <= server.bodies[-1].keys()


async def test_what_never_helped_is_not_remembered_and_not_tried_by_each_request(server):
    server.answer_all(lambda _: answer_with(400, {"detail": "no"}))
    async with generator(server.url) as gen:
        with pytest.raises(GeneratorUnavailable, match="HTTP status 400"):
            await gen.generate(Context("hi"), STYLES * 4)
        n_refused = len(server.bodies)
        server.answer_all("Fine.")
        await gen.generate(Context("hi"), STYLES[:1])

    assert n_refused <= 8 + 10
    assert {"temperature", "top_p", "max_tokens"} <= server.bodies[-1].keys()


# ---- too long ----


def tight(words: str, limit: int):
    """Refuse in one server's words each request whose prompt and reply exceed the limit."""

    def answer(body: dict) -> web.Response:
        wanted = body.get("max_tokens", 0)
        read = estimate(body["messages"])
        if read + wanted <= limit:
            return said("Fine.")
        return answer_with(*TOO_LONG[words](limit, read, wanted))

    return answer


@pytest.mark.parametrize("words", TOO_LONG)
async def test_a_prompt_that_is_too_long_is_shortened_in_every_servers_words(server, words):
    server.answer_all(tight(words, 400))
    async with generator(server.url, max_new_tokens=96) as gen:
        first = await gen.generate(CONTEXT, STYLES)
        n_learning = len(server.bodies)
        again = await gen.generate(CONTEXT, STYLES)

    assert first == again == [Candidate("Fine.", "short")]
    assert "And now?\n\n(Be " in server.bodies[-1]["messages"][-1]["content"]
    if words != "unknown words":
        assert len(server.bodies) == n_learning + 2, "the length is remembered"
        assert "turn 11" in str(server.bodies[-1]["messages"]), "no more is dropped than needed"
        assert server.bodies[-1].keys() == {"model", "messages", "temperature", "top_p", "max_tokens"}


async def test_a_reply_that_does_not_fit_beside_a_short_prompt_is_made_shorter(server):
    server.answer_all(tight("vLLM, new", 200))
    async with generator(server.url, max_new_tokens=4000) as gen:
        assert await gen.generate(Context("hi"), STYLES[:1]) == [Candidate("Fine.", "short")]

    assert server.bodies[-1]["max_tokens"] < 200


async def test_a_limit_of_the_reply_alone_is_kept(server):
    def answer(body: dict) -> web.Response:
        if body["max_tokens"] <= 64:
            return said("Fine.")
        return answer_with(400, OTHER_REFUSALS["OpenAI, reply"])

    server.answer_all(answer)
    async with generator(server.url) as gen:
        await gen.generate(CONTEXT, STYLES[:1])
        await gen.generate(CONTEXT, STYLES[:1])

    assert [body["max_tokens"] for body in server.bodies] == [96, 64, 64]
    assert server.bodies[0]["messages"] == server.bodies[-1]["messages"]


async def test_a_persona_that_is_too_long_ends_and_says_so(server):
    server.answer_all(tight("OpenAI", 50))
    async with generator(server.url, persona="You are kind. " * 60) as gen:
        with pytest.raises(GeneratorUnavailable, match="finds even the message alone too long; shorten"):
            await gen.generate(CONTEXT, STYLES[:1])
        n_refused = len(server.bodies)
        gen.use_persona("")
        server.answer_all("Fine.")
        await gen.generate(Context("hi"), STYLES[:1])

    assert n_refused <= 8
    assert server.bodies[-1]["max_tokens"] == 96, "what did not help is not remembered"


@pytest.mark.parametrize("words", OTHER_REFUSALS)
def test_other_refusals_are_not_taken_for_too_long(words):
    assert not Refusal.from_body(OTHER_REFUSALS[words], 400).is_too_long


@pytest.mark.parametrize("words", [words for words in TOO_LONG if words != "unknown words"])
@pytest.mark.parametrize(("limit", "read"), [(1024, 1100), (4096, 30_000), (131_072, 200_000)])
def test_the_share_that_fits_is_never_too_large_by_much(words, limit, read):
    status, body = TOO_LONG[words](limit, read, 96)
    refusal = Refusal.from_body(body, None if status == 200 else status)

    assert refusal.is_too_long
    assert 0.1 <= refusal.share_that_fits() <= 0.95
    exact = min(0.95, 0.95 * limit / read)
    assert refusal.share_that_fits() == pytest.approx(exact, rel=0.15) or refusal.share_that_fits() == 0.6
