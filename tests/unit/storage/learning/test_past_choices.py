"""Past choices for the operator's report: whose, with which feedback, and what is left out."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import update

from storage.database.schema import replies
from storage.learning.past_choices import ChoicePage
from storage.records import PastChoice, Place, Seat
from tests.unit.storage.given import ALICE, BOB, CHANNEL, FIRST, IMPRESSION, SECOND, START, posted


def choice_of(store, who, reactions=(), rating=None) -> PastChoice:
    return PastChoice(
        member_id=store.member_id(who),
        chosen=IMPRESSION.chosen,
        scores=(0.0, 1.0),
        prior_scores=(1.0, 0.0),
        propensities=IMPRESSION.propensities,
        policy=IMPRESSION.policy,
        reactions=reactions,
        rating=rating,
        style=IMPRESSION.styles[IMPRESSION.chosen],
        guild=store.guild_id(who),
        person=store._keys.pseudonyms.person(who.user_id),
    )


async def test_a_choice_comes_with_what_its_asker_made_of_it_and_nobody_else(store):
    await store.consent.record(BOB)
    first = await posted(store, ALICE, FIRST)
    second = await posted(store, ALICE, SECOND)
    await store.feedback.record_reaction(ALICE, FIRST, "👍", added=True)
    await store.feedback.record_rating(ALICE, first, 4)
    await store.feedback.record_reaction(BOB, SECOND, "👎", added=True)

    page = await store.choices.page(START, None, 10)

    assert page == ChoicePage([choice_of(store, ALICE, ("👍",), 4), choice_of(store, ALICE)], 0, None)
    assert (await store.choices.page(START, first, 10)).choices == [choice_of(store, ALICE)]
    assert (await store.choices.page(START, None, 2)).last == second


async def test_replies_from_before_and_of_members_who_left_are_not_in_it(store, clock):
    await posted(store, ALICE, FIRST)
    clock.advance(days=2)
    later = clock()
    await posted(store, BOB, SECOND)
    await store.replies.record(ALICE, Place(CHANNEL, (SECOND + 1,)), IMPRESSION)

    assert (await store.choices.page(later, None, 10)).choices == [
        choice_of(store, BOB),
        choice_of(store, ALICE),
    ]
    await store.privacy.refuse(BOB)
    (left,) = (await store.choices.page(later, None, 10)).choices
    posted_first = dict(chosen=0, scores=(1.0, 0.0), prior_scores=(0.0, 1.0), propensities=(0.95, 0.05))
    assert left == replace(choice_of(store, ALICE), **posted_first)  # blanked, and of use for the report


async def test_a_damaged_row_is_counted_and_does_not_stop_the_others(store):
    reply_id = await posted(store, ALICE, FIRST)
    await posted(store, BOB, SECOND)
    damage = update(replies).where(replies.c.reply_id == reply_id).values(decision=bytes(64))
    await store._writer.submit(lambda c: c.execute(damage) and None)

    page = await store.choices.page(START, None, 10)

    assert page == ChoicePage([choice_of(store, BOB)], 1, None)


SEAT = Seat(
    2, style="detailed", writer="small", wish="shorter", examples=True, shares=(0.31, 0.5, 0.013, 1.0)
)


async def test_the_seat_of_a_reply_comes_back_with_its_shares_on_the_grid(store):
    await store.consent.record(ALICE)
    await store.replies.record(ALICE, Place(CHANNEL, (FIRST,)), replace(IMPRESSION, seat=SEAT))

    (choice,) = (await store.choices.page(START, None, 10)).choices

    assert choice.seat == replace(SEAT, shares=(0.3, 0.5, 0.0125, 1.0))


async def test_answered_choices_come_newest_first_page_by_page_and_of_one_member(store):
    for message, who in ((FIRST, ALICE), (SECOND, BOB), (SECOND + 1, ALICE), (SECOND + 2, ALICE)):
        await posted(store, who, message)
    for message, who in ((FIRST, ALICE), (SECOND, BOB), (SECOND + 2, ALICE)):
        await store.feedback.record_reaction(who, message, "👍", added=True)
    await store.feedback.record_reaction(BOB, SECOND + 1, "👍", added=True)  # a reply to somebody else

    whole = await store.choices.answered(10)
    page = await store.choices.answered(2)

    assert [one.member_id for one in whole.choices] == [store.member_id(who) for who in (ALICE, BOB, ALICE)]
    assert whole.choices[:2] == page.choices
    assert (await store.choices.answered(2, before=page.last)).choices == whole.choices[2:]
    assert (await store.choices.answered(10, of=store.member_id(BOB))).choices == whole.choices[1:2]
