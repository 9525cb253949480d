"""Looks at the figures of a server as a manager does, at a time of the test's choice."""

from __future__ import annotations

from datetime import UTC, datetime

import discord

from bot.servers.published import WEEK, Frozen
from tests.integration.conftest import World


class Calendar:
    """The host's clock, moved on by whole weeks."""

    def __init__(self) -> None:
        self.weeks = 0

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.weeks * WEEK


def boss_of(world: World):
    """Add a manager to the server."""
    role = world.guild.create_role("boss", permissions=discord.Permissions(manage_guild=True))
    return world.guild.add_member(world.env.create_user("boss"), roles=[role])


async def taught(world: World, n_members: int, name: str = "member") -> list:
    """Let new members agree and like a reply, then run a round; return the members."""
    found = [world.guild.add_member(world.env.create_user(f"{name}{number}")) for number in range(n_members)]
    for member in found:
        await world.agree(member)
        await member.react(await world.ask(member), "👍")
    await world.bot.inbox.wait_idle()
    await world.house.trainer.run_round()
    return found


async def looks(world: World, boss, *, weeks: int, channel=None):
    """Let a manager use ``/stats``, so many weeks from now."""
    cog = world.bot.get_cog("Stats")
    for frozen in (cog._weekly, cog._daily):
        assert isinstance(frozen, Frozen)
        if not isinstance(frozen._now, Calendar):
            frozen._now = Calendar()
        frozen._now.weeks = weeks
    return await boss.slash(channel or world.channel, "stats")
