"""No file holds personal data in plain text, and after a forget not even its ciphertext.

Marker texts and ids are planted through every path that stores data about a member; then the bytes of all
files are scanned. The proof of P3 adds kills, an open reader, and scans that must find something.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from storage.records import Who
from storage.store import Store
from tests.fakes import FixedClock
from tests.rig.canary import Canaries
from tests.rig.planted import ALICE, EMOJI, ONE, in_clear, plant, traces
from tests.unit.storage.given import BOB, START, posted, settings_in


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "master.key"}


def values(canaries: Canaries) -> set[bytes]:
    return {form.value for form in canaries.forms}


def found_of(canaries: Canaries, folder: Path) -> set[bytes]:
    """Return the pieces that are still in the folder."""
    return {hit.value for hit in canaries.in_folder(folder)}


async def test_nothing_stands_in_clear(tmp_path):
    async with await Store.open(settings_in(tmp_path)) as store:
        await plant(store)
        assert {"data.db", "data.db-wal", "data.db-shm", "keys.db"} <= set(files(tmp_path))
        assert in_clear(tmp_path) == []
    assert in_clear(tmp_path) == []


async def test_a_value_written_without_sealing_would_be_found(tmp_path):
    async with await Store.open(settings_in(tmp_path)) as store:
        await plant(store)
        await store.notes.put("leak", ONE)

        assert {(hit.canary, hit.form) for hit in in_clear(tmp_path)} == {(ONE, "raw")}


async def test_nothing_is_stored_about_who_did_not_agree(tmp_path):
    async with await Store.open(settings_in(tmp_path)) as store:
        await posted(store, BOB, 1)
        before = files(tmp_path)
        for number in range(200):
            who = Who(ALICE.guild_id, ALICE.user_id + number)
            assert await store.feedback.record_reaction(who, 1, EMOJI, added=number % 2 == 0) is False

        assert files(tmp_path)["data.db"] == before["data.db"]
        assert files(tmp_path)["data.db-wal"] == before["data.db-wal"]


@pytest.mark.parametrize("leave", ["forget", "withdraw"])
async def test_after_leaving_not_even_the_ciphertext_is_left(tmp_path, leave):
    async with await Store.open(settings_in(tmp_path)) as store:
        await plant(store)
        left = traces(tmp_path, store)
        names = store._keys.pseudonyms
        remembered = {store.member_id(ALICE), names.person(ALICE.user_id), names.guild(ALICE)}
        assert len(left.forms) > 40
        assert found_of(left, tmp_path) == values(left)

        await (store.privacy.forget(ALICE.user_id) if leave == "forget" else store.privacy.refuse(ALICE))

        found = found_of(left, tmp_path)
        assert found == (set() if leave == "forget" else remembered)
        assert in_clear(tmp_path) == []
    assert found_of(left, tmp_path) == found


async def test_expired_texts_leave_no_ciphertext(tmp_path):
    clock = FixedClock(START)
    async with await Store.open(settings_in(tmp_path, retention_days=1), now=clock) as store:
        await posted(store, BOB, 1)
    raw = sqlite3.connect(tmp_path / "data" / "data.db")
    ((texts,),) = raw.execute("SELECT texts FROM replies")
    raw.close()
    sealed = Canaries().value("texts", texts)

    async with await Store.open(settings_in(tmp_path, retention_days=1), now=clock) as store:
        clock.advance(days=2)
        assert {hit.where for hit in sealed.in_folder(tmp_path)} == {"data/data.db"}
        assert await store.replies.expire_texts() == 1
        assert sealed.in_folder(tmp_path) == []
        assert (await store.replies.latest(BOB)).text is None
