"""``/compare``: shows two candidates to the member only, records the choice, shows the next pair."""

from __future__ import annotations

import asyncio

from bot.cogs.chat import compare
from bot.generation import Context
from bot.replies.decision import Prompt
from bot.ui.components import NOT_AGREED
from bot.ui.feedback_panel import NOT_THERE, TAKEN_BACK
from storage.records import Picked, Who
from tests.fakes import ScriptedGenerator
from tests.integration.conftest import opened
from tests.rig.waiting import until

CANDIDATES = ("No.", "Well, there is a lot to say about that! 🎉", "Yes?")


async def kept(world, member) -> list[Picked]:
    store = world.house.store
    member_id = store.member_id(Who(world.guild.id, member.id))
    return [row.picked for row in (await store.preferences.of([member_id], 100))[member_id]]


def shown_texts(message) -> list[str]:
    return [embed.description for embed in message.embeds]


async def test_every_pair_of_the_last_prompt_is_shown_once_and_each_choice_recorded(settings):
    async with opened(settings, generator=ScriptedGenerator(CANDIDATES)) as world:
        await world.agree(world.alice)
        await world.ask(world.alice)
        shown = await world.alice.slash(world.channel, "compare")
        pairs = [shown_texts(shown.response)]
        named = shown.response.content.splitlines()[0]
        for label, said in (("A", Picked.FIRST), ("Equal", Picked.EQUAL)):
            await world.alice.click(shown.response, label=label)
            assert compare.RECORDED[said] in shown.response.content
            assert compare.COUNTS in shown.response.content
            assert shown.response.content.splitlines()[0] == named
            pairs.append(shown_texts(shown.response))
        await world.alice.click(shown.response, label="B")
        last = shown.response.content
        after = await world.alice.slash(world.channel, "compare")
        recorded = await kept(world, world.alice)
        report = await world.house.trainer.run_round()
        panel = (await world.alice.slash(world.channel, "feedback")).response
        counted = panel.content
        undone = await world.alice.click(shown.response, label="Undo last choice")
        await world.alice.click(panel, label="Undo last choice")

        assert shown.ephemeral
        assert named.startswith("**Answers to your message that I answered <t:")
        assert named.partition(":** ")[2] in CANDIDATES
        assert {frozenset(pair) for pair in pairs} == {
            frozenset((a, b)) for a in CANDIDATES for b in CANDIDATES if a != b
        }
        assert recorded == [Picked.FIRST, Picked.EQUAL, Picked.SECOND]
        assert last.endswith(compare.LAST)
        assert after.response.content == compare.NOTHING
        assert report.n_labels == 3
        assert "**Choices you made between two answers:** 3" in counted
        assert undone.followups[-1].content == TAKEN_BACK
        assert panel.content.startswith(NOT_THERE)
        assert await kept(world, world.alice) == [Picked.FIRST, Picked.EQUAL]


async def test_a_message_that_is_given_is_answered_for_comparison_and_not_kept(world):
    await world.agree(world.alice)

    shown = await world.alice.slash(world.channel, "compare", message="what about\n*tea*?")
    asked = shown.response.content
    await world.alice.click(shown.response, label="B")

    named = compare.TO_THIS.format(message=r"what about \*tea\*?")
    assert world.generator.contexts[-1].message == "what about\n*tea*?"
    assert asked == f"{named}\n{compare.ASK}"
    assert shown.response.content.splitlines()[0] == named
    assert len(shown.response.embeds) == 2
    assert await kept(world, world.alice) == [Picked.SECOND]
    (_, exported), *_ = await world.house.store.privacy.export(Who(world.guild.id, world.alice.id))
    assert exported["replies"] == []
    assert "tea" not in str(exported)


async def test_old_buttons_and_members_who_did_not_agree_record_nothing(world):
    refused = await world.alice.slash(world.channel, "compare")
    await world.agree(world.alice)
    await world.ask(world.alice)
    shown = await world.alice.slash(world.channel, "compare")
    await world.house.parts.store.pauses.pause(Who(world.guild.id, world.alice.id))
    await world.alice.click(shown.response, label="A")
    paused = shown.response.content
    await world.house.parts.store.pauses.resume(Who(world.guild.id, world.alice.id))
    old = await world.alice.slash(world.channel, "compare")
    await world.bot.privacy.forget(world.alice.id)
    await world.agree(world.alice)
    await world.alice.click(old.response, label="A")

    assert refused.response.content == NOT_AGREED
    assert (paused, old.response.content) == (compare.PAUSED, compare.GONE)
    assert await kept(world, world.alice) == []


async def test_a_comparison_that_is_being_made_is_not_kept_when_the_member_leaves(world):
    await world.agree(world.alice)
    who = Who(world.guild.id, world.alice.id)
    world.generator.gate = asyncio.Event()
    making = asyncio.create_task(world.bot.comparisons.of_message(Prompt(who, Context("what about tea?"))))
    await until(lambda: world.generator.contexts)
    await world.bot.privacy.forget(world.alice.id)
    world.generator.gate.set()

    assert await making is None
    assert not world.bot.comparisons._by_member
