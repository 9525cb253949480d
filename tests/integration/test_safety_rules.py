"""``/safety``: the managers' rules apply from the next reply on, in their own server only."""

from __future__ import annotations

import discord
import pytest

from bot.cogs.managers import safety
from bot.messages.conversation import SPEECHLESS
from bot.moderation.output_filter import Level
from storage.errors import SealBroken
from storage.servers.safety_rules import ServerRules


@pytest.fixture
def boss(world):
    role = world.guild.create_role("boss", permissions=discord.Permissions(manage_guild=True))
    return world.guild.add_member(world.env.create_user("boss"), roles=[role])


async def test_level_and_words_hold_in_their_server_alone(world, boss):
    linked = "Look at https://a.example, you Dummkopf."
    world.generator.default = (linked,)
    elsewhere = world.env.create_guild("Elsewhere")
    channel = elsewhere.create_text_channel("general")
    carl = elsewhere.add_member(world.env.create_user("carl"))

    before = (await world.ask(world.alice)).content
    chosen = await boss.slash(world.channel, "safety level", level="strict")
    strict = (await world.ask(world.alice)).content
    form = await boss.slash(world.channel, "safety words")
    blocked = await boss.submit_modal(form, {"words": "dummkopf\n\n  bad   idea \ndummkopf"})
    withheld = (await world.ask(world.alice)).content
    shown = await boss.slash(world.channel, "safety show")
    await carl.send(channel, f"<@{world.bot.me}> hello")

    assert (before, strict, withheld) == (linked, "Look at (link removed), you Dummkopf.", SPEECHLESS)
    assert channel.last_message.content == linked
    assert chosen.response.content == safety.LEVEL_SET.format(level=safety.ABOUT[Level.STRICT])
    assert blocked.response.content == safety.WORDS_SET.format(count=2)
    assert shown.response.content == safety.RULES.format(
        level=safety.ABOUT[Level.STRICT], count=2, everywhere=safety.EVERYWHERE
    )


async def test_too_many_words_change_nothing_and_none_clear_the_list(world, boss):
    form = await boss.slash(world.channel, "safety words")
    refused = await boss.submit_modal(form, {"words": "x" * 61})
    form = await boss.slash(world.channel, "safety words")
    cleared = await boss.submit_modal(form, {"words": ""})

    assert refused.response.content == safety.TOO_MANY.format(most=200, longest=60)
    assert cleared.response.content == safety.WORDS_CLEARED


async def test_rules_that_cannot_be_read_are_taken_for_the_strictest(world, monkeypatch):
    world.generator.default = ("Look at https://a.example",)

    async def fails(_guild):
        raise SealBroken

    assert await world.house.store.safety.of(b"") == ServerRules()
    monkeypatch.setattr(world.house.store.safety, "of", fails)

    assert (await world.ask(world.alice)).content == "Look at (link removed)"
