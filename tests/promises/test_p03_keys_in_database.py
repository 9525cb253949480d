"""P3, keys in a PostgreSQL database: after a forget no row and no file of the bot has the member.

PostgreSQL keeps deleted bytes in its files and its log for a while. So the proof has two parts. No table and
no file of the bot holds anything of the member, and the bot opens nothing of them. What an intruder saves
from the server's files is a wrapped key: after the next rotation of the master key nothing that the bot or
the host holds opens it.

Controls: a key that is not destroyed is found; before the rotation the saved key opens.
"""

from __future__ import annotations

import pytest

from storage.errors import SealBroken
from storage.keys.key_store import KeyStore
from storage.keys.master_key import source_of
from storage.keys.wrapping import derived, member_slot
from storage.maintenance.rotation import Step, rotate
from storage.records import Consent
from storage.store import Store
from tests.rig.canary import Canaries
from tests.rig.key_places import DATABASE, KeysAt, keys_at
from tests.unit.storage.given import ALICE, BOB, FIRST, SECOND, posted, settings_in

pytestmark = [pytest.mark.promise("P3"), pytest.mark.slow]


@pytest.fixture
async def at(tmp_path, postgres):
    async with keys_at(DATABASE, settings_in(tmp_path), lambda: postgres) as place:
        yield place


async def forgotten(at: KeysAt) -> tuple[bytes, bytes]:
    """Let Alice live and leave; return her pseudonym and her wrapped key, as saved from the server."""
    async with await Store.open(at.settings) as store:
        for who, message_id in ((ALICE, FIRST), (BOB, SECOND)):
            await posted(store, who, message_id)
        alice = store.member_id(ALICE)
        ((saved,),) = await at.sql("SELECT wrapped FROM member_keys WHERE member_id = ?", alice)
        receipt = await store.privacy.forget(ALICE.user_id)
        assert (receipt.n_keys, receipt.n_traces) == (1, 0)
        assert await store.consent.of(ALICE) is Consent.UNKNOWN
    return alice, saved


async def traces(at: KeysAt, folder: object, *bytes_of_member: bytes) -> int:
    """Count the places, tables of the keys and files of the bot, in which one of these is."""
    canaries = Canaries()
    for number, value in enumerate(bytes_of_member):
        canaries.secret(f"value {number}", value)
    rows = [value for found in (await at.dump()).values() for row in found for value in row.values()]
    in_tables = sum(any(one in bytes(value) for one in bytes_of_member) for value in rows if value_is(value))
    return in_tables + len(canaries.in_folder(folder))


def value_is(value: object) -> bool:
    return isinstance(value, bytes)


async def opens(at: KeysAt, alice: bytes, saved: bytes) -> bool:
    """Return whether a master key of this host opens a saved key."""
    for master in source_of(at.settings).keys():
        try:
            if master is not None:
                derived(master).open(saved, member_slot(alice))
                return True
        except SealBroken:
            continue
    return False


async def test_after_a_forget_no_table_and_no_file_has_the_member(at, tmp_path):
    alice, saved = await forgotten(at)

    assert await traces(at, tmp_path, alice, saved, saved[13:29]) == 0
    async with await Store.open(at.settings) as store:
        assert (await store.privacy.summary(BOB)).n_replies == 1


async def test_control_a_key_that_is_not_destroyed_is_found(at, tmp_path, monkeypatch):
    monkeypatch.setattr(KeyStore, "destroy", lambda *_: None)
    with pytest.raises(AssertionError):  # its own search finds it too
        await forgotten(at)
    ((alice, saved),) = await at.sql("SELECT member_id, wrapped FROM member_keys ORDER BY member_id LIMIT 1")

    assert await traces(at, tmp_path, alice, saved) > 0


async def test_what_is_left_in_the_servers_files_opens_no_more_after_a_rotation(at):
    alice, saved = await forgotten(at)

    assert [(await rotate(at.settings)).step for _ in range(2)] == [Step.PREPARED, Step.REWRAPPED]

    assert not await opens(at, alice, saved)
    async with await Store.open(at.settings) as store:
        assert (await store.privacy.summary(BOB)).n_replies == 1


async def test_control_before_the_rotation_it_opens(at):
    assert await opens(at, *await forgotten(at))
