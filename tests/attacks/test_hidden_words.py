"""A model hides words in a spoiler that is longer than a message, or in a table; a cut must not show them.

The real bot posts the reply, and every message is judged by the oracle of Discord's markdown.
"""

from __future__ import annotations

import random

import pytest

from bot.messages import splitting
from bot.messages.formats import Formats
from tests.integration.conftest import shapeless
from tests.rig.discord_markdown import hidden_in, shown_in
from tests.rig.size import sized

FILLER = " ".join(f"hint{n}" for n in range(sized(ci=400, full=1500)))
SECRET = " ".join(f"secret{n}" for n in range(sized(ci=400, full=1500)))
FORMS = (
    f"||{SECRET}||",
    f"The end: ||{SECRET}|| {FILLER}",
    f"> {FILLER}\n> ||{SECRET}||",
    f">>> ||{SECRET}||",
    f"- ||{SECRET}||\n- {FILLER}",
    f"# Spoilers\n**||{SECRET}||**",
    f"||**{SECRET}**||",
    f"||```py\n{SECRET}\n```||",
    "||" + SECRET.replace(" ", "\n\n") + "||",
    f"| a | b |\n|---|---|\n| ||{SECRET}|| | {FILLER} |",
)


@pytest.fixture
def settings(settings):
    """Styles without a shape, so that long texts stay long."""
    return shapeless(settings)


async def posted(world, text: str) -> list[str]:
    """Return the messages in which the bot posts a text."""
    world.generator.enqueue(text)
    await world.alice.send(world.channel, f"<@{world.bot.me}> tell me")
    found = sorted(world.channel.history(), key=lambda message: message.id)
    return [message.content for message in found if message.author.id == world.bot.me]


def in_clear(messages: list[str]) -> int:
    """Count the letters of the secret that a reader sees without a click."""
    words = "".join(
        char if "spoiler" not in formats else " " for m in messages for char, formats in shown_in(m)
    )
    return words.count("secret")


@pytest.mark.parametrize("form", FORMS)
async def test_hidden_words_stay_hidden_in_every_message(world, form):
    messages = await posted(world, form)

    assert len(messages) > 1 and all(len(message) <= 2000 for message in messages)
    assert in_clear(messages) == 0
    assert "".join(map(hidden_in, messages)).count("secret") == SECRET.count("secret")


async def test_control_without_the_formats_hidden_words_are_shown(world, monkeypatch):
    monkeypatch.setattr(splitting, "Formats", lambda text, blocks: Formats(""))

    assert in_clear(await posted(world, FORMS[0])) > 0


async def test_a_reply_in_many_formats_says_the_same(world):
    rng = random.Random(12)
    marks = ("**{}**", "_{}_", "`{}`", "__{}__", "~~{}~~", "||{}||")
    text = "\n".join(mark.format(" ".join(f"w{rng.randrange(9999)}" for _ in range(90))) for mark in marks)
    messages = await posted(world, text)

    assert [one for message in messages for one in shown_in(message)] == shown_in(text)
