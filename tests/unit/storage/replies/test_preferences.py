"""Choices between two replies, remarks and pauses: stored for one member and deleted when they should be."""

from __future__ import annotations

import pytest

from storage.errors import LearningPaused, NoConsent
from storage.records import Observed, Pick, Picked, Place, Remark
from tests.unit.storage.given import (
    ALICE,
    BOB,
    CAROL,
    CHANNEL,
    FIRST,
    IMPRESSION,
    SECOND,
    due,
    posted,
    round_of,
    standing,
)

PICK = Pick(Picked.SECOND, "hash-4", b"one!", b"two!")


async def kept(store, *people) -> list[list[tuple]]:
    member_ids = [store.member_id(who) for who in people]
    told = await store.preferences.of(member_ids, 100)
    return [[(row.picked, row.first, row.second) for row in told[member_id]] for member_id in member_ids]


async def test_a_choice_is_kept_sealed_for_who_made_it_and_makes_them_due(store) -> None:
    await store.consent.record(ALICE)
    with pytest.raises(NoConsent):
        await store.preferences.record_pick(BOB, PICK)

    number = await store.preferences.record_pick(ALICE, PICK)

    assert await kept(store, ALICE, BOB) == [[(Picked.SECOND, b"one!", b"two!")], []]
    assert await store.preferences.counts([store.member_id(who) for who in (ALICE, BOB)]) == {
        store.member_id(ALICE): 1
    }
    assert await due(store) == [ALICE]
    await round_of(store)
    assert await store.preferences.undo(BOB, number) is False
    assert await store.preferences.undo(ALICE, number) is True
    assert (await kept(store, ALICE), await due(store)) == ([[]], [ALICE])


async def test_another_answer_is_kept_for_the_asker_of_both_alone(store) -> None:
    first, second = [await posted(store, ALICE, message) for message in (FIRST, SECOND)]
    foreign = await posted(store, BOB, 3)

    assert await store.preferences.record_another(ALICE, first, second) is True
    assert await store.preferences.record_another(ALICE, first, foreign) is False
    assert await store.preferences.record_another(BOB, first, second) is False
    assert await store.preferences.record_another(CAROL, first, second) is False

    features = IMPRESSION.features
    assert await kept(store, ALICE, BOB) == [[(Picked.AGAIN, features, features)], []]


async def test_a_choice_goes_with_a_reply_that_is_deleted_and_its_member_is_due(store) -> None:
    first, second = [await posted(store, ALICE, message) for message in (FIRST, SECOND)]
    await store.preferences.record_another(ALICE, first, second)
    await store.preferences.record_pick(ALICE, Pick(Picked.EQUAL, "hash-4", b"a", b"b", second, (1, 0)))
    await store.preferences.record_pick(ALICE, PICK)
    assert await store.preferences.picked_of(ALICE, second) == {frozenset((0, 1))}
    both = tuple(zip(IMPRESSION.candidates, IMPRESSION.styles, strict=True))
    assert await store.preferences.candidates_of(ALICE, second) == both
    assert await store.preferences.candidates_of(BOB, second) == ()
    await round_of(store)

    await store.feedback.record_deleted([SECOND])

    assert await kept(store, ALICE) == [[(Picked.SECOND, b"one!", b"two!")]]
    assert await due(store) == [ALICE]


async def test_starting_over_and_leaving_leave_no_choice_and_no_word(store) -> None:
    for who, message in ((ALICE, FIRST), (BOB, SECOND)):
        reply_id = await posted(store, who, message)
        await store.preferences.record_pick(who, PICK)
        await store.remarks.record(who, reply_id, Remark(("wrong",), "the words"))
    await store.remarks.record(ALICE, reply_id, Remark(("too long",), None))  # about Bob's reply

    assert await store.learning.start_over(ALICE) == 1
    started_over = await kept(store, ALICE, BOB)
    await store.preferences.record_pick(ALICE, PICK)
    receipt = await store.privacy.forget(ALICE.user_id)

    assert [len(rows) for rows in started_over] == [0, 1]
    assert (receipt.n_preferences, receipt.n_remarks, receipt.n_traces) == (1, 2, 0)
    await store.consent.record(ALICE)
    assert await kept(store, ALICE) == [[]]
    assert await store.remarks.of(ALICE, reply_id) is None
    assert await store.remarks.of(BOB, reply_id) == Remark(("wrong",), "the words")


async def test_own_words_go_after_the_retention_time_and_the_reasons_stay(store, clock) -> None:
    reply_id = await posted(store, ALICE, FIRST)
    await store.remarks.record(ALICE, reply_id, Remark(("emoji",), "first"))
    await store.remarks.record(ALICE, reply_id, Remark(("emoji", "tone"), "the words"))
    before = await store.remarks.of(ALICE, reply_id)
    clock.advance(days=31)

    await store.replies.expire_texts()

    assert before == Remark(("emoji", "tone"), "the words")
    assert await store.remarks.of(ALICE, reply_id) == Remark(("emoji", "tone"), None)
    await store.remarks.record(ALICE, reply_id, None)
    assert await store.remarks.of(ALICE, reply_id) is None


async def test_while_learning_is_paused_nothing_new_is_recorded_and_taking_back_goes_on(store, clock) -> None:
    reply_id, other = await posted(store, ALICE, FIRST), await posted(store, ALICE, SECOND)
    await store.feedback.record_reaction(ALICE, FIRST, "👍", added=True)
    await store.pauses.pause(ALICE)
    clock.advance(minutes=1)

    await store.feedback.record_reaction(ALICE, SECOND, "👍", added=True)
    await store.feedback.record_events(
        [Observed(CHANNEL, SECOND, ALICE.guild_id, {("👍", False): frozenset([ALICE.user_id])})]
    )
    for refused in (
        store.feedback.record_rating(ALICE, reply_id, 5),
        store.preferences.record_pick(ALICE, PICK),
    ):
        with pytest.raises(LearningPaused):
            await refused
    assert await store.preferences.record_another(ALICE, reply_id, other) is False
    meanwhile = await standing(store, ALICE)
    await store.feedback.record_reaction(ALICE, FIRST, "👍", added=False)
    taken_back = await standing(store, ALICE)
    await store.pauses.resume(ALICE)
    await store.feedback.record_events(
        [Observed(CHANNEL, SECOND, ALICE.guild_id, {("👍", False): frozenset([ALICE.user_id])})]
    )
    resumed = await standing(store, ALICE)
    await store.feedback.record_reaction(ALICE, SECOND, "👎", added=True)

    assert meanwhile == {reply_id: (("👍",), None)}
    assert (taken_back, resumed) == ({}, {})
    assert await standing(store, ALICE) == {other: (("👎",), None)}
    assert await kept(store, ALICE) == [[]]


async def test_a_pause_is_the_members_own_and_goes_when_they_leave(store) -> None:
    for who in (ALICE, BOB):
        await store.consent.record(who)
    await store.pauses.pause(ALICE)
    with pytest.raises(NoConsent):
        await store.pauses.pause(CAROL)

    paused = [await store.pauses.is_paused(who) for who in (ALICE, BOB, CAROL)]
    await store.privacy.refuse(ALICE)
    await store.consent.record(ALICE)

    assert paused == [True, False, False]
    assert await store.pauses.is_paused(ALICE) is False
    assert await store.replies.record(ALICE, Place(CHANNEL, (9,)), IMPRESSION)
