"""Wishes: stored only with consent and for one server; changed, cleared, erased, and sealed to their row."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from storage.database.schema import wishes
from storage.errors import NoConsent, SealBroken
from storage.members.wishes import NO_WISH, Wish
from storage.records import Who
from tests.unit.storage.given import ALICE, BOB, FIRST, posted

PIRATE = Wish(("short", "playful"), "like a pirate, Käpt'n")


async def test_a_wish_is_kept_for_one_member_in_one_server_until_it_is_changed_or_cleared(store):
    elsewhere = Who(ALICE.guild_id + 1, ALICE.user_id)
    for who in (ALICE, BOB, elsewhere):
        await store.consent.record(who)

    await store.wishes.put(ALICE, PIRATE)

    assert [await store.wishes.of(who) for who in (ALICE, BOB, elsewhere)] == [PIRATE, NO_WISH, NO_WISH]
    await store.wishes.put(ALICE, Wish(words="plain"))
    assert await store.wishes.of(ALICE) == Wish((), "plain")
    await store.wishes.put(ALICE, Wish(unwanted=("emoji", "examples")))
    assert await store.wishes.of(ALICE) == Wish((), "", ("emoji", "examples"))
    assert bool(await store.wishes.of(ALICE)) and not (await store.wishes.of(ALICE)).asks
    await store.wishes.put(ALICE, NO_WISH)
    assert await store.wishes.of(ALICE) == NO_WISH


async def test_nothing_is_kept_of_who_did_not_agree(store):
    with pytest.raises(NoConsent):
        await store.wishes.put(ALICE, PIRATE)

    assert await store.wishes.of(ALICE) == NO_WISH


@pytest.mark.parametrize("leave", ["forget", "withdraw"])
async def test_a_wish_goes_with_the_member(store, leave):
    await posted(store, ALICE, FIRST)
    await store.wishes.put(ALICE, PIRATE)

    receipt = await (
        store.privacy.forget(ALICE.user_id) if leave == "forget" else store.privacy.refuse(ALICE)
    )

    assert receipt.n_traces == 0
    await store.consent.record(ALICE)
    assert await store.wishes.of(ALICE) == NO_WISH


async def test_an_earlier_wish_put_back_does_not_open(store):
    await store.consent.record(ALICE)
    await store.wishes.put(ALICE, PIRATE)
    (row,) = await store._reader.run(lambda c: c.execute(wishes.select()).all())
    await store.wishes.put(ALICE, Wish(words="plain"))
    back = update(wishes).values(body=row.body)
    await store._writer.submit(lambda c: c.execute(back) and None)

    with pytest.raises(SealBroken):
        await store.wishes.of(ALICE)
