"""An erasure gives way to other units between its pieces, and is finished whatever interrupts it."""

from __future__ import annotations

import asyncio

import pytest

from storage.errors import StoreClosed
from storage.privacy import erasing
from storage.records import Place, Who
from storage.replies import coarse
from storage.store import Store
from tests.promises.test_p06_waiting import IMPRESSION
from tests.unit.storage.given import settings_in

ALICE, BEN, CARA = Who(1, 2), Who(1, 3), Who(1, 4)
N_REPLIES = 9


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    for module in (erasing, coarse):
        monkeypatch.setattr(module, "ROWS_AT_ONCE", 2)


async def fill(store: Store) -> None:
    for number, who in enumerate((ALICE, BEN, CARA)):
        await store.consent.record(who)
        await store.replies.record(who, Place(5, (number + 1,)), IMPRESSION)
    for number in range(N_REPLIES):
        await store.replies.record(ALICE, Place(5, (10 + number,)), IMPRESSION)


async def test_other_changes_are_written_between_the_pieces(tmp_path):
    async with await Store.open(settings_in(tmp_path)) as store:
        await fill(store)
        forgetting = asyncio.create_task(store.privacy.forget(BEN.user_id))
        n_written = 0
        while not forgetting.done():
            await store.notes.put("a note", str(n_written))
            n_written += 1

        assert n_written > N_REPLIES // 2
        assert (await forgetting).n_replies == 1


async def test_two_erasures_at_once_have_a_receipt_each(tmp_path):
    async with await Store.open(settings_in(tmp_path)) as store:
        await fill(store)

        receipts = await asyncio.gather(*(store.privacy.forget(who.user_id) for who in (BEN, CARA)))

        assert [one.n_replies for one in receipts] == [1, 1]


async def test_an_erasure_that_stops_between_two_pieces_is_finished_at_the_next_start(tmp_path):
    store = await Store.open(settings_in(tmp_path))
    await fill(store)
    forgetting = asyncio.create_task(store.privacy.forget(BEN.user_id))
    await store.notes.put("a note", "after the first part")
    await store.close()
    with pytest.raises(StoreClosed):
        await forgetting

    async with await Store.open(settings_in(tmp_path)) as store:
        assert store.erased_at_start.n_replies == 1
        assert (await store.privacy.summary(BEN)).n_replies == 0
