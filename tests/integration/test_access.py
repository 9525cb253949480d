"""Permissions: no command reveals another member's data, and rights are checked at each use."""

from __future__ import annotations

import discord
from discord import app_commands

from bot.ui import errors

ABOUT_PEOPLE = {
    discord.AppCommandOptionType.user,
    discord.AppCommandOptionType.mentionable,
    discord.AppCommandOptionType.role,
}


def commands_of(bot) -> list[app_commands.Command]:
    return [one for one in bot.tree.walk_commands() if isinstance(one, app_commands.Command)]


async def test_no_command_takes_a_person_so_nobody_can_read_anothers_data(world):
    found = {command.qualified_name: command.parameters for command in commands_of(world.bot)}

    assert {"feedback", "why", "privacy", "my-data", "forget-me", "status", "stats"} <= found.keys()
    about = {name for name, given in found.items() for one in given if one.type in ABOUT_PEOPLE}
    assert about == {"config set access", "config set limit"}, "these two write a rule and read nothing"


async def test_menus_stand_on_messages_and_not_on_people(world):
    kinds = {menu.name: menu.type for menu in world.bot.tree.walk_commands(type=discord.AppCommandType.user)}

    assert kinds == {}


async def test_the_owner_of_the_bot_reads_nothing_of_a_member(world):
    await world.agree(world.alice)
    reply = await world.ask(world.alice, "a word of mine")
    await world.alice.react(reply, "👍")
    world.bot.owner_id = world.ben.id

    why = await world.ben.context_menu(world.channel, "Why this reply?", reply)
    own = await world.ben.slash(world.channel, "feedback")
    rated = await world.ben.slash(world.channel, "my-data")

    for shown in (why, own, rated):
        assert "👍" not in (shown.response.content or "")
        assert shown.response.ephemeral


async def test_permissions_of_a_server_do_not_make_an_owner(world):
    guild = world.env.backend.guilds[world.guild.id]
    guild.owner_id = world.ben.id

    refused = await world.ben.slash(world.channel, "admin pause")

    assert refused.response.content == errors.OWNER_ONLY
    assert not await world.bot.pausing.is_paused()


async def test_stats_are_refused_at_use_to_who_may_not_manage_the_server(world):
    command = world.bot.tree.get_command("stats")

    assert command is not None and command.checks != []
