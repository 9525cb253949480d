"""Replies with features of another encoder: which are found, updated, and left alone."""

import pytest
from sqlalchemy import update

from storage.database.schema import replies
from storage.learning.outdated_features import OutdatedPage
from storage.records import Place
from tests.unit.storage.given import ALICE, BOB, CHANNEL, FIRST, IMPRESSION, SECOND, due, posted, round_of

NEW = b"new features"


@pytest.fixture
async def rated(store):
    """Alice's reply with Bob's thumb on it; no member is due."""
    await store.consent.record(BOB)
    reply_id = await posted(store, ALICE, FIRST)
    await store.feedback.record_reaction(BOB, FIRST, "👍", added=True)
    await round_of(store)
    return reply_id


async def features_of(store, who):
    rows = (await store.learning.feedback_of([store.member_id(who)]))[store.member_id(who)]
    return [(row.feature_id, row.features) for row in rows]


async def test_a_reply_of_another_encoder_is_found_with_the_text_that_was_posted(store, rated):
    assert await store.outdated.page("other", None, 10) == OutdatedPage({rated: "Let me explain."}, None)
    assert await store.outdated.page(IMPRESSION.feature_id, None, 10) == OutdatedPage({}, None)


async def test_pages_follow_one_another(store, rated):
    second = await store.replies.record(ALICE, Place(CHANNEL, (SECOND,)), IMPRESSION)

    first_page = await store.outdated.page("other", None, 1)
    second_page = await store.outdated.page("other", first_page.last, 1)

    assert (list(first_page.texts), list(second_page.texts)) == ([rated], [second])
    assert await store.outdated.page("other", second_page.last, 1) == OutdatedPage({}, None)


async def test_new_features_replace_the_old_and_who_rated_is_due(store, rated):
    assert await due(store) == []

    count = await store.outdated.record("other", {rated: NEW})

    assert count == 1
    assert await features_of(store, BOB) == [("other", NEW)]
    assert await due(store) == [BOB]
    assert await store.outdated.page("other", None, 10) == OutdatedPage({}, None)


async def test_texts_that_have_expired_are_left_alone(store, rated, clock):
    clock.advance(days=31)
    await store.replies.expire_texts()

    assert await store.outdated.page("other", None, 10) == OutdatedPage({}, None)
    assert await features_of(store, BOB) == [(IMPRESSION.feature_id, IMPRESSION.features)]


async def test_a_reply_whose_asker_left_meanwhile_stays_gone(store, rated):
    await store.privacy.forget(ALICE.user_id)

    assert await store.outdated.record("other", {rated: NEW}) == 0
    assert await features_of(store, BOB) == []
    assert await store.outdated.page("other", None, 10) == OutdatedPage({}, None)


async def test_a_damaged_row_does_not_stop_the_others(store, rated):
    second = await store.replies.record(ALICE, Place(CHANNEL, (SECOND,)), IMPRESSION)
    damage = update(replies).where(replies.c.reply_id == rated).values(texts=bytes(64))
    await store._writer.submit(lambda c: c.execute(damage) and None)

    assert await store.outdated.page("other", None, 10) == OutdatedPage({second: "Let me explain."}, None)
