"""P36: commands for managers check the permission at each use.

Discord hides commands from members without a permission. A server's settings can still show them to any
member, and a permission may be withdrawn between looking and clicking. So a member without permissions, whom
Discord lets through, calls every such command: each call is refused and changes nothing.

Control: without the checks, the same calls succeed.
"""

from __future__ import annotations

from typing import Any

import discord
import pytest
from discord import app_commands

from bot.cogs import admin
from bot.ui import errors
from storage.servers.stored_settings import GuildRecord
from tests.integration.conftest import World
from tests.integration.conftest import settings as settings  # a fixture
from tests.integration.conftest import world as world  # a fixture

pytestmark = pytest.mark.promise("P36")

POWERS = ("bot.cogs.managers.", "bot.cogs.admin")
"""Modules whose commands all need a permission; the message menus in them are for everybody."""
REFUSALS = {errors.OWNER_ONLY, "You may not use this command here."}


def calls_of(world: World) -> dict[str, dict[str, Any]]:
    """Map every restricted command to the options to call it with; required ones are made up."""
    options: dict[str, dict[str, Any]] = {
        "config set persona": {"text": "You are mine now."},
        "config set model": {"name": "mine"},
        "config set chat-channel": {"channel": world.channel, "answer_all": False},
        "config set reactions": {"emoji": "🎉"},
        "config set emoji": {"emoji": "🎉", "means": "like"},
        "config set access": {"rule": "deny", "member": world.ben},
        "config set limit": {"per": "server", "messages": 1},
        "config reset": {"what": "everything"},
    }
    found = {one.qualified_name: made_up(world, one) for one in restricted(world)}
    assert options.keys() <= found.keys()
    return {name: options.get(name, found[name]) for name in sorted(found)}


def restricted(world: World) -> list[app_commands.Command]:
    """Return the commands that need a permission, whatever they are called."""
    commands = [one for one in world.bot.tree.walk_commands() if isinstance(one, app_commands.Command)]
    return [one for one in commands if one.callback.__module__.startswith(POWERS)]


def made_up(world: World, command: app_commands.Command) -> dict[str, Any]:
    """Return a value for each required option."""
    kinds = discord.AppCommandOptionType
    values: dict[Any, Any] = {kinds.channel: world.channel, kinds.user: world.ben, kinds.boolean: True}
    given: dict[str, Any] = {}
    for one in command.parameters:
        least = int(one.min_value or 3)
        if one.required:
            simple = "x" * least if one.type is kinds.string else least
            given[one.display_name] = one.choices[0].value if one.choices else values.get(one.type, simple)
    return given


async def powerless(world: World) -> dict[str, str]:
    """Call every restricted command as Alice, who has no permission; return the answers."""
    roots = {one.qualified_name.split()[0] for one in restricted(world)}
    for registered in await world.bot.tree.fetch_commands():
        if registered.name in roots:
            world.guild.set_command_permissions(registered, {world.alice: True})
    told = {}
    for name, options in calls_of(world).items():
        answer = await world.alice.slash(world.channel, name, **options)
        told[name] = answer.response.content if answer.response else ""
    return told


async def test_every_command_with_a_power_is_refused_to_a_member_without_it(world):
    told = await powerless(world)

    assert {name: words for name, words in told.items() if words not in REFUSALS} == {}
    assert {name.split()[0] for name in told} >= {"admin", "config", "stats", "faq", "safety", "review"}
    assert await world.house.store.guild_settings.of(world.guild.id) == GuildRecord()
    assert not await world.bot.pausing.is_paused()


async def test_commands_with_a_power_over_a_server_are_hidden_by_default(world):
    shown = {one.name for one in world.bot.tree.get_commands() if isinstance(one, app_commands.Group)}
    names = {one.qualified_name.split()[0] for one in restricted(world)} - {"admin"}
    hidden = [world.bot.tree.get_command(name) for name in names]

    assert "config" in shown
    assert {one.default_permissions for one in hidden} == {discord.Permissions(manage_guild=True)}
    assert all(one.guild_only for one in hidden)


async def test_control_without_the_check_anybody_changes_a_server(world, monkeypatch):
    async def no_check(self, interaction) -> bool:
        return True

    monkeypatch.setattr(app_commands.Command, "_check_can_run", no_check)

    told = await powerless(world)

    assert {name for name, words in told.items() if words in REFUSALS} == set()
    assert await world.bot.pausing.is_paused() or told["admin pause"] == admin.PAUSED
