"""Impressions: found by any chunk, shown only in their server, texts kept for a limited time."""

from dataclasses import replace

import pytest

from storage.records import DIRECT_MESSAGES, Place, ReplySummary
from tests.unit.storage.given import ALICE, BOB, CHANNEL, FIRST, IMPRESSION, SECOND, START, due, posted


async def test_reply_is_found_by_any_chunk(store):
    reply_id = await posted(store, ALICE, FIRST, SECOND)

    assert await store.replies.of_message(FIRST) == reply_id
    assert await store.replies.of_message(SECOND) == reply_id
    assert await store.replies.of_message(FIRST + 5) is None


async def test_summary_shows_the_posted_text_and_own_feedback(store):
    reply_id = await posted(store, ALICE, FIRST)
    await store.consent.record(BOB)
    await store.feedback.record_reaction(BOB, FIRST, "🎉", added=True)
    await store.feedback.record_rating(ALICE, reply_id, 4)

    assert await store.replies.summary(ALICE, reply_id) == ReplySummary(
        reply_id, START, "Let me explain.", reactions=(), rating=4
    )
    assert await store.replies.summary(BOB, reply_id) is None


async def test_reply_of_another_server_is_not_shown(store):
    reply_id = await posted(store, ALICE, FIRST)

    assert await store.replies.summary(replace(BOB, guild_id=5), reply_id) is None
    assert await store.replies.summary(replace(ALICE, guild_id=5), reply_id) is None


async def test_direct_message_is_shown_to_nobody_else(store):
    alone = replace(ALICE, guild_id=DIRECT_MESSAGES)
    reply_id = await posted(store, alone, FIRST)

    assert (await store.replies.summary(alone, reply_id)) is not None
    assert await store.replies.summary(replace(BOB, guild_id=DIRECT_MESSAGES), reply_id) is None


async def test_latest_reply_is_the_members_own_newest(store):
    await posted(store, ALICE, FIRST)
    newest = await posted(store, ALICE, SECOND)
    await posted(store, BOB, FIRST + 10)
    elsewhere = await store.replies.record(ALICE, Place(CHANNEL + 1, (FIRST + 20,)), IMPRESSION)

    assert (await store.replies.latest(ALICE)).reply_id == elsewhere
    assert (await store.replies.latest(ALICE, CHANNEL)).reply_id == newest
    assert await store.replies.latest(ALICE, CHANNEL + 2) is None


async def test_texts_expire_and_features_stay(store, clock, settings):
    old = await posted(store, ALICE, FIRST)
    clock.advance(days=settings.retention_days)
    new = await posted(store, ALICE, SECOND)
    await store.feedback.record_rating(ALICE, old, 5)
    clock.advance(seconds=1)

    assert await store.replies.expire_texts() == 1
    assert await store.replies.expire_texts() == 0
    assert (await store.replies.summary(ALICE, old)).text is None
    assert (await store.replies.summary(ALICE, new)).text == "Let me explain."
    (row,) = (await store.learning.feedback_of([store.member_id(ALICE)]))[store.member_id(ALICE)]
    assert row.features == IMPRESSION.features


async def test_posting_makes_nobody_due(store):
    await posted(store, ALICE, FIRST)

    assert await due(store) == []


async def test_reply_without_a_message_is_refused(store):
    await store.consent.record(ALICE)

    with pytest.raises(ValueError, match="at least one message id"):
        await store.replies.record(ALICE, Place(CHANNEL, ()), IMPRESSION)


async def test_reply_ids_are_never_given_twice(store, settings):
    first = await posted(store, ALICE, FIRST)
    await store.privacy.forget(ALICE.user_id)
    await store.close()

    async with await type(store).open(settings) as again:
        assert await posted(again, ALICE, SECOND) > first
