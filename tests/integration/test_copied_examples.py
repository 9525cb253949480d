"""A draft whose continuation becomes a copy of an example ends before it; the house without Discord."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from bot.app.composition import open_house
from bot.generation import Candidate, Context, Style, seated
from bot.replies import candidate_source
from storage.records import DIRECT_MESSAGES, Seat, Who
from tests.fakes import HashEncoder, ScriptedGenerator

WHO, HELLO = Who(DIRECT_MESSAGES, 5), Context("hello")
EXAMPLE = "Take the early train and bring a good book along."
SHOWN = seated(Style("warm", "Be warm."), Seat(0, "warm", examples=True), (EXAMPLE,))
PLAIN = seated(Style("warm", "Be warm."), Seat(0, "warm"))


@pytest.fixture
async def source(settings):
    with ThreadPoolExecutor(1) as executor:
        parts = {"encoder": HashEncoder(), "generator": ScriptedGenerator(), "trainer_executor": executor}
        async with open_house(settings, **parts) as house:
            yield house.parts.responder.source


async def grown(source, style: Style, begun: str, *further: str) -> list[str]:
    """Return the texts that a draft grows to."""
    source._generator.unfinished.append(further)
    return [text async for text in source.go_on(WHO, HELLO, style=style, begun=begun)]


async def test_a_draft_ends_before_it_becomes_a_copy(source):
    further = ("the early train", "the early train and bring", EXAMPLE.removeprefix("Take "))
    copied = await grown(source, SHOWN, "Take ", *further)
    own = await grown(source, PLAIN, "Take ", *further)

    assert copied == ["Take the early train"]
    assert own[-1] == EXAMPLE


async def test_a_draft_that_was_the_last_resort_is_finished(source):
    begun = EXAMPLE.removesuffix(" along.")

    assert (await grown(source, SHOWN, begun, " along."))[-1] == EXAMPLE


@pytest.mark.parametrize("unfinished", [False, True])
async def test_whole_texts_and_drafts_are_dropped_by_the_same_rule(source, unfinished):
    copy = Candidate(EXAMPLE, "warm", unfinished=unfinished)
    other = Candidate("Or walk.", "warm", unfinished=unfinished)

    assert await source.keep([copy, other], WHO, HELLO, [PLAIN, SHOWN]) == [other]
    assert await source.keep([copy], WHO, HELLO, [PLAIN, SHOWN]) == [copy]
    assert await source.keep([copy, other], WHO, HELLO, [PLAIN]) == [copy, other]


async def test_control_without_the_comparison_the_draft_becomes_a_copy(source, monkeypatch):
    monkeypatch.setattr(candidate_source, "copies", lambda text, examples: False)

    assert (await grown(source, SHOWN, "Take ", EXAMPLE.removeprefix("Take ")))[-1] == EXAMPLE
