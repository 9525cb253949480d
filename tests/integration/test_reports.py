"""Reports: any member can report a reply anonymously; managers decide in ``/review``."""

from __future__ import annotations

import discord
import pytest
from sqlalchemy import func, select

from bot.cogs.managers import reported_replies as cog
from storage.database import schema
from storage.records import Who
from tests.integration.conftest import World

RUDE = "It is rude or hurtful"


@pytest.fixture
def boss(world):
    role = world.guild.create_role(
        "boss", permissions=discord.Permissions(manage_guild=True, manage_messages=True)
    )
    return world.guild.add_member(world.env.create_user("boss"), roles=[role])


async def report(world: World, member, reply, reason: str = "rude"):
    asked = await member.context_menu(world.channel, "Report this reply", reply)
    return await member.select(asked.response, [reason])


async def count(world: World, table) -> int:
    query = select(func.count()).select_from(table)
    return await world.house.store._reader.run(lambda c: c.execute(query).scalar_one())


async def test_a_report_is_reviewed_and_the_reply_deleted_with_what_is_kept_of_it(world, boss):
    await world.agree(world.alice)
    reply = await world.ask(world.alice)
    members_before = await count(world, schema.members)
    thanked = await report(world, world.ben, reply)
    twice = await report(world, world.ben, reply, "wrong")
    await report(world, world.alice, reply, "wrong")

    shown = await boss.slash(world.channel, "review")
    listed = shown.response.content
    done = await boss.click(shown.response, label="Delete 1")

    link = f"https://discord.com/channels/{world.guild.id}/{world.channel.id}/{reply.id}"
    assert (thanked.response.content, twice.response.content) == (cog.THANKS, cog.TWICE)
    assert members_before == await count(world, schema.members)  # Ben did not agree, so he is not stored
    title, line = listed.splitlines()
    assert title == cog.TITLE.format(count=1)
    assert line.startswith(f"1. {link} · {RUDE} ×1, It is wrong or misleading ×1 · since <t:")
    assert reply.content not in listed
    assert shown.response.ephemeral and thanked.response.ephemeral
    assert done.response.content.splitlines() == [cog.DELETED, cog.NOTHING_WAITS]
    assert reply.id not in world.env.backend.messages[world.channel.id]
    assert [await count(world, t) for t in (schema.replies, schema.reports, schema.messages)] == [0, 0, 0]


async def test_a_reply_to_who_did_not_agree_is_reported_in_memory_alone(world, boss):
    reply = await world.ask(world.alice)
    await report(world, world.ben, reply)
    stored = [await count(world, table) for table in (schema.reports, schema.members, schema.replies)]

    shown = await boss.slash(world.channel, "review")
    listed = shown.response.content
    done = await boss.click(shown.response, label="Dismiss 1")

    assert stored == [0, 0, 0]
    assert f"{RUDE} ×1" in listed
    assert done.response.content.splitlines() == [cog.DISMISSED, cog.NOTHING_WAITS]
    assert reply.id in world.env.backend.messages[world.channel.id]
    await report(world, world.alice, reply)
    world.bot.reports.drop_server(world.guild.id + 1)
    assert await world.bot.reports.of_message(Who(world.guild.id, 0), reply.id) is not None
    await boss.delete(reply)
    assert await world.bot.reports.of_message(Who(world.guild.id, 0), reply.id) is None


async def test_a_button_asks_anew_whether_whoever_presses_it_is_a_manager(world, boss):
    await world.agree(world.alice)
    await report(world, world.ben, await world.ask(world.alice))
    shown = await boss.slash(world.channel, "review")
    world.env.backend.get_guild(world.guild.id).members[boss.id].role_ids.clear()  # no longer a manager
    refused = await boss.click(shown.response, label="Delete 1")

    assert "You may not use this command here." in [m.content for m in (refused.response, *refused.followups)]
    assert await count(world, schema.reports) == 1


async def test_only_replies_of_the_bot_can_be_reported(world):
    sent = await world.alice.send(world.channel, "hello")

    refused = await world.ben.context_menu(world.channel, "Report this reply", sent)

    assert refused.response.content == cog.NOT_MINE
