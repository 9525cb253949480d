"""P4, keys in a PostgreSQL database: a restored older dump brings no forgotten member back.

The database of the keys is dumped before an erasure and at each step of it. Later the dump of the keys, the
data, or both are put back, past the product. At the next start nothing of the member is there. A dump that
brings an older ledger back is refused in words. Keys and ledger are one database, so pg_restore of all of it
is that case.

Control: with an empty ledger the member is back.
"""

from __future__ import annotations

import shutil

import pytest

from storage.errors import LedgerBehind
from storage.failpoints import FailpointReached, switch_on
from storage.records import Consent, DataSummary
from storage.store import Store
from tests.rig.key_places import DATABASE, KeysAt, keys_at
from tests.rig.size import FULL
from tests.unit.storage.given import ALICE, BOB, FIRST, SECOND, posted, settings_in

pytestmark = [pytest.mark.promise("P4"), pytest.mark.slow]

NOTHING = DataSummary(None, 0, 0, None, 0)
MOMENTS = ["", "forget.after-ledger", "forget.after-keys", "forget.before-rows-commit"]
LEDGER = ("erased_keys", "refusals", "ledger_origin")


@pytest.fixture
async def at(tmp_path, postgres):
    async with keys_at(DATABASE, settings_in(tmp_path), lambda: postgres) as place:
        yield place
    switch_on("")


async def forgotten(at: KeysAt, moment: str) -> dict[str, list[dict[str, object]]]:
    """Forget Alice; return a dump of the keys from this moment of it. The data are copied at the same one."""
    data = at.settings.data_dir
    async with await Store.open(at.settings) as store:
        for who, message_id in ((ALICE, FIRST), (BOB, SECOND)):
            await posted(store, who, message_id)
    dump = await at.dump()
    shutil.copytree(data, data.with_name("copied"))
    async with await Store.open(at.settings) as store:
        if moment:
            switch_on(f"{moment}=raise")
            with pytest.raises(FailpointReached):
                await store.privacy.forget(ALICE.user_id)
            switch_on("")
            dump = await at.dump()
        await store.privacy.forget(ALICE.user_id)
    return dump


async def put_back_data(at: KeysAt) -> None:
    shutil.rmtree(at.settings.data_dir)
    shutil.copytree(at.settings.data_dir.with_name("copied"), at.settings.data_dir)


async def alice_is_gone(at: KeysAt) -> bool:
    async with await Store.open(at.settings) as store:
        alice = store.member_id(ALICE)
        assert (await store.privacy.summary(BOB)).n_replies == 1
        found = await store.privacy.summary(ALICE), await store.consent.of(ALICE)
    left = await at.sql("SELECT 1 FROM member_keys WHERE member_id = ?", alice)
    return (*found, left) == (NOTHING, Consent.UNKNOWN, [])


@pytest.mark.parametrize("what", ["keys", "data", "data and keys"])
@pytest.mark.parametrize("moment", MOMENTS if FULL else MOMENTS[::3])
async def test_who_was_forgotten_stays_forgotten(at, moment, what):
    dump = await forgotten(at, moment)
    if "keys" in what:
        await at.put_back(dump, without=LEDGER)
    if "data" in what:
        await put_back_data(at)

    assert await alice_is_gone(at)


async def test_a_dump_of_all_with_an_older_ledger_is_refused(at):
    dump = await forgotten(at, "")
    await at.put_back(dump)

    with pytest.raises(LedgerBehind, match=r"changes? of the erasure ledger in the PostgreSQL database"):
        await Store.open(at.settings)


async def test_control_without_the_ledger_the_member_is_back(at):
    dump = await forgotten(at, "")
    await at.put_back(dump)
    await put_back_data(at)

    assert not await alice_is_gone(at)
