"""P48: a reply holds no link that the safety level of its server forbids.

The language model answers with masked links and invitations in disguise. At each level a member asks the real
bot, and every message that the bot posts is judged by an oracle of Discord's own markdown.

Control: with a filter that finds no links, the same check finds them.
"""

from __future__ import annotations

import pytest

from bot.moderation import output_filter
from bot.moderation.output_filter import Level
from bot.settings import SafetySettings
from tests.rig.discord_markdown import links_of

pytestmark = pytest.mark.promise("P48")

MASKED = (
    "\\`Go to [the [real] bank](https://evil.example)\\` now.",
    '**`** Go to [the\nbank](<https://evil.example> "bank") `',
    "> `\nGo to [a ` bank](https:\\/\\/evil.example) `",
)
INVITES = (
    "Join https://discord.com:443/./invite/abc",
    "Join dis\u034fcord\u3002gg/abc",
    "Join %64iscord.gg/abc",
)
PLAIN = "Read https://evil.example or <https://evil.example/a>."


async def posted(world, level: Level) -> list[str]:
    """Return what the bot posts for every text at a level."""
    world.bot.responder.source._filter.use_settings(SafetySettings(level=level.value))
    texts = []
    for text in (*MASKED, *INVITES, PLAIN):
        world.generator.enqueue(text)
        await world.ask(world.alice)
        texts.append(world.channel.last_message.content)
    return texts


def forbidden(texts: list[str], level: Level) -> list[str]:
    """Return the posted texts that the level forbids."""
    return [
        text
        for text in texts
        if any(link.label is not None or level is Level.STRICT for link in links_of(text))
        or (level is not Level.RELAXED and "abc" in text)
    ]


@pytest.mark.parametrize("level", Level)
async def test_no_forbidden_link_is_posted(world, level):
    texts = await posted(world, level)

    assert forbidden(texts, level) == []
    assert any("https://evil.example" in text for text in texts) is (level is not Level.STRICT)


@pytest.mark.parametrize("level", Level)
async def test_control_without_the_check_forbidden_links_are_posted(world, monkeypatch, level):
    monkeypatch.setattr(output_filter, "_unwanted_link", lambda text, level: None)
    monkeypatch.setattr(output_filter, "tidied", lambda text, **_: text)

    assert forbidden(await posted(world, level), level)
