"""Choices between two replies change only the head of the member who made them."""

from __future__ import annotations

from storage.records import Pick, Picked
from tests.unit.personalization.bench import ALICE, BOB, LONG, SHORT


async def choose(bench, who, better: str, worse: str) -> int:
    one, two = (text.astype("<f4").tobytes() for text in bench.features.features([better, worse]))
    pick = Pick(Picked.FIRST, bench.features.feature_id, one, two)
    return await bench.store.preferences.record_pick(who, pick)


async def test_who_only_compared_gets_a_head_of_their_own(bench, store) -> None:
    for who in (ALICE, BOB):
        await store.consent.record(who)
    for _ in range(5):
        last = await choose(bench, ALICE, LONG, SHORT)
        await choose(bench, BOB, SHORT, LONG)

    report = await bench.trainer.run_round()

    assert (report.n_members, report.n_labels) == (2, 10)
    assert [await bench.favourite(who) for who in (ALICE, BOB)] == [LONG, SHORT]
    head = await bench.head(ALICE)
    await store.preferences.undo(BOB, last)  # the choice is Alice's, so this has no effect
    assert (await bench.trainer.run_round()).n_members == 0
    await store.preferences.undo(ALICE, last)
    assert (await bench.trainer.run_round()).n_members == 1
    assert await bench.head(ALICE) != head


async def test_another_answer_that_is_liked_counts_as_a_choice(bench, store) -> None:
    await store.consent.record(ALICE)
    first, second = [await bench.reply(ALICE, text) for text in (LONG, SHORT)]
    ids = [await store.replies.of_message(message) for message in (first, second)]
    assert await store.preferences.record_another(ALICE, *ids)
    asked = await bench.trainer.run_round()

    await store.feedback.record_reaction(ALICE, second, "👍", added=True)
    liked = await bench.trainer.run_round()

    assert (asked.n_labels, liked.n_labels) == (0, 2)  # the thumb, and the preference over the first reply
