"""The packaged model is asked in its own manner, and what host, server or member have set holds."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

import pytest

from bot.app.composition import secrets_of
from bot.generation import Candidate, Context, Style, Turn
from bot.generators.packaged_model.manner import (
    CONTEXT_TOKENS,
    PERSONA,
    PackagedManner,
    persona_of,
    settings_of,
)
from bot.memory import Leaving
from bot.settings import DEFAULT_STYLES, GeneratorSettings

DEFAULT = GeneratorSettings()
LONG = "First of all, an onion. " + "Then there is more to say about it. " * 20


class Asked:
    """Generator that records what it is asked."""

    def __init__(self, persona: str = DEFAULT.persona) -> None:
        self.persona = persona
        self.contexts: list[Context] = []
        self.styles: list[Style] = []

    name = "recorder"

    async def generate(self, context: Context, styles: Sequence[Style]) -> list[Candidate]:
        self.contexts.append(context)
        self.styles += styles
        return [Candidate("yes", style.name) for style in styles]

    async def continued(self, context: Context, style: Style, begun: str) -> AsyncGenerator[str]:
        self.contexts.append(context)
        self.styles.append(style)
        yield f"{begun} and on"

    def use_persona(self, persona: str) -> None:
        self.persona = persona

    def forget(self, leaving: Leaving) -> None:
        self.persona = "forgotten"

    async def close(self) -> None:
        self.persona = "closed"


async def asked_with(context: Context, *styles: Style) -> Asked:
    """Ask for candidates and for a continuation; check that both are asked alike."""
    recorder = Asked()
    manner = PackagedManner(recorder)
    await manner.generate(context, styles)
    for style in styles:
        assert [text async for text in manner.continued(context, style, "so")] == ["so and on"]
    assert len({repr(one) for one in recorder.contexts}) == 1
    assert recorder.styles[: len(styles)] == recorder.styles[len(styles) :]
    return recorder


@pytest.mark.parametrize(
    ("settings", "persona"),
    [
        (DEFAULT, PERSONA),
        (replace(DEFAULT, persona="You are a pirate."), "You are a pirate."),
        (replace(DEFAULT, persona=""), ""),
        (replace(DEFAULT, model="other.gguf"), DEFAULT.persona),
        (replace(DEFAULT, kind="openai", model="other"), DEFAULT.persona),
    ],
    ids=["default", "host", "host-none", "other-file", "server"],
)
def test_only_the_default_persona_of_the_packaged_model_is_replaced(settings, persona) -> None:
    assert persona_of(settings) == persona
    assert secrets_of(settings)[0] == persona


@pytest.mark.parametrize(("set_to", "used"), [(1024, CONTEXT_TOKENS), (200, 200), (10**6, CONTEXT_TOKENS)])
def test_prompts_fit_a_slot_and_a_lower_limit_holds(set_to, used) -> None:
    settings = settings_of(replace(DEFAULT, context_tokens=set_to))

    assert (settings.context_tokens, settings.model) == (used, "packaged")


@pytest.mark.parametrize("persona", ["", "You are a pirate.", DEFAULT.persona])
async def test_a_servers_persona_and_the_message_are_passed_on(persona) -> None:
    context = Context(LONG, persona=persona, name="Bot")

    recorder = await asked_with(context, DEFAULT_STYLES[0])

    assert recorder.contexts[0] == context


async def test_a_persona_that_the_host_sets_while_running_holds_and_the_default_returns() -> None:
    recorder = Asked()
    manner = PackagedManner(recorder)

    manner.use_persona("You are a pirate.")
    first = recorder.persona
    manner.use_persona(DEFAULT.persona)

    assert (first, recorder.persona) == ("You are a pirate.", PERSONA)
    await manner.close()
    assert recorder.persona == "closed"


async def test_long_earlier_replies_are_shown_by_their_first_sentences_and_members_words_whole() -> None:
    replies = (
        LONG,
        "Short. And good.",
        "w" * 500,
        "First.\n```py\n" + "x = 1  # y. z.\n" * 50 + "```\nLast.",
    )
    said = tuple(turn for text in replies for turn in (Turn("user", LONG), Turn("assistant", text)))

    recorder = await asked_with(Context("and then?", said), DEFAULT_STYLES[0])

    shown = recorder.contexts[0].turns
    assert [turn.text for turn in shown if turn.role == "user"] == [LONG] * 4
    shortened = [turn.text for turn in shown if turn.role == "assistant"]
    assert shortened[0].endswith("about it.") and 250 < len(shortened[0]) <= 300
    assert shortened[1] == "Short. And good."
    assert shortened[2] == "w" * 300
    assert all(
        len(text) <= 300 and whole.startswith(text) for text, whole in zip(shortened, replies, strict=True)
    )


async def test_styles_are_passed_on_as_they_are() -> None:
    own = Style("mine", "Answer in rhyme.", 1.3)

    recorder = await asked_with(Context("hi"), *DEFAULT_STYLES, own)

    assert recorder.styles[:5] == [*DEFAULT_STYLES, own]


def test_a_forget_reaches_the_model():
    recorder = Asked()

    PackagedManner(recorder).forget(Leaving(pseudonym_of=lambda who: None, everyone=True))

    assert recorder.persona == "forgotten"
