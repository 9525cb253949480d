"""A member forgets and agrees again while something made under the earlier consent is still under way.

The store refuses data made under another key than the member has now. Each scenario runs with the check and,
as its control, without it.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from storage.errors import NoConsent
from storage.records import Pick, Picked, Place, Who
from storage.settings import StorageSettings
from storage.store import Store
from tests.promises.test_p06_waiting import IMPRESSION

BOB = Who(1, 3)


async def an_answer(store: Store, under: bytes | None) -> None:
    await store.replies.record(BOB, Place(5, (10,)), IMPRESSION, under=under)


async def a_pick(store: Store, under: bytes | None) -> None:
    pick = Pick(Picked.FIRST, "hash-4", bytes(16), bytes(16), None, (0, 1))
    await store.preferences.record_pick(replace(BOB, under=under), pick)


@pytest.fixture
async def store(tmp_path):
    settings = StorageSettings(data_dir=tmp_path / "data", key_dir=tmp_path / "keys", group_commit_ms=1)
    async with await Store.open(settings) as store:
        yield store


async def forget_and_agree_again(store: Store) -> bytes | None:
    """Return the number of the key of the consent before."""
    await store.consent.record(BOB)
    under = await store.consent.key_id_of(BOB)
    await store.privacy.forget(BOB.user_id, lambda _: None)
    await store.consent.record(BOB)
    return under


@pytest.mark.parametrize("write", [an_answer, a_pick])
async def test_data_of_an_earlier_consent_are_refused(store, write):
    under = await forget_and_agree_again(store)

    with pytest.raises(NoConsent):
        await write(store, under)


@pytest.mark.parametrize("write", [an_answer, a_pick])
async def test_data_of_this_consent_are_stored(store, write):
    await forget_and_agree_again(store)

    await write(store, await store.consent.key_id_of(BOB))


@pytest.mark.parametrize("write", [an_answer, a_pick])
async def test_control_without_the_key_the_data_are_stored(store, write):
    await forget_and_agree_again(store)

    await write(store, None)
