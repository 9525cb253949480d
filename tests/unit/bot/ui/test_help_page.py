"""The help page shows each member the commands that they may use, by their names."""

from __future__ import annotations

import discord
import pytest
from discord import app_commands

from bot.ui.help_page import OWNER_ONLY, may_use, page_of

NOBODY = discord.Permissions.none()
MANAGER = discord.Permissions(manage_guild=True)


async def nothing(interaction: discord.Interaction) -> None: ...


async def nothing_on(interaction: discord.Interaction, message: discord.Message) -> None: ...


def command(**decorations) -> app_commands.Command:
    made = app_commands.Command(name="do", description="Does it.", callback=nothing)
    for name, value in decorations.items():
        setattr(made, name, value)
    return made


def in_owners_group() -> app_commands.Command:
    group = app_commands.Group(name="host", description="For the host.", extras={OWNER_ONLY: True})
    made = command()
    group.add_command(made)
    return made


@pytest.mark.parametrize(
    ("one", "permissions", "direct", "owner", "shown"),
    [
        (command(), NOBODY, False, False, True),
        (command(guild_only=True), NOBODY, True, False, False),
        (command(default_permissions=MANAGER), NOBODY, False, True, False),
        (command(default_permissions=MANAGER), MANAGER, False, False, True),
        (command(default_permissions=discord.Permissions.none()), MANAGER, False, False, False),
        (command(default_permissions=MANAGER), discord.Permissions(administrator=True), False, False, True),
        (in_owners_group(), discord.Permissions.all(), False, False, False),
        (in_owners_group(), NOBODY, True, True, True),
    ],
)
def test_who_may_use_what(one, permissions, direct, owner, shown):
    assert may_use(one, permissions=permissions, direct=direct, owner=owner) is shown


def test_names_are_clickable_where_the_id_is_known():
    menu = app_commands.ContextMenu(name="Look", callback=nothing_on)

    page = page_of([command(), in_owners_group(), menu], {"host": 7})

    assert page.splitlines()[2:4] == ["`/do`: Does it.", "</host do:7>: Does it."]
    assert "*Look*" in page.splitlines()[4]
