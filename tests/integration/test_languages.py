"""Texts of the bot are in the language of the member's Discord client."""

from __future__ import annotations

from contextlib import contextmanager

import discord
from discord import app_commands

from bot.cogs.members.insight import NO_REPLY
from bot.languages import LANGUAGES, speaking, tr
from bot.ui.privacy_panel import AGREED

GERMAN = discord.Locale.german


@contextmanager
def client_in(env, locale):
    """Set the language of all clients within the block; simcord's clients are always in English."""
    emit = env.backend.emit

    def emit_in_locale(event, payload, *args, **kwargs):
        if event == "INTERACTION_CREATE":
            payload["locale"] = locale.value
        return emit(event, payload, *args, **kwargs)

    env.backend.emit = emit_in_locale
    try:
        yield
    finally:
        env.backend.emit = emit


def in_german(text):
    with speaking(GERMAN):
        return tr(text)


async def test_commands_and_buttons_answer_in_the_language_of_who_uses_them(world):
    with client_in(world.env, GERMAN):
        why = await world.alice.slash(world.channel, "why")
        shown = await world.alice.slash(world.channel, "privacy")
        await world.alice.click(shown.response, label=in_german("Learn what I like"))

    assert why.response.content == in_german(NO_REPLY) != NO_REPLY
    assert shown.response.content == in_german(AGREED) != AGREED
    assert (await world.ben.slash(world.channel, "why")).response.content == NO_REPLY


async def test_discord_gets_every_command_in_every_language_within_its_limits(world):
    tree = world.bot.tree
    payload = [await c.get_translated_payload(tree, tree.translator) for c in tree.get_commands()]

    menus = [one for one in payload if one["type"] != discord.AppCommandType.chat_input.value]
    assert len(menus) == len([c for c in tree.get_commands() if isinstance(c, app_commands.ContextMenu)]) > 0
    for menu in menus:
        assert set(menu["name_localizations"]) == {locale.value for locale in LANGUAGES}
        assert all(len(name) <= 32 for name in menu["name_localizations"].values())
    for part in described(payload):
        told = part.get("description_localizations", {})
        assert set(told) == {locale.value for locale in LANGUAGES}, (part["name"], part["description"])
        assert all(len(text) <= 100 for text in told.values()), told


def described(parts):
    """Yield commands, sub-commands and options that have a description, at any depth."""
    for part in parts:
        if part.get("description"):
            yield part
        yield from described(part.get("options") or ())
