"""Consent: unknown, agreed or refused, separately in each server."""

from dataclasses import replace

import pytest

from storage.errors import NoConsent
from storage.records import Consent, DataSummary, Place, Who
from tests.unit.storage.given import ALICE, BOB, CHANNEL, FIRST, GUILD, IMPRESSION, START, posted


async def test_stranger_is_unknown(store):
    assert await store.consent.of(ALICE) is Consent.UNKNOWN


async def test_agreed_is_remembered_with_the_first_date(store, clock):
    member_id = await store.consent.record(ALICE)
    clock.advance(days=1)

    assert await store.consent.record(ALICE) == member_id == store.member_id(ALICE)
    assert await store.consent.of(ALICE) is Consent.AGREED
    assert await store.privacy.summary(ALICE) == DataSummary(START, 0, 0, None, 0)


async def test_consent_in_one_server_says_nothing_in_another(store):
    await store.consent.record(ALICE)

    assert await store.consent.of(replace(ALICE, guild_id=GUILD + 1)) is Consent.UNKNOWN
    assert await store.consent.of(replace(ALICE, guild_id=0)) is Consent.UNKNOWN


async def test_refusal_is_remembered_and_can_be_taken_back(store):
    await store.privacy.refuse(ALICE)
    refused = await store.consent.of(ALICE)
    await store.consent.record(ALICE)

    assert refused is Consent.REFUSED
    assert await store.consent.of(ALICE) is Consent.AGREED


@pytest.mark.parametrize("refuse", [False, True])
async def test_nothing_is_stored_without_consent(store, refuse):
    reply_id = await posted(store, BOB, FIRST)
    if refuse:
        await store.privacy.refuse(ALICE)

    with pytest.raises(NoConsent):
        await store.replies.record(ALICE, Place(CHANNEL, (FIRST + 1,)), IMPRESSION)
    with pytest.raises(NoConsent):
        await store.feedback.record_rating(ALICE, reply_id, 5)
    assert await store.feedback.record_reaction(ALICE, FIRST, "👍", added=True) is False
    assert await store.privacy.summary(ALICE) == DataSummary(None, 0, 0, None, 0)
    assert await store.learning.members_with_feedback(None, 10) == []


async def test_pseudonym_outlives_a_restart(store, settings):
    before = store.member_id(ALICE)
    await store.close()

    async with await type(store).open(settings) as again:
        assert again.member_id(ALICE) == before
        assert again.member_id(Who(GUILD, 1)) != before
