"""End to end with the real language model, encoder, worker process and store: heads survive a restart."""

from __future__ import annotations

from dataclasses import replace

import pytest
import simcord

from bot.app.composition import open_house
from bot.client import create_bot
from bot.config import Settings
from bot.generation import Context
from bot.replies.decision import Prompt
from storage.records import Who

pytestmark = pytest.mark.slow


async def test_message_reply_reaction_round_restart(settings):
    settings = replace(settings, generator=replace(Settings().generator, max_new_tokens=24))

    async with open_house(settings, seed=0) as house:
        env = simcord.Env(create_bot(settings.bot, house.parts, always_sync=True), settle_timeout=120.0)
        await env.start()
        guild = env.create_guild()
        channel = guild.create_text_channel("general")
        alice = guild.add_member(env.create_user("alice"))
        await alice.send(channel, f"<@{env.bot.user.id}> What is a good breakfast?")
        reply = channel.last_message
        await alice.click(reply, label="Learn what I like")
        await alice.react(reply, "👍")
        report = await house.trainer.run_round()
        me = house.store.member_id(Who(guild.id, alice.id))
        before = await house.store.learning.head_of(me)
        await env.shutdown()

    assert reply.content.strip()
    assert reply.author.id == env.bot.user.id
    assert (report.n_members, report.n_labels, report.n_unsolved) == (1, 1, 0)

    async with open_house(settings, seed=0) as house:
        after = await house.store.learning.head_of(me)
        decision = await house.parts.responder.decide(
            Prompt(Who(guild.id, alice.id), Context("And for lunch?"))
        )

    assert before is not None
    assert after == before
    assert decision.impression.head_version == before.version
    assert len(decision.impression.candidates) >= 2
