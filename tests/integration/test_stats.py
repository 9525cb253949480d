"""``/stats``: only for managers, in coarse figures that stay for a week."""

from __future__ import annotations

import discord
import pytest

from bot.cogs.managers import stats as cog
from bot.cogs.managers.stats import FEWEST_MEMBERS
from bot.servers import published
from personalization.insight.off_policy import Estimate
from personalization.insight.uplift_report import Outcome, Report
from tests.rig.figures import boss_of, looks, taught

NOTHING = [
    f"**Members whose taste I have learnt here** fewer than {FEWEST_MEMBERS}",
    f"**Members who rated replies here in 30 days** fewer than {FEWEST_MEMBERS}",
    "*So that these figures say nothing about one person, they are rounded, slightly random, and the same for"
    f" a week. Figures based on fewer than about {FEWEST_MEMBERS} members are hidden.*",
]


async def test_below_the_least_number_of_members_nothing_is_told(world):
    await taught(world, 3)

    shown = await looks(world, boss_of(world), weeks=1)

    assert shown.response.content.splitlines() == NOTHING
    assert (shown.response.attachments, shown.response.ephemeral) == ([], True)


async def test_enough_members_become_figures_and_a_picture(world, monkeypatch):
    monkeypatch.setattr(published, "BUCKETS", (5, 10))
    monkeypatch.setattr(published, "noise", lambda *_what: 0)
    await taught(world, 6)
    for _ in range(cog.FEWEST_REPLIES):
        world.bot.metrics.reply({"generate": 1.7, "rank": 0.1, "post": 0.2})

    shown = await looks(world, boss_of(world), weeks=1)

    assert shown.response.content.splitlines()[:3] == [
        "**Members whose taste I have learnt here** about 5",
        "**Members who rated replies here in 30 days** about 5",
        "**A reply takes** about 2 s",
    ]
    assert [attachment.filename for attachment in shown.response.attachments] == ["stats.png"]
    assert shown.response.ephemeral


async def test_what_happens_in_a_week_shows_in_the_next_one(world, monkeypatch):
    monkeypatch.setattr(published, "BUCKETS", (5, 10))
    monkeypatch.setattr(published, "noise", lambda *_what: 0)
    boss = boss_of(world)
    before = await looks(world, boss, weeks=0)
    await taught(world, 6)
    same = await looks(world, boss, weeks=0)
    later = await looks(world, boss, weeks=1)

    assert before.response.content == same.response.content
    assert "about 5" in later.response.content


async def test_another_server_is_not_counted(world, monkeypatch):
    monkeypatch.setattr(published, "BUCKETS", (5, 10))
    monkeypatch.setattr(published, "noise", lambda *_what: 0)
    await taught(world, 6)
    elsewhere = world.env.create_guild("Elsewhere")
    channel = elsewhere.create_text_channel("general")
    role = elsewhere.create_role("boss", permissions=discord.Permissions(manage_guild=True))
    other = elsewhere.add_member(world.env.create_user("other"), roles=[role])

    shown = await looks(world, other, weeks=1, channel=channel)

    assert shown.response.content.splitlines()[:2] == NOTHING[:2]


def report_of(n_effective_members: float, n_replies: float = 1000.0) -> Report:
    found = Estimate(0.0312, 0.0111, 0.0588, n_replies)
    estimates = type("Estimates", (), {"dr": found})
    outcome = Outcome(posted=found, head=estimates, prior=estimates, gain=estimates)
    return Report(1000, 900, 300, 400, 0, 0, 0, outcome, outcome, n_effective_members=n_effective_members)


def test_the_uplift_is_told_in_whole_replies():
    assert cog.gain_of(report_of(30.0)) == cog.Gain(3, 1, 6)
    assert "**Liked replies in 100 that personal ranking adds, all servers** +3 (+1 to +6)" in "".join(
        cog.lines_of(cog.Counts(None, None), {}, cog.Gain(3, 1, 6))
    )


@pytest.mark.parametrize(("members", "replies"), [(24.0, 1000.0), (30.0, 49.0), (0.0, float("nan"))])
def test_the_uplift_of_few_is_not_told_although_many_had_one_reply_each(members, replies):
    assert cog.gain_of(report_of(members, replies)) is None


async def test_a_member_who_may_not_manage_the_server_is_refused_also_when_discord_lets_them_try(world):
    command = world.bot.tree.get_command("stats")
    (check,) = command.checks

    class Asked:
        permissions = discord.Permissions(send_messages=True)

    with pytest.raises(discord.app_commands.MissingPermissions):
        check(Asked())
    assert command.default_permissions == discord.Permissions(manage_guild=True)
    assert command.guild_only
