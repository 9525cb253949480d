"""``/stats``: only for managers, and only if enough members are behind the figures."""

from __future__ import annotations

import discord
import pytest

from bot.cogs.managers.stats import FEWEST_MEMBERS, WITHHELD
from tests.integration.conftest import World


@pytest.fixture
def boss(world):
    """Add a manager to the server."""
    role = world.guild.create_role("boss", permissions=discord.Permissions(manage_guild=True))
    return world.guild.add_member(world.env.create_user("boss"), roles=[role])


async def taught(world: World, n_members: int) -> None:
    """Let members agree and like a reply, then run a round."""
    for number in range(n_members):
        member = world.guild.add_member(world.env.create_user(f"member{number}"))
        await world.agree(member)
        await member.react(await world.ask(member), "👍")
    await world.bot.inbox.wait_idle()
    await world.house.trainer.run_round()


async def test_below_the_least_number_of_members_nothing_is_told(world, boss):
    await taught(world, FEWEST_MEMBERS - 1)

    shown = await boss.slash(world.channel, "stats")

    assert shown.response.content.splitlines() == [
        "**Members whose taste I have learnt here** fewer than 5",
        "**Replies rated here in the last 30 days** 0 (days with ratings: 0)",
        "**Training rounds, all servers** 1, "
        + shown.response.content.split("servers** 1, ")[1].splitlines()[0],
        f"*{WITHHELD.format(n=FEWEST_MEMBERS)}*",
    ]
    assert (shown.response.attachments, shown.response.ephemeral) == ([], True)


async def test_enough_members_become_figures_and_a_picture(world, boss):
    await taught(world, FEWEST_MEMBERS)

    shown = await boss.slash(world.channel, "stats")

    lines = shown.response.content.splitlines()
    assert lines[:2] == [
        "**Members whose taste I have learnt here** 5",
        "**Replies rated here in the last 30 days** 5 (days with ratings: 1)",
    ]
    assert lines[3].startswith("**What personal ranking brings, all servers** Personal ranking brings ")
    assert "too few to conclude anything" in lines[3]
    assert [attachment.filename for attachment in shown.response.attachments] == ["stats.png"]
    assert shown.response.ephemeral


async def test_another_server_is_not_counted(world, boss):
    await taught(world, FEWEST_MEMBERS)
    elsewhere = world.env.create_guild("Elsewhere")
    channel = elsewhere.create_text_channel("general")
    role = elsewhere.create_role("boss", permissions=discord.Permissions(manage_guild=True))
    other_boss = elsewhere.add_member(world.env.create_user("other"), roles=[role])

    shown = await other_boss.slash(channel, "stats")

    assert shown.response.content.splitlines()[:2] == [
        "**Members whose taste I have learnt here** fewer than 5",
        "**Replies rated here in the last 30 days** 0 (days with ratings: 0)",
    ]


async def test_a_member_who_may_not_manage_the_server_is_refused_also_when_discord_lets_them_try(world):
    command = world.bot.tree.get_command("stats")
    (check,) = command.checks

    class Asked:
        permissions = discord.Permissions(send_messages=True)

    with pytest.raises(discord.app_commands.MissingPermissions):
        check(Asked())
    assert command.default_permissions == discord.Permissions(manage_guild=True)
    assert command.guild_only
