"""A hanging request does not hold a reply back, and a slow one is waited for."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiohttp import web

from bot.generation import Context, GeneratorUnavailable, Style
from bot.generators.model_server.stragglers import GRACE_S, Patience
from tests.rig.waiting import until
from tests.unit.bot.generators.scripted_server import generator, said, serving

STYLES = tuple(Style(name, f"{name}.", 0.5) for name in "abcd")


class SlowServer:
    """Answers each style after its delay; None: never. Counts the connections that the bot closed."""

    def __init__(self, delays: dict[str, float | None]) -> None:
        self.delays = delays
        self.asked: list[str] = []
        self.closed: list[str] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json()
        style = body["messages"][-1]["content"].split()[-1][1]
        self.asked.append(style)
        if (delay := self.delays[style]) is not None:
            await asyncio.sleep(delay)
            return said(f"I am {style}.")
        await until(lambda: request.transport is None or request.transport.is_closing())
        self.closed.append(style)
        return said("Too late.")


async def names(gen) -> list[str]:
    return [candidate.style for candidate in await gen.generate(Context("hi"), STYLES)]


@pytest.mark.parametrize("hanging", ["a", "bcd"])
async def test_hanging_requests_cost_a_short_grace_and_are_closed(hanging, caplog):
    slow = SlowServer({style: None if style in hanging else 0.1 for style in "abcd"})
    async with serving(slow), generator(slow.url, retries=2) as gen:
        started = time.monotonic()
        answered = await names(gen)
        took = time.monotonic() - started
        await until(lambda: len(slow.closed) == len(hanging))

    assert answered == [style for style in "abcd" if style not in hanging]
    assert took < GRACE_S[0] + 1.5
    assert sorted(slow.asked) == list("abcd"), "none is asked twice"
    assert (
        f"{len(hanging)} of 4 requests to the model server failed: {len(hanging)} x came too late"
        in caplog.text
    )


async def test_a_server_that_writes_one_answer_after_the_other_gives_all_of_them():
    """Each pause is shorter than the grace, all of them together are longer."""
    slow = SlowServer({"a": 0.8, "b": 1.6, "c": 2.4, "d": 3.2})
    async with serving(slow), generator(slow.url) as gen:
        assert await names(gen) == ["a", "b", "c", "d"]


async def test_a_timeout_is_not_retried_once_there_is_a_candidate():
    slow = SlowServer({"a": 0.1, "b": None, "c": 0.1, "d": 0.1})
    async with serving(slow), generator(slow.url, timeout_s=1.0, retries=5) as gen:
        assert await names(gen) == ["a", "c", "d"]

    assert slow.asked.count("b") == 1


async def test_without_a_candidate_timeouts_are_retried_as_configured():
    slow = SlowServer(dict.fromkeys("abcd"))
    async with serving(slow), generator(slow.url, timeout_s=0.3, retries=1) as gen:
        with pytest.raises(GeneratorUnavailable, match="did not answer within"):
            await names(gen)

    assert len(slow.asked) == 8


async def test_a_failure_or_a_blank_answer_starts_no_grace():
    """Of three useless answers at once and a slow good one, the good one is waited for."""

    async def later(after_s: float, answer: str) -> str:
        await asyncio.sleep(after_s)
        return answer

    tasks = [
        asyncio.create_task(later(s, a)) for s, a in ((0, ""), (0, ""), (0, ""), (GRACE_S[0] + 0.5, "x"))
    ]

    assert await Patience(60).gather(tasks, bool) == (["", "", "", "x"], False)


async def test_a_cancelled_reply_leaves_no_request_behind():
    slow = SlowServer(dict.fromkeys("abcd"))
    async with serving(slow), generator(slow.url) as gen:
        task = asyncio.create_task(names(gen))
        await until(lambda: len(slow.asked) == 4)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: len(slow.closed) == 4)


@pytest.mark.parametrize("pause", [0.0, 0.3, 2.0, 5.0, 60.0])
def test_the_grace_follows_the_measured_pauses_within_bounds(pause):
    patience = Patience(600)

    grace = patience._end(0.0, pause, pause) - pause

    assert grace == pytest.approx(min(max(3 * pause, GRACE_S[0]), GRACE_S[1]))


async def test_requests_that_are_not_needed_are_closed_and_neither_failures_nor_pauses(caplog):
    slow = SlowServer({"a": 0.05, "b": 0.1, "c": None, "d": None})
    asked: list[tuple[list[str], list[str]]] = []

    async def enough(written, outstanding):
        asked.append(([one.style for one in written], [style.name for style in outstanding]))
        return len(written) == 2

    async with serving(slow), generator(slow.url, retries=2) as gen:
        started = time.monotonic()
        found = await gen.generate_until(Context("hi"), STYLES, enough)
        took = time.monotonic() - started
        await until(lambda: len(slow.closed) == 2)
        pauses = list(gen._patience._pauses)

    assert [one.style for one in found] == ["a", "b"]
    assert asked == [(["a"], ["b", "c", "d"]), (["a", "b"], ["c", "d"])]
    assert took < GRACE_S[0]
    assert pauses == []
    assert "failed" not in caplog.text


async def test_without_enough_candidates_the_stragglers_end_as_ever():
    slow = SlowServer({"a": 0.05, "b": 0.1, "c": None, "d": 0.15})

    async def never(written, outstanding):
        return False

    async with serving(slow), generator(slow.url) as gen:
        assert [one.style for one in await gen.generate_until(Context("hi"), STYLES, never)] == list("abd")
        assert len(gen._patience._pauses) == 1


async def test_requests_that_wait_for_their_turn_are_not_sent_once_there_is_enough():
    slow = SlowServer(dict.fromkeys("abcd", 0.4))

    async def at_once(written, outstanding):
        return True

    async with serving(slow), generator(slow.url) as gen:
        pace = gen._known(gen._model(Context("hi"))).pace
        timings = {"prompt_n": 1000, "cache_n": 0, "prompt_ms": 9000.0, "predicted_ms": 10.0}
        pace.learn(Context("hi"), timings)
        found = await gen.generate_until(Context("hi"), STYLES, at_once)

    assert [one.style for one in found] == ["a"]
    assert slow.asked in (["a"], ["a", "b"]), "one after the other"
