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

POWERS = ("admin", "config", "stats")
REFUSALS = {errors.OWNER_ONLY, "You may not use this command here."}


def calls_of(world: World) -> dict[str, dict[str, Any]]:
    """Map every restricted command to the options to call it with."""
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
    commands = [one for one in world.bot.tree.walk_commands() if isinstance(one, app_commands.Command)]
    names = [one.qualified_name for one in commands if one.qualified_name.split()[0] in POWERS]
    assert options.keys() <= set(names)
    return {name: options.get(name, {}) for name in sorted(names)}


async def powerless(world: World) -> dict[str, str]:
    """Call every restricted command as Alice, who has no permission; return the answers."""
    for registered in await world.bot.tree.fetch_commands():
        if registered.name in POWERS:
            world.guild.set_command_permissions(registered, {world.alice: True})
    told = {}
    for name, options in calls_of(world).items():
        answer = await world.alice.slash(world.channel, name, **options)
        told[name] = answer.response.content
    return told


async def test_every_command_with_a_power_is_refused_to_a_member_without_it(world):
    told = await powerless(world)

    assert {name: words for name, words in told.items() if words not in REFUSALS} == {}
    assert len(told) >= 12
    assert await world.house.store.guild_settings.of(world.guild.id) == GuildRecord()
    assert not await world.bot.pausing.is_paused()


async def test_commands_with_a_power_over_a_server_are_hidden_by_default(world):
    shown = {one.name for one in world.bot.tree.get_commands() if isinstance(one, app_commands.Group)}
    hidden = [world.bot.tree.get_command(name) for name in ("config", "stats")]

    assert "config" in shown
    assert [one.default_permissions for one in hidden] == [discord.Permissions(manage_guild=True)] * 2
    assert all(one.guild_only for one in hidden)


async def test_control_without_the_check_anybody_changes_a_server(world, monkeypatch):
    async def no_check(self, interaction) -> bool:
        return True

    monkeypatch.setattr(app_commands.Command, "_check_can_run", no_check)

    told = await powerless(world)

    assert {name for name, words in told.items() if words in REFUSALS} == set()
    assert await world.bot.pausing.is_paused() or told["admin pause"] == admin.PAUSED
