"""P4: a restored older backup does not bring a forgotten member back.

Files are copied before an erasure, at every step of it, and after it. Later a copy replaces the present
files: the data, data and keys, the keys, or the table of heads. At the next start, before the bot connects to
Discord, the store contains nothing of the member: no row, no key, no head, no prior that learnt from them;
the number of their key is in no file. Other members keep their data. The member may return, and everything
they give afterwards stays, whichever older copy was restored meanwhile.

Control: with an empty ledger the member is back. Restoring data, keys *and* ledger together is the same case
and cannot be detected.
"""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from storage.failpoints import FailpointReached, switch_on
from storage.records import Consent, DataSummary, NewHead, PriorRecord
from storage.store import Store
from tests.rig.canary import Canaries
from tests.rig.size import FULL
from tests.unit.storage.given import ALICE, BOB, FIRST, SECOND, START, due, posted, round_of, settings_in

pytestmark = pytest.mark.promise("P4")

NOTHING = DataSummary(None, 0, 0, None, 0)
MOMENTS = {
    "before": None,
    "after the ledger": "forget.after-ledger",
    "after the mark": "forget.after-mark",
    "after the memory": "forget.after-memory",
    "after the keys": "forget.after-keys",
    "in the rows": "forget.before-rows-commit",
    "after the rows": "forget.after-rows",
    "after the checkpoint": "forget.after-checkpoint",
    "after": None,
}
SOME = MOMENTS if FULL else ("before", "after the ledger", "in the rows", "after")
RESTORED = {
    "data": ("data/data.db", "data/data.db-wal"),
    "data and keys": ("data/data.db", "data/data.db-wal", "keys/keys.db"),
    "keys": ("keys/keys.db",),
    "heads": (),
}


@pytest.fixture(autouse=True)
def no_failpoint():
    yield
    switch_on("")


async def lived(folder: Path) -> None:
    """Alice and Bob each have a reply that both like; both have heads, there is a prior."""
    async with await Store.open(settings_in(folder)) as store:
        for who, message_id in ((ALICE, FIRST), (BOB, SECOND)):
            await posted(store, who, message_id)
        for who in (ALICE, BOB):
            for message_id in (FIRST, SECOND):
                await store.feedback.record_reaction(who, message_id, "👍", added=True)
        await store.learning.record_prior(PriorRecord(b"prior", 2, START))
        heads = [NewHead(store.member_id(who), b"head" * 8, 2) for who in (ALICE, BOB)]
        await round_of(store, *heads)


def numbers(folder: Path, who: bytes) -> bytes:
    """Return the number of a member's key."""
    raw = sqlite3.connect(folder / "keys" / "keys.db")
    ((number,),) = raw.execute("SELECT key_id FROM member_keys WHERE member_id = ?", (who,))
    raw.close()
    return number


async def forget(folder: Path, moment: str, copies: Path) -> None:
    """Forget Alice; copy the files at this moment of it."""
    if moment == "before":
        shutil.copytree(folder, copies)
    store = await Store.open(settings_in(folder))
    if failpoint := MOMENTS[moment]:
        switch_on(f"{failpoint}=raise")
        with pytest.raises(FailpointReached):
            await store.privacy.forget(ALICE.user_id)
        switch_on("")
        shutil.copytree(folder, copies)
    await store.privacy.forget(ALICE.user_id)
    await store.close()
    if moment == "after":
        shutil.copytree(folder, copies)


def put_back(folder: Path, copies: Path, what: str) -> None:
    for name in RESTORED[what]:
        (folder / name).unlink(missing_ok=True)
        if (copies / name).exists():
            shutil.copy2(copies / name, folder / name)
    if what == "heads":
        raw = sqlite3.connect(folder / "data" / "data.db")
        raw.execute("ATTACH ? AS old", [str(copies / "data" / "data.db")])
        for table in ("heads", "prior"):
            raw.execute(f"INSERT OR REPLACE INTO main.{table} SELECT * FROM old.{table}")
        raw.commit()
        raw.close()


@pytest.mark.parametrize("what", RESTORED)
@pytest.mark.parametrize("moment", SOME)
async def test_who_was_forgotten_stays_forgotten(tmp_path, moment, what):
    folder, copies = tmp_path / "bot", tmp_path / "copies"
    await lived(folder)
    async with await Store.open(settings_in(folder)) as store:
        alice, bob = store.member_id(ALICE), store.member_id(BOB)
    canaries = Canaries().secret("number of the key", numbers(folder, alice)).secret("pseudonym", alice)
    await forget(folder, moment, copies)
    put_back(folder, copies, what)

    async with await Store.open(settings_in(folder)) as store:
        assert await store.privacy.summary(ALICE) == NOTHING
        assert await store.consent.of(ALICE) is Consent.UNKNOWN
        assert (await store.learning.head_of(alice), await store.learning.prior()) == (None, None)
        assert await store.replies.of_message(FIRST) is None
        assert (await store.privacy.summary(BOB)).n_feedback == 1
        assert await due(store) == [BOB], "Bob's head may contain Alice's influence and is made again"
        assert canaries.in_folder(folder) == []
        assert [row.reactions for row in (await store.learning.feedback_of([bob]))[bob]] == [("👍",)]


async def test_who_came_back_keeps_what_they_gave_since(tmp_path):
    folder, old, new = tmp_path / "bot", tmp_path / "old", tmp_path / "new"
    await lived(folder)
    await forget(folder, "before", old)
    async with await Store.open(settings_in(folder)) as store:
        await posted(store, ALICE, FIRST + 9)
        await store.feedback.record_reaction(ALICE, FIRST + 9, "🎉", added=True)
    shutil.copytree(folder, new)

    put_back(folder, old, "data")
    async with await Store.open(settings_in(folder)) as store:
        summary = await store.privacy.summary(ALICE)
        assert replace(summary, agreed_at=None) == NOTHING, "only the newer consent stays"
        assert summary.agreed_at is not None

    put_back(folder, new, "data")
    async with await Store.open(settings_in(folder)) as store:
        summary = await store.privacy.summary(ALICE)
        alice = store.member_id(ALICE)
        (row,) = (await store.learning.feedback_of([alice]))[alice]
    assert (summary.n_replies, row.reactions) == (1, ("🎉",))


async def test_a_no_said_since_the_copy_stands(tmp_path):
    folder, copies = tmp_path / "bot", tmp_path / "copies"
    await lived(folder)
    shutil.copytree(folder, copies)
    async with await Store.open(settings_in(folder)) as store:
        await store.privacy.refuse(ALICE)

    put_back(folder, copies, "data and keys")

    async with await Store.open(settings_in(folder)) as store:
        assert await store.consent.of(ALICE) is Consent.REFUSED
        assert (await store.privacy.summary(ALICE)).n_replies == 0
        assert await store.replies.of_message(FIRST) is None


@pytest.mark.parametrize("what", ["data and keys", "keys"])
async def test_control_without_the_ledger_the_member_is_back(tmp_path, what):
    folder, copies = tmp_path / "bot", tmp_path / "copies"
    await lived(folder)
    async with await Store.open(settings_in(folder)) as store:
        alice = store.member_id(ALICE)
    canaries = Canaries().secret("pseudonym", alice)
    await forget(folder, "before", copies)
    put_back(folder, copies, what)
    raw = sqlite3.connect(folder / "keys" / "ledger.db")
    raw.execute("DELETE FROM erased_keys")
    raw.commit()
    raw.close()

    async with await Store.open(settings_in(folder)):
        assert canaries.in_folder(folder) != []
