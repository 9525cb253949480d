"""Feedback: the resulting state after additions, removals, clears and deletions, in order, exactly once."""

import asyncio
import itertools

import pytest

from storage.errors import UnknownReply
from storage.records import FeedbackRow, NewHead
from storage.replies.feedback import FeedbackState, Reaction
from tests.unit.storage.given import (
    ALICE,
    BOB,
    CAROL,
    FIRST,
    GUILD,
    IMPRESSION,
    SECOND,
    START,
    due,
    posted,
    round_of,
    standing,
)


@pytest.fixture
async def reply(store):
    """A reply to Alice in two chunks; Bob agreed as well."""
    await store.consent.record(BOB)
    return await posted(store, ALICE, FIRST, SECOND)


async def add(store, who, message_id, emoji, burst=False):
    return await store.feedback.record_reaction(who, message_id, emoji, added=True, burst=burst)


async def take(store, who, message_id, emoji, burst=False):
    return await store.feedback.record_reaction(who, message_id, emoji, added=False, burst=burst)


def test_state_round_trips_and_has_one_form():
    state = FeedbackState(frozenset({Reaction(1, "👍", False), Reaction(0, "blob:77", True)}), 4)

    assert FeedbackState.from_bytes(state.to_bytes()) == state
    assert state.to_bytes() == b'{"reactions":[[0,"blob:77",true],[1,"\xf0\x9f\x91\x8d",false]],"rating":4}'


async def test_reaction_is_stored_with_the_features_of_the_reply(store, reply):
    assert await add(store, BOB, FIRST, "👍") is True

    guild = store._keys.pseudonyms.guild(BOB)
    person = store._keys.pseudonyms.person(BOB.user_id)
    row = FeedbackRow(reply, ("👍",), None, "hash-4", IMPRESSION.features, START, guild, person)
    assert await store.learning.feedback_of([store.member_id(BOB), store.member_id(ALICE)]) == {
        store.member_id(BOB): [row],
        store.member_id(ALICE): [],
    }


async def test_only_the_reactor_is_due(store, reply):
    await add(store, BOB, FIRST, "👍")

    assert await due(store) == [BOB]


async def test_removed_reaction_takes_its_label_back(store, reply):
    await add(store, BOB, FIRST, "👍")
    await round_of(store)

    assert await take(store, BOB, FIRST, "👍") is True
    assert await standing(store, BOB) == {}
    assert await due(store) == [BOB]


@pytest.mark.parametrize("message_id", [1, GUILD])
async def test_reaction_on_an_unknown_message_stores_nothing(store, reply, message_id):
    assert await add(store, BOB, message_id, "👍") is False
    assert await due(store) == []


async def test_repeated_event_changes_nothing(store, reply):
    await add(store, BOB, FIRST, "👍")
    await round_of(store)
    await add(store, BOB, FIRST, "👍")
    await take(store, BOB, FIRST, "🎉")

    assert await standing(store, BOB) == {reply: (("👍",), None)}
    assert await due(store) == []


async def test_reaction_added_again_after_removal_stands(store, reply):
    for change in (add, take, add):
        await change(store, BOB, FIRST, "👍")

    assert await standing(store, BOB) == {reply: (("👍",), None)}


@pytest.mark.parametrize("order", list(itertools.product([True, False], repeat=3)))
async def test_calls_in_order_are_applied_in_order(store, reply, order):
    calls = [store.feedback.record_reaction(BOB, FIRST, "👍", added=added) for added in order]
    await asyncio.gather(*calls)

    assert await standing(store, BOB) == ({reply: (("👍",), None)} if order[-1] else {})


async def test_super_reaction_and_normal_one_stand_apart(store, reply):
    await add(store, BOB, FIRST, "👍")
    await add(store, BOB, FIRST, "👍", burst=True)
    await take(store, BOB, FIRST, "👍")
    with_burst = await standing(store, BOB)
    await take(store, BOB, FIRST, "👍", burst=True)

    assert with_burst == {reply: (("👍",), None)}
    assert await standing(store, BOB) == {}


async def test_emoji_on_two_chunks_counts_once_until_both_are_gone(store, reply):
    await add(store, BOB, FIRST, "👍")
    await add(store, BOB, SECOND, "👍")
    await take(store, BOB, FIRST, "👍")
    half = await standing(store, BOB)
    await take(store, BOB, SECOND, "👍")

    assert half == {reply: (("👍",), None)}
    assert await standing(store, BOB) == {}


async def test_clear_takes_everybodys_reactions_off_one_chunk(store, reply):
    for who, message_id, emoji in [(ALICE, FIRST, "👍"), (BOB, FIRST, "👎"), (BOB, SECOND, "🎉")]:
        await add(store, who, message_id, emoji)
    await store.feedback.record_rating(ALICE, reply, 5)
    await round_of(store)

    assert await store.feedback.record_clear(FIRST) == 2
    assert await standing(store, ALICE) == {reply: ((), 5)}
    assert await standing(store, BOB) == {reply: (("🎉",), None)}
    assert set(await due(store)) == {ALICE, BOB}


async def test_clear_emoji_leaves_the_others(store, reply):
    await add(store, ALICE, FIRST, "👍")
    await add(store, BOB, FIRST, "👍", burst=True)
    await add(store, BOB, FIRST, "🎉")
    await add(store, ALICE, SECOND, "👍")
    await round_of(store)

    assert await store.feedback.record_clear(FIRST, "👍") == 2
    assert await standing(store, ALICE) == {reply: (("👍",), None)}
    assert await standing(store, BOB) == {reply: (("🎉",), None)}
    assert await store.feedback.record_clear(FIRST, "👍") == 0


async def test_deleted_chunk_takes_its_reactions(store, reply):
    await add(store, BOB, FIRST, "👍")
    await add(store, BOB, SECOND, "🎉")

    assert await store.feedback.record_deleted([FIRST]) == 1
    assert await standing(store, BOB) == {reply: (("🎉",), None)}
    assert await store.replies.of_message(FIRST) is None
    assert await store.replies.of_message(SECOND) == reply


@pytest.mark.parametrize("at_once", [True, False])
async def test_reply_without_chunks_goes_with_its_feedback(store, reply, at_once):
    other = await posted(store, ALICE, FIRST + 100)
    await add(store, BOB, FIRST, "👍")
    await store.feedback.record_rating(ALICE, reply, 5)
    await store.feedback.record_rating(ALICE, other, 1)
    await round_of(store)

    for message_ids in [[FIRST, SECOND, 999]] if at_once else [[FIRST], [SECOND]]:
        affected = await store.feedback.record_deleted(message_ids)

    assert affected == (2 if at_once else 1)
    assert set(await due(store)) == {ALICE, BOB}
    assert await store.replies.summary(ALICE, reply) is None
    assert (await standing(store, BOB), await standing(store, ALICE)) == ({}, {other: ((), 1)})


async def test_rating_is_replaced_and_taken_back(store, reply):
    answers = [await store.feedback.record_rating(BOB, reply, rating) for rating in (4, 2, None)]

    assert answers == [None, 4, 2]
    assert await standing(store, BOB) == {}


async def test_rating_and_reactions_share_the_row(store, reply):
    await store.feedback.record_rating(BOB, reply, 5)
    await add(store, BOB, FIRST, "👍")

    assert await standing(store, BOB) == {reply: (("👍",), 5)}


@pytest.mark.parametrize("rating", [0, 6, -1])
async def test_rating_out_of_range_is_refused(store, reply, rating):
    with pytest.raises(ValueError, match=f"Expected a rating from 1 to 5, found {rating}"):
        await store.feedback.record_rating(BOB, reply, rating)


async def test_rating_an_unknown_reply_is_refused(store, reply):
    stranger = type(BOB)(GUILD + 1, BOB.user_id)
    await store.consent.record(stranger)

    for who, reply_id in ((BOB, reply + 100), (stranger, reply)):
        with pytest.raises(UnknownReply):
            await store.feedback.record_rating(who, reply_id, 5)


async def test_time_of_the_change_is_kept(store, reply, clock):
    clock.advance(hours=3)
    await add(store, BOB, FIRST, "👍")

    ((row,),) = (await store.learning.feedback_of([store.member_id(BOB)])).values()
    assert row.changed_at == clock.now


async def test_many_members_and_replies_keep_apart(store):
    replies = [await posted(store, ALICE, 5000 + i) for i in range(5)]
    for who in (BOB, CAROL):
        await store.consent.record(who)
    await asyncio.gather(
        *(add(store, who, 5000 + i, f"{who.user_id % 10}-{i}") for who in (BOB, CAROL) for i in range(5))
    )

    assert await standing(store, BOB) == {r: ((f"2-{i}",), None) for i, r in enumerate(replies)}
    assert await standing(store, CAROL) == {r: ((f"3-{i}",), None) for i, r in enumerate(replies)}


async def test_undone_reactions_say_nothing_and_are_still_known(store):
    reply_id = await posted(store, ALICE, FIRST)
    await store.feedback.record_reaction(ALICE, FIRST, "👍", added=True)
    await store.feedback.record_rating(ALICE, reply_id, 5)

    changed = await store.feedback.undo(ALICE, reply_id)
    again = await store.feedback.undo(ALICE, reply_id)

    assert (changed, again) == (True, False)
    assert await standing(store, ALICE) == {reply_id: ((), None)}
    assert (await store.feedback.summary(ALICE)).latest == ()


async def test_what_was_undone_counts_again_only_when_it_is_given_again(store):
    reply_id = await posted(store, ALICE, FIRST)
    await store.feedback.record_reaction(ALICE, FIRST, "👍", added=True)
    await store.feedback.undo(ALICE, reply_id)

    await store.feedback.record_reaction(ALICE, FIRST, "👍", added=True)
    repeated = await standing(store, ALICE)
    await store.feedback.record_reaction(ALICE, FIRST, "🎉", added=True)
    other = await standing(store, ALICE)
    await store.feedback.record_reaction(ALICE, FIRST, "👍", added=False)
    await store.feedback.record_reaction(ALICE, FIRST, "👍", added=True)

    assert repeated == {reply_id: ((), None)}
    assert other == {reply_id: (("🎉",), None)}
    assert await standing(store, ALICE) == {reply_id: (("🎉", "👍"), None)}


async def test_starting_over_undoes_everything_of_one_member_in_one_server(store):
    mine, other = await posted(store, ALICE, FIRST), await posted(store, BOB, SECOND)
    for message in (FIRST, SECOND):
        await store.feedback.record_reaction(ALICE, message, "👍", added=True)
    await store.feedback.record_reaction(BOB, SECOND, "👎", added=True)
    await round_of(store, NewHead(store.member_id(ALICE), b"a", 2), NewHead(store.member_id(BOB), b"b", 1))

    changed = await store.learning.start_over(ALICE)

    assert changed == 2
    assert await standing(store, ALICE) == {mine: ((), None), other: ((), None)}
    assert await standing(store, BOB) == {other: (("👎",), None)}
    assert await store.learning.head_of(store.member_id(ALICE)) is None
    assert await store.learning.head_of(store.member_id(BOB)) is not None
    assert await due(store) == [ALICE]


async def test_a_summary_counts_the_own_feedback_and_lists_that_on_own_replies_newest_first(store):
    mine, other = await posted(store, ALICE, FIRST), await posted(store, ALICE, SECOND)
    await posted(store, BOB, SECOND + 1)
    await store.feedback.record_reaction(ALICE, SECOND, "👍", added=True)
    await store.feedback.record_reaction(ALICE, SECOND + 1, "🎉", added=True)
    await store.feedback.record_rating(ALICE, mine, 4)
    await store.feedback.record_reaction(BOB, FIRST, "👎", added=True)

    summary = await store.feedback.summary(ALICE, 5)

    assert [(one.reply_id, one.reactions, one.rating) for one in summary.latest] == [
        (mine, (), 4),
        (other, ("👍",), None),
    ]
    assert (summary.n_replies, summary.head) == (3, None)
