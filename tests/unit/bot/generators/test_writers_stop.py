"""Several writers stop together, as soon as the candidates of all of them are enough."""

from __future__ import annotations

import asyncio

import pytest

from bot.generators.model_server import writers
from tests.fakes import ScriptedGenerator
from tests.unit.bot.generators.test_writers import HELLO, Rig, style


@pytest.fixture
def rig():
    return Rig("a", "b")


class OneByOne(ScriptedGenerator):
    """A writer whose candidates arrive one by one."""

    async def generate_until(self, context, styles, enough):
        written = await self.generate(context, styles)
        for n in range(1, len(written)):
            await asyncio.sleep(0)
            if await enough(written[:n], styles[n:]):
                return written[:n]
        return written


def asking(answer):
    """Return what decides about the candidates so far, and what it was asked."""
    asked: list[tuple[list[str], list[str]]] = []

    async def enough(written, outstanding) -> bool:
        asked.append(([one.text for one in written], sorted(one.name for one in outstanding)))
        return answer(written)

    return enough, asked


FOUR = [style(n, "ab"[n % 2], name) for n, name in enumerate(("concise", "warm", "playful", "detailed"))]


@pytest.mark.parametrize("kind", [ScriptedGenerator, OneByOne])
async def test_several_writers_stop_as_soon_as_their_candidates_together_are_enough(rig, kind):
    quick = kind(["a one", "a two"])
    rig.several._writers[0].generator = quick
    rig.by_name["b"].gate = asyncio.Event()  # it hangs
    n_enough = 1 if kind is OneByOne else 2
    enough, asked = asking(lambda written: len(written) == n_enough)

    async with asyncio.timeout(5):
        found = await rig.several.generate_until(HELLO, FOUR, enough)

    assert [one.text for one in found] == ["a one", "a two"][:n_enough]
    assert [one.seat for one in found] == [one.seat for one in FOUR[::2]][:n_enough]
    assert asked == [(["a one", "a two"][:n_enough], sorted(["detailed", "warm", "playful"][: 4 - n_enough]))]
    assert rig.several.n_ends == {"a": {"written": 1}, "b": {}}  # what is not needed is no failure
    assert [one.name for one in rig.several.able()] == ["a", "b"]
    assert rig.several._writers[1].usual_s is None  # not known


async def test_candidates_of_all_writers_are_judged_together_and_none_is_lost(rig):
    first, second = OneByOne(["a one", "a two"]), OneByOne(["b one", "b two"])
    for one, generator in zip(rig.several._writers, (first, second), strict=True):
        one.generator = generator
    enough, asked = asking(lambda written: len({one.seat.writer for one in written}) == 2)

    found = await rig.several.generate_until(HELLO, FOUR, enough)

    assert asked[-1][0] == ["a one", "b one"]
    assert {one.text for one in found} >= set(asked[-1][0])


async def test_if_the_candidates_are_never_enough_all_are_awaited_and_the_last_is_not_asked_about(rig):
    enough, asked = asking(lambda written: False)

    found = await rig.several.generate_until(HELLO, FOUR, enough)

    assert [one.text for one in found] == ["a one", "b one", "a two", "b two"]
    assert all(outstanding for _, outstanding in asked)
    assert rig.several.n_ends == {"a": {"written": 1}, "b": {"written": 1}}


async def test_control_without_a_rule_a_writer_that_hangs_is_awaited(rig, monkeypatch):
    monkeypatch.setattr(writers, "GRACE_S", (0.05, 0.05))
    rig.by_name["b"].gate = asyncio.Event()

    await rig.several.generate(HELLO, FOUR)

    assert rig.several.n_ends["b"] == {"failed": 1}
