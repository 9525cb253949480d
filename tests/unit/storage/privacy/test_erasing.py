"""Erasure: all data of one member are deleted, all data of the others stay, even after an interruption."""

import asyncio
from dataclasses import replace

import pytest

from storage import failpoints
from storage.records import Consent, DataSummary, ForgetReceipt, HeadRecord, NewHead, PriorRecord
from storage.store import Store
from tests.unit.storage.given import (
    ALICE,
    BOB,
    CAROL,
    FIRST,
    GUILD,
    SECOND,
    START,
    due,
    posted,
    round_of,
    standing,
)

ELSEWHERE = replace(ALICE, guild_id=GUILD + 1)
NOTHING = DataSummary(None, 0, 0, None, 0)


@pytest.fixture
async def replies(store):
    """Alice and Bob each have a reply and like both; both have heads, there is a prior, no member is due."""
    await store.consent.record(BOB)
    both = await posted(store, ALICE, FIRST), await posted(store, BOB, SECOND)
    for who in (ALICE, BOB):
        for message_id in (FIRST, SECOND):
            await store.feedback.record_reaction(who, message_id, "👍", added=True)
    await store.learning.record_prior(PriorRecord(b"prior", 2, START))
    await round_of(store, NewHead(store.member_id(ALICE), b"a", 2), NewHead(store.member_id(BOB), b"b", 2))
    return both


async def gone(store, who) -> bool:
    member_id = store.member_id(who)
    return (
        await store.privacy.summary(who) == NOTHING
        and await store.learning.head_of(member_id) is None
        and await store.learning.feedback_of([member_id]) == {member_id: []}
        and member_id not in await store.learning.members_with_feedback(None, 100)
    )


async def test_forget_removes_the_one_and_leaves_the_other(store, replies):
    alice, bob = store.member_id(ALICE), store.member_id(BOB)

    receipt = await store.privacy.forget(ALICE.user_id)

    assert receipt == ForgetReceipt(
        (alice,),
        (bob,),
        n_replies=1,
        n_feedback=3,
        n_heads=1,
        finished_at=START,
        n_keys=1,
        n_traces=0,
        files_searched=True,
    )
    assert await gone(store, ALICE)
    assert await store.consent.of(ALICE) is Consent.UNKNOWN
    assert await store.replies.of_message(FIRST) is None
    assert await store.privacy.summary(BOB) == DataSummary(START, 1, 1, 1, 2)
    assert await store.learning.head_of(bob) == HeadRecord(1, 2, b"b", START)


async def test_labels_on_a_forgotten_exchange_go_and_their_member_is_due(store, replies):
    await store.privacy.forget(ALICE.user_id)

    assert await standing(store, BOB) == {replies[1]: (("👍",), None)}
    assert await due(store) == [BOB]


async def test_forget_drops_the_prior_and_makes_everybody_due(store, replies):
    await store.consent.record(CAROL)
    await store.feedback.record_reaction(CAROL, SECOND, "🎉", added=True)
    await round_of(store)

    await store.privacy.forget(ALICE.user_id)

    assert await store.learning.prior() is None
    assert set(await due(store)) == {BOB, CAROL}


async def test_forget_reaches_every_server(store, replies):
    await posted(store, ELSEWHERE, FIRST + 50)

    receipt = await store.privacy.forget(ALICE.user_id)

    assert set(receipt.member_ids) == {store.member_id(ALICE), store.member_id(ELSEWHERE)}
    assert await gone(store, ELSEWHERE)


async def test_forgetting_twice_is_as_once(store, replies):
    await store.privacy.forget(ALICE.user_id)

    assert await store.privacy.forget(ALICE.user_id) == ForgetReceipt((), (), 0, 0, 0, START)


async def test_forgetting_a_stranger_leaves_everything(store, replies):
    assert await store.privacy.forget(999) == ForgetReceipt((), (), 0, 0, 0, START)
    assert (await store.learning.prior()).body == b"prior"
    assert await due(store) == []


async def test_forgotten_member_may_agree_anew_and_starts_from_nothing(store, replies):
    await store.privacy.forget(ALICE.user_id)
    await posted(store, ALICE, FIRST)
    await store.feedback.record_reaction(ALICE, FIRST, "👎", added=True)

    assert list((await standing(store, ALICE)).values()) == [(("👎",), None)]


async def test_reaction_queued_before_the_forget_is_forgotten_and_after_it_is_not_stored(store, replies):
    stored, _ = await asyncio.gather(
        store.feedback.record_reaction(ALICE, SECOND, "🎉", added=True), store.privacy.forget(ALICE.user_id)
    )

    assert stored is True
    assert await store.feedback.record_reaction(ALICE, SECOND, "🎉", added=True) is False
    assert await gone(store, ALICE)


async def test_withdrawal_deletes_this_server_only_and_remembers_the_no(store, replies):
    await posted(store, ELSEWHERE, FIRST + 50)

    receipt = await store.privacy.refuse(ALICE)

    assert (receipt.member_ids, receipt.n_replies, receipt.n_feedback) == ((store.member_id(ALICE),), 1, 3)
    assert await gone(store, ALICE)
    assert await store.consent.of(ALICE) is Consent.REFUSED
    assert (await store.privacy.summary(ELSEWHERE)).n_replies == 1
    assert await store.learning.prior() is None


async def test_refusal_of_a_stranger_deletes_nothing(store, replies):
    assert await store.privacy.refuse(CAROL) == ForgetReceipt((), (), 0, 0, 0, START)
    assert await store.consent.of(CAROL) is Consent.REFUSED
    assert await store.learning.prior() is not None


async def test_refusing_twice_is_as_once(store, replies):
    await store.privacy.refuse(ALICE)

    assert await store.privacy.refuse(ALICE) == ForgetReceipt((), (), 0, 0, 0, START)
    assert await store.consent.of(ALICE) is Consent.REFUSED


async def test_a_no_outlives_a_forget_until_the_member_agrees(store, replies, settings):
    await store.privacy.refuse(ALICE)
    await store.privacy.forget(ALICE.user_id)
    remembered = await store.consent.of(ALICE)
    await store.consent.record(ALICE)
    await store.close()

    async with await Store.open(settings) as again:
        assert remembered is Consent.REFUSED
        assert await again.consent.of(ALICE) is Consent.AGREED


MOMENTS = [
    "forget.after-ledger",
    "forget.after-mark",
    "forget.after-memory",
    "forget.after-keys",
    "forget.before-rows-commit",
    "forget.after-rows",
    "forget.after-checkpoint",
]


@pytest.fixture
def cut_short():
    """Make an erasure fail at a failpoint."""
    yield lambda moment: failpoints.switch_on(f"{moment}=raise")
    failpoints.switch_on("")


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("remember", [False, True])
async def test_leaving_cut_short_is_finished_at_the_next_start(
    store, replies, settings, cut_short, moment, remember
):
    cut_short(moment)
    with pytest.raises(failpoints.FailpointReached):
        await (store.privacy.refuse(ALICE) if remember else store.privacy.forget(ALICE.user_id))
    failpoints.switch_on("")
    alice = store.member_id(ALICE)
    if moment != "forget.after-ledger":  # once marked, nothing is read any more
        wanted = Consent.REFUSED if remember else Consent.UNKNOWN
        assert await store.learning.head_of(alice) is None
        assert (await store.learning.feedback_of([alice]), await store.consent.of(ALICE)) == (
            {alice: []},
            wanted,
        )
        assert await store.feedback.record_clear(FIRST) == 0
    await store.close()

    async with await Store.open(settings) as again:
        assert await gone(again, ALICE)
        assert await again.consent.of(ALICE) is (Consent.REFUSED if remember else Consent.UNKNOWN)
        assert await again.replies.of_message(FIRST) is None
        assert await standing(again, BOB) == {replies[1]: (("👍",), None)}
        assert await due(again) == [BOB]


async def test_leaving_cut_short_can_be_repeated_at_once(store, replies, cut_short):
    cut_short("forget.after-keys")
    with pytest.raises(failpoints.FailpointReached):
        await store.privacy.forget(ALICE.user_id)
    failpoints.switch_on("")
    with pytest.raises(Exception, match="An earlier deletion of this member"):
        await store.consent.record(ALICE)

    assert (await store.privacy.forget(ALICE.user_id)).n_feedback == 3
    assert await gone(store, ALICE)
