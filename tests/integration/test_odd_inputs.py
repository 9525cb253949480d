"""Odd inputs and outputs with scripted answers; ``make hostile`` sends the same to the real models."""

from __future__ import annotations

import logging

from bot.messages.conversation import NOTES
from tests.integration.conftest import opened
from tests.rig.newest import newest
from tests.rig.odd_inputs import ODD, judged, rush, said_since
from tests.rig.playing import opened as playing


async def test_each_odd_input_gets_one_answer_and_pings_nobody(world, caplog):
    bad = {}
    for number, text in enumerate(ODD):
        before = newest(world.channel).id if number else 0
        await (world.alice, world.ben)[number % 2].send(world.channel, f"<@{world.bot.me}> {text}")
        answers = said_since(world.channel, before, world.bot.me)
        pinged = any(m.mention_everyone or m.role_mentions for m in answers)
        outcome = judged(tuple(m.content for m in answers), pinged, 0.0)
        if outcome.complaint or len(answers) != 1:
            bad[text[:60]] = outcome

    assert bad == {}
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []


async def test_each_odd_output_of_a_model_becomes_a_sensible_message_or_a_note(world, caplog):
    """The model may write anything that a member may write."""
    bad = {}
    for number, text in enumerate(ODD):
        before = newest(world.channel).id if number else 0
        world.generator.enqueue(text)
        await (world.alice, world.ben)[number % 2].send(world.channel, f"<@{world.bot.me}> hi")
        answers = said_since(world.channel, before, world.bot.me)
        pinged = any(m.mentions or m.mention_everyone or m.role_mentions for m in answers)
        outcome = judged(tuple(m.content for m in answers), pinged, 0.0)
        if outcome.complaint or any("ada is bad" in answer for answer in outcome.answers):
            bad[text[:60]] = outcome

    assert bad == {}
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []


async def test_a_rush_of_messages_and_commands_is_answered():
    async with playing() as (playground, _):
        outcome = await rush(playground)

        assert outcome.complaint == ""


async def test_a_restart_in_the_middle_leaves_nothing_behind(settings):
    for _ in range(2):
        async with opened(settings) as world:
            reply = await world.ask(world.alice, ODD[0])

            assert reply.content not in NOTES
