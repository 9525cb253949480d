"""The menu "Another answer": the next candidate, only for the asker, and what is learnt from it."""

from __future__ import annotations

from bot.cogs.chat import another
from personalization.insight.taste import TasteReader
from storage.records import ANOTHER, Picked, Who
from tests.fakes import ScriptedGenerator
from tests.integration.conftest import opened

MENU = "Another answer"
CANDIDATES = ("One is none.", "Two are a pair, they say!", "Three?")


def replies(world) -> list[str]:
    messages = sorted(world.channel.history(), key=lambda message: message.id)
    return [message.content for message in messages if message.author.id == world.bot.me]


async def test_another_answer_is_the_next_candidate_and_then_a_new_one(settings):
    async with opened(settings, generator=ScriptedGenerator(CANDIDATES)) as world:
        first = await world.ask(world.alice)
        second = await world.alice.context_menu(world.channel, MENU, first)
        last = world.channel.last_message
        await world.alice.context_menu(world.channel, MENU, last)
        n_generated = len(world.generator.contexts)
        world.generator.enqueue(*CANDIDATES[:2], "Something new.")
        await world.alice.context_menu(world.channel, MENU, first)
        world.generator.enqueue(*CANDIDATES)
        none = await world.alice.context_menu(world.channel, MENU, first)

        said = replies(world)

    assert n_generated == 1
    assert (sorted(said[:3]), said[3:]) == (sorted(CANDIDATES), ["Something new."])
    assert second.ephemeral and second.response.content == another.POSTED
    assert last.reference is not None and last.reference.message_id == first.reference.message_id
    assert none.response.content == another.NOTHING_ELSE


async def test_only_who_asked_gets_another_answer(world):
    reply = await world.ask(world.alice)
    talk = await world.alice.send(world.channel, "just talk")

    his = await world.ben.context_menu(world.channel, MENU, reply)
    none = await world.alice.context_menu(world.channel, MENU, talk)

    assert [shown.response.content for shown in (his, none)] == [another.NOT_YOURS] * 2
    assert len(replies(world)) == 1


async def test_what_is_asked_for_again_and_liked_is_a_choice_with_honest_chances(world):
    await world.agree(world.alice)
    store, who = world.house.store, Who(world.guild.id, world.alice.id)
    first = await world.ask(world.alice)
    await world.alice.context_menu(world.channel, MENU, first)
    last = world.channel.last_message
    await world.alice.react(last, "👍")
    both = [await store.replies.of_message(message.id) for message in (first, last)]

    rows = (await store.preferences.of([store.member_id(who)], 10))[store.member_id(who)]
    (_, exported), *_ = await store.privacy.export(who)
    report = await world.house.trainer.run_round()

    assert [(row.picked, list(row.replies)) for row in rows] == [(Picked.AGAIN, both)]
    before, after = (row["decision"] for row in exported["replies"])
    assert 0 < before["propensity"] <= 1
    assert 0 < after["propensity"] <= 1
    assert after["policy"] == ANOTHER + before["policy"]
    assert report.n_labels == 2


async def asked_again_and_liked(world):
    """Ask for another answer and like it; return all labels of the asker, and what `/feedback` tells."""
    await world.agree(world.alice)
    await world.alice.context_menu(world.channel, MENU, await world.ask(world.alice))
    await world.alice.react(world.channel.last_message, "👍")
    taste = world.house.parts.taste
    member_id = world.house.store.member_id(Who(world.guild.id, world.alice.id))
    return await taste.labels_of(member_id), await taste.taste(member_id)


async def test_who_asks_for_another_answer_is_not_told_that_they_chose_it(world):
    labels, told = await asked_again_and_liked(world)

    assert labels.n_pairs == 1  # it teaches
    assert (told.n_choices, told.n_liked) == (0, 1)
    assert {leaning.chosen for leaning in told.leanings} <= {(0, 0)}


async def test_control_without_leaving_it_out_another_answer_counts_as_chosen(world, monkeypatch):
    everything = TasteReader._labels_of
    monkeypatch.setattr(TasteReader, "_labels_of", lambda self, member_id, **_: everything(self, member_id))

    _, told = await asked_again_and_liked(world)

    assert told.n_choices == 1


async def test_a_long_answer_can_be_asked_for_again_at_its_last_part(world):
    world.generator.enqueue(" ".join(f"This is sentence {n}." for n in range(150)), "Short.")
    last = await world.ask(world.alice)

    shown = await world.alice.context_menu(world.channel, MENU, last)

    assert shown.response.content == another.POSTED
