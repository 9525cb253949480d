"""Consent and forgetting through Discord."""

from __future__ import annotations

import asyncio

from bot.client import create_bot
from bot.generation import Context
from bot.replies.decision import Prompt
from bot.ui import privacy_panel as privacy
from storage.records import Consent, DataSummary, Who
from tests.rig.waiting import until


def who(world, member) -> Who:
    return Who(world.guild.id, member.id)


def labels(message) -> list[str]:
    return [button.label for row in message.components for button in row.children]


async def test_the_first_reply_invites_once(world):
    first = await world.ask(world.alice)
    second = await world.ask(world.alice)
    to_ben = await world.ask(world.ben)

    assert labels(first) == ["Learn what I like", "What is kept?", "No, thanks"]
    assert labels(second) == []
    assert labels(to_ben) == ["Learn what I like", "What is kept?", "No, thanks"]


async def test_agreeing_under_a_reply_is_recorded_and_the_buttons_go(world):
    reply = await world.ask(world.alice)

    pressed = await world.alice.click(reply, label="Learn what I like")

    assert await world.house.store.consent.of(who(world, world.alice)) is Consent.AGREED
    assert [followup.content for followup in pressed.followups] == [privacy.AGREED]
    assert all(followup.ephemeral for followup in pressed.followups)
    assert labels(world.channel.last_message) == []


async def test_an_old_invitation_cannot_wipe_with_one_click(world):
    reply = await world.ask(world.alice)
    await world.agree(world.alice)  # through /privacy; the invitation stays on the reply

    pressed = await world.alice.click(reply, label="No, thanks")

    assert pressed.followups[0].content == privacy.SURE
    assert await world.house.store.consent.of(who(world, world.alice)) is Consent.AGREED


async def test_a_reply_from_before_consent_is_stored_only_by_its_own_button(world):
    reply = await world.ask(world.alice)

    await world.agree(world.alice)

    assert await world.house.store.replies.of_message(reply.id) is None


async def test_a_no_in_one_server_leaves_waiting_questions_alone(world):
    world.generator.gate = asyncio.Event()
    world.env.backend.create_message(world.channel.id, world.alice.id, f"<@{world.bot.me}> a")
    await until(lambda: world.generator.contexts)  # it is in progress, so the next one is no part of it
    world.env.backend.create_message(world.channel.id, world.alice.id, f"<@{world.bot.me}> b")
    await until(lambda: len(world.bot.queues))  # this one waits

    await world.bot.privacy.refuse(who(world, world.alice))
    world.generator.gate.set()
    await world.env.settle()

    assert len([m for m in world.channel.history() if m.author.id == world.bot.me]) == 2


async def decided_during_an_answer(world, decide):
    """Let Alice decide while her answer is being generated; return the reply."""
    world.generator.gate = asyncio.Event()
    world.env.backend.create_message(world.channel.id, world.alice.id, f"<@{world.bot.me}> hello")
    await until(lambda: world.generator.contexts)
    await decide(who(world, world.alice))
    world.generator.gate.set()
    await world.env.settle()
    return world.channel.last_message


async def test_agreeing_while_an_answer_is_written_counts_for_it(world):
    reply = await decided_during_an_answer(world, world.house.store.consent.record)

    await world.alice.react(reply, "👍")

    assert (await world.house.store.privacy.summary(who(world, world.alice))).n_feedback == 1


async def test_forgetting_while_an_answer_is_written_leaves_nothing_waiting(world):
    async def forget(me):
        await world.bot.privacy.forget(me.user_id)

    reply = await decided_during_an_answer(world, forget)
    await world.alice.click(reply, label="Learn what I like")

    assert await world.house.store.replies.of_message(reply.id) is None


async def test_the_reply_under_which_a_member_agreed_counts_already(world):
    reply = await world.ask(world.alice)
    before = await world.house.store.replies.of_message(reply.id)
    await world.alice.click(reply, label="Learn what I like")

    await world.alice.react(reply, "👍")

    member_id = world.house.store.member_id(who(world, world.alice))
    rows = (await world.house.store.learning.feedback_of([member_id]))[member_id]
    assert before is None
    assert [row.reactions for row in rows] == [("👍",)]


async def test_a_no_lets_go_of_the_reply_that_waited(world):
    reply = await world.ask(world.alice)
    await world.alice.click(reply, label="No, thanks")

    await world.agree(world.alice)

    assert await world.house.store.replies.of_message(reply.id) is None


async def test_an_invitation_is_for_one_member_only(world):
    reply = await world.ask(world.alice)

    pressed = await world.ben.click(reply, label="Learn what I like")

    assert pressed.response.content == privacy.NOT_YOURS
    assert await world.house.store.consent.of(who(world, world.ben)) is Consent.UNKNOWN
    assert await world.house.store.consent.of(who(world, world.alice)) is Consent.UNKNOWN


async def test_a_no_is_remembered_and_nobody_asks_again(world):
    reply = await world.ask(world.alice)
    await world.alice.click(reply, label="No, thanks")
    world.house.store.tallies._tallies.clear()  # as after a restart

    again = await world.ask(world.alice)

    assert await world.house.store.consent.of(who(world, world.alice)) is Consent.REFUSED
    assert labels(again) == []


async def test_what_is_kept_can_be_read_from_the_invitation_without_losing_it(world):
    reply = await world.ask(world.alice)

    pressed = await world.alice.click(reply, label="What is kept?")

    assert "What I never keep" in pressed.followups[0].content
    assert pressed.followups[0].ephemeral
    assert labels(world.channel.last_message) == ["Learn what I like", "What is kept?", "No, thanks"]


async def test_privacy_counts_what_is_kept(world):
    await world.agree(world.alice)
    reply = await world.ask(world.alice)
    await world.alice.react(reply, "👍")

    shown = await world.alice.slash(world.channel, "privacy")

    assert shown.ephemeral
    assert (
        "I keep my replies to you (1, with feedback on 1 of them) and no model yet" in shown.response.content
    )


async def test_withdrawing_deletes_what_was_kept_here(world):
    await world.agree(world.alice)
    reply = await world.ask(world.alice)
    await world.alice.react(reply, "👍")

    shown = await world.alice.slash(world.channel, "privacy")
    asked = await world.alice.click(shown.response, label="Stop learning here")
    before = await world.house.store.consent.of(who(world, world.alice))
    await world.alice.click(asked.followups[0], label="Stop and delete what is kept here")

    assert before is Consent.AGREED
    assert asked.followups[0].ephemeral
    assert await world.house.store.consent.of(who(world, world.alice)) is Consent.REFUSED
    assert await world.house.store.privacy.summary(who(world, world.alice)) == DataSummary(
        None, 0, 0, None, 0
    )


async def test_forget_me_asks_first_and_can_be_cancelled(world):
    await world.agree(world.alice)

    shown = await world.alice.slash(world.channel, "forget-me")
    asked = shown.response.content
    await world.alice.click(shown.response, label="Cancel")

    assert shown.ephemeral
    assert "This cannot be undone" in asked
    assert shown.response.content == privacy.KEPT
    assert await world.house.store.consent.of(who(world, world.alice)) is Consent.AGREED


async def test_forget_me_removes_the_member_and_leaves_the_other(world):
    for member in (world.alice, world.ben):
        await world.agree(member)
        reply = await world.ask(member)
        await member.react(reply, "👍")
    await world.house.trainer.run_round()
    bens = world.house.store.member_id(who(world, world.ben))
    before = await world.house.store.learning.head_of(bens)

    shown = await world.alice.slash(world.channel, "forget-me")
    await world.alice.click(shown.response, label="Forget everything about me")

    assert (
        "I deleted your key, my replies to you (1), your feedback (1) and the models of your taste (1)."
        in shown.response.content
    )
    assert await world.house.store.privacy.summary(who(world, world.alice)) == DataSummary(
        None, 0, 0, None, 0
    )
    assert await world.house.store.learning.head_of(bens) == before
    assert before is not None


async def test_an_answer_in_the_making_is_not_recorded_after_forgetting(world):
    await world.agree(world.alice)
    decision = None
    responder = world.bot.responder

    async def decide_then_forget(prompt):
        nonlocal decision
        decision = await type(responder).decide(responder, prompt)
        await world.house.store.privacy.forget(world.alice.id)
        return decision

    responder.decide = decide_then_forget
    reply = await world.ask(world.alice)

    assert decision is not None
    assert await world.house.store.replies.of_message(reply.id) is None


async def test_buttons_work_after_a_restart(world):
    reply = await world.ask(world.alice)

    await world.env.restart_bot(create_bot(world.bot.settings, world.house.parts, always_sync=True))
    await world.alice.click(reply, label="Learn what I like")

    assert await world.house.store.consent.of(who(world, world.alice)) is Consent.AGREED


async def test_status_says_what_runs(world):
    shown = await world.alice.slash(world.channel, "status")

    assert shown.ephemeral
    for part in ("Simpatico", "**Writes with** SmolLM2-135M-Instruct\n", "hash-32"):
        assert part in shown.response.content
    assert "round" not in shown.response.content


async def test_status_tells_the_last_round_to_the_host_alone(world):
    owner = world.guild.add_member(world.env.create_user("owner"))
    world.bot.owner_id = owner.id

    shown = await owner.slash(world.channel, "status")

    assert "**Last training round** no training round yet" in shown.response.content


async def test_the_means_of_styles_learn_nothing_from_a_reply_to_a_member_who_left_meanwhile(world):
    await world.agree(world.alice)
    means = dict(world.bot.memory)["style means"]
    world.generator.gate = asyncio.Event()
    deciding = asyncio.create_task(
        world.bot.responder.decide(Prompt(who(world, world.alice), Context("hello")))
    )
    await until(lambda: world.generator.contexts)
    await world.bot.privacy.forget(world.alice.id)
    world.generator.gate.set()
    await deciding

    assert not means._portfolio._servers
