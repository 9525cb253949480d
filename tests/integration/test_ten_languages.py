"""Every screen of the bot in every language: whole sentences of that language, within Discord's limits.

simcord refuses what Discord would refuse: labels, titles and texts that are too long.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import discord
import pytest

from bot.languages import LANGUAGES, speaking, tr
from tests.conformance.test_translations import ENGLISH_WORDS, NAMES, SCRIPTS
from tests.fakes import ScriptedGenerator
from tests.integration.conftest import World, opened
from tests.integration.test_languages import client_in
from tests.rig.size import sized

CANDIDATES = ("1.", "1, 2, 3! 🎉", "1?")
"""Replies without words of a language."""
LOCALES = {language: locale for locale, language in LANGUAGES.items()}
WALKED = [("pl", "ja", "de"), tuple(sorted(LOCALES))][sized(ci=0, full=1)]
"""Languages whose screens are opened; in CI one of each kind: three plural forms, no spaces, long words."""

_NOT_WORDS = re.compile(r"`[^`]*`|<[^>]*>|https?://\S+|\*\*Simpatico\*\*.*|\b(?:SmolLM2|hash)\b[-\w]*")
"""Commands, markup, links, and names of models and devices."""


@dataclass
class Screens:
    """What a member and a manager see."""

    world: World
    language: str
    shown: list[str] = field(default_factory=list)

    def say(self, english: str) -> str:
        with speaking(LOCALES[self.language]):
            return tr(english)

    def see(self, result: Any) -> Any:
        """Keep the texts of a response, with those of its buttons, menus, embeds and forms."""
        if result.modal:
            self.shown += texts_in(result.modal)
            return result
        for message in [*result.followups, *([result.response] if result.response else [])]:
            self.shown.append(message.content)
            self.shown += [f"{embed.title}\n{embed.description}" for embed in message.embeds]
            self.shown += texts_in(message.components)
        return result


def texts_in(part: Any) -> Iterator[str]:
    """Yield labels, placeholders and descriptions at any depth of components."""
    if isinstance(part, dict):
        for name, value in part.items():
            if name in ("label", "placeholder", "description", "title") and isinstance(value, str):
                yield value
            elif isinstance(value, (dict, list)):
                yield from texts_in(value)
    elif isinstance(part, list):
        for one in part:
            yield from texts_in(one)


async def member_screens(screens: Screens) -> None:
    """Open every command, button and form of a member."""
    world, see, say = screens.world, screens.see, screens.say
    alice, channel = world.alice, world.channel
    see(await alice.slash(channel, "help"))
    see(await alice.slash(channel, "why"))
    shown = see(await alice.slash(channel, "privacy"))
    see(await alice.click(shown.response, label=say("Learn what I like")))
    reply = await world.ask(alice, "1?")
    await alice.react(reply, "👎")
    await world.bot.inbox.drain(10.0)
    for name in ("why", "status", "limits", "privacy", "compare"):
        see(await alice.slash(channel, name))
    style = see(await alice.slash(channel, "style"))
    see(await alice.select(style.response, ["short", "warm"]))
    see(await alice.click(style.response, label=say("In my own words")))
    panel = see(await alice.slash(channel, "feedback", rating=2))
    form = see(await alice.click(panel.response, label=say("Tell me what was wrong")))
    see(await alice.submit_modal(form, fields_of(form.modal)))
    see(await alice.slash(channel, "feedback"))
    see(await alice.click(panel.response, label=say("Start over")))
    see(await alice.click(panel.response, label=say("Pause learning")))
    asked = see(await alice.context_menu(channel, "Report this reply", reply))
    see(await alice.select(asked.response, ["rude"]))
    see(await alice.slash(channel, "my-data"))
    gone = see(await alice.slash(channel, "forget-me"))
    see(await alice.click(gone.response, label=say("Forget everything about me")))


def fields_of(modal: Any) -> dict[str, Any]:
    parts = [row["component"] for row in modal["components"]]
    return {part["custom_id"]: ["too long", "tone"] if part["type"] == 3 else "1" for part in parts}


async def manager_screens(screens: Screens, boss: Any) -> None:
    """Open every command and form of a manager."""
    world, see = screens.world, screens.see
    channel = world.channel
    see(await boss.slash(channel, "help"))
    see(await boss.slash(channel, "config show"))
    see(await boss.slash(channel, "config set limit", per="member", messages=22, tokens=1))
    see(await boss.slash(channel, "config set access", rule="deny", member=world.ben))
    see(await boss.slash(channel, "config set chat-channel", channel=channel, answer_all=False))
    for name in ("config show", "safety show", "stats", "review", "faq list"):
        see(await boss.slash(channel, name))
    see(await boss.slash(channel, "safety level", level="strict"))
    see(await boss.slash(channel, "safety words"))
    form = see(await boss.slash(channel, "faq add"))
    see(await boss.submit_modal(form, {"question": "1?", "answer": "discord.gg/1"}))
    see(await boss.slash(channel, "faq list"))
    see(await boss.slash(channel, "config reset", what="everything"))


def english_in(text: str, language: str) -> list[str]:
    """Return words of a text that are not in the language."""
    words = _NOT_WORDS.sub(" ", text)
    if language not in SCRIPTS:
        return ENGLISH_WORDS.findall(words)
    return [word for word in re.findall(r"[A-Za-z]{2,}", words) if word not in NAMES]


@pytest.mark.parametrize("language", WALKED)
async def test_every_screen_is_in_the_language_and_fits_discord(settings, language):
    settings = replace(settings, generator=replace(settings.generator, persona="1"))
    async with opened(settings, generator=ScriptedGenerator(CANDIDATES)) as world:
        role = world.guild.create_role(
            "1", permissions=discord.Permissions(manage_guild=True, manage_messages=True)
        )
        boss = world.guild.add_member(world.env.create_user("boss"), roles=[role])
        screens = Screens(world, language)
        with client_in(world.env, LOCALES[language]):
            await member_screens(screens)
            await manager_screens(screens, boss)

    assert len(screens.shown) > 60
    assert {text: found for text in screens.shown if (found := english_in(text, language))} == {}
