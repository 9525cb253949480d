"""The key store: one wrapped key per member, destroyed completely, never replaced by a new one.

Every test runs on both places, unless it is about files. P3 and P9 look at the bytes.
"""

import base64

import pytest
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import create_async_engine

from storage.errors import DatabaseDamaged, DatabaseNewer, KeyMissing, KeyUnreadable, SealBroken
from storage.keys import key_store as keys_module
from storage.keys.key_store import KeyStore
from storage.keys.sealing import Slot
from storage.records import MemberId
from tests.rig.key_places import FILES, PLACES, keys_at

ALICE, BOB = MemberId(b"a" * 16), MemberId(b"b" * 16)
PERSON = b"p" * 16
SLOT = Slot("t", "c")

pytestmark = pytest.mark.sqlite_only("no data are opened; the place of the keys is a parameter of its own")


@pytest.fixture(params=PLACES)
async def at(request, settings):
    async with keys_at(request.param, settings, lambda: request.getfixturevalue("postgres")) as place:
        yield place


@pytest.fixture
def kept(at):
    """The settings with this place of the keys."""
    return at.settings


@pytest.fixture
async def keys(kept):
    store = await KeyStore.open(kept, data_exists=False)
    yield store
    await store.close()


@pytest.fixture
async def inside():
    """Run a function as units of work run: inside ``run_sync`` of an async connection."""
    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.connect() as connection:
        yield lambda work: connection.run_sync(lambda _: work())
    await engine.dispose()


async def reopened(kept, keys):
    await keys.close()
    return await KeyStore.open(kept, data_exists=True)


async def test_key_outlives_a_restart(kept, keys, inside):
    await inside(lambda: keys.make(ALICE, PERSON))
    sealed = (await inside(lambda: keys.key_of(ALICE))).seal(b"value", SLOT)

    again = await reopened(kept, keys)
    opened = (await inside(lambda: again.key_of(ALICE))).open(sealed, SLOT)
    await again.close()

    assert opened == b"value"
    assert again.pseudonyms.check() == keys.pseudonyms.check()


async def test_making_a_key_twice_keeps_the_first(keys, inside):
    await inside(lambda: keys.make(ALICE, PERSON))
    sealed = (await inside(lambda: keys.key_of(ALICE))).seal(b"value", SLOT)

    await inside(lambda: keys.make(ALICE, PERSON))

    assert (await inside(lambda: keys.key_of(ALICE))).open(sealed, SLOT) == b"value"


async def test_destroyed_key_is_gone_from_memory_and_disk(at, kept, keys, inside):
    for member_id in (ALICE, BOB):
        await inside(lambda member_id=member_id: keys.make(member_id, PERSON))
    await inside(lambda: keys.keys_of([ALICE, BOB]))
    ((wrapped,),) = await at.sql("SELECT wrapped FROM member_keys WHERE member_id = ?", ALICE)

    await inside(lambda: keys.destroy(list(keys.key_ids_of([ALICE]).values())))

    with pytest.raises(KeyMissing, match="1 member has data but no key"):
        await inside(lambda: keys.keys_of([ALICE, BOB]))
    await inside(lambda: keys.key_of(BOB))
    assert await at.sql("SELECT 1 FROM member_keys WHERE member_id = ?", ALICE) == []
    left = b"".join(path.read_bytes() for path in kept.key_dir.glob("keys.db*"))
    assert wrapped not in left
    assert wrapped[13:29] not in left


async def test_destroying_twice_is_as_once(keys, inside):
    for member_id in (ALICE, BOB):
        await inside(lambda member_id=member_id: keys.make(member_id, PERSON))

    await inside(lambda: keys.destroy(list(keys.key_ids_of([ALICE]).values())))
    await inside(lambda: keys.destroy(list(keys.key_ids_of([ALICE]).values())))

    assert set(await inside(lambda: keys.usable_keys_of([ALICE, BOB]))) == {BOB}


async def test_key_read_just_before_it_is_destroyed_is_not_kept(keys, inside, monkeypatch):
    """A read between the first step of the destruction and its commit."""
    await inside(lambda: keys.make(ALICE, PERSON))
    keys._opened.clear()

    def delete_after_a_read(table):
        keys.key_of(ALICE)
        return delete(table)

    monkeypatch.setattr(keys_module, "delete", delete_after_a_read)
    await inside(lambda: keys.destroy(list(keys.key_ids_of([ALICE]).values())))

    with pytest.raises(KeyMissing):
        await inside(lambda: keys.key_of(ALICE))


async def test_key_made_again_does_not_open_what_was_sealed_before(keys, inside):
    await inside(lambda: keys.make(ALICE, PERSON))
    sealed = (await inside(lambda: keys.key_of(ALICE))).seal(b"value", SLOT)
    await inside(lambda: keys.destroy(list(keys.key_ids_of([ALICE]).values())))
    await inside(lambda: keys.make(ALICE, PERSON))

    with pytest.raises(SealBroken):
        (await inside(lambda: keys.key_of(ALICE))).open(sealed, SLOT)


async def test_wrapped_keys_swapped_between_members_are_refused(at, keys, inside):
    for member_id in (ALICE, BOB):
        await inside(lambda member_id=member_id: keys.make(member_id, PERSON))
    rows = dict(await at.sql("SELECT member_id, wrapped FROM member_keys"))
    await at.sql("UPDATE member_keys SET wrapped = ? WHERE member_id = ?", rows[BOB], ALICE)

    with pytest.raises(SealBroken):
        await inside(lambda: keys.key_of(ALICE))


async def test_lost_key_store_over_data_is_an_error(at, kept, keys):
    await keys.close()
    await at.remove()

    with pytest.raises(KeyMissing, match=r"its key store .*(keys\.db|key_url\)) does not"):
        await KeyStore.open(kept, data_exists=True)


async def test_emptied_key_store_over_data_is_an_error(at, kept, keys):
    await keys.close()
    await at.sql("DELETE FROM system_keys")

    with pytest.raises(KeyMissing, match=r"holds no keys|its key store .* does not"):
        await KeyStore.open(kept, data_exists=True)


async def test_lost_master_key_is_an_error(kept, keys):
    await keys.close()
    (kept.key_dir / "master.key").unlink()

    with pytest.raises(KeyMissing, match="no master key"):
        await KeyStore.open(kept, data_exists=True)
    assert not (kept.key_dir / "master.key").exists()


async def test_wrong_master_key_is_an_error(kept, keys, monkeypatch):
    await keys.close()
    monkeypatch.setenv(kept.master_key_env, base64.b64encode(b"w" * 32).decode())

    with pytest.raises(KeyUnreadable, match=r"The master key does not open .*(keys\.db|key_url\))"):
        await KeyStore.open(kept, data_exists=True)


@pytest.mark.parametrize("at", [FILES], indirect=True)
async def test_damaged_key_store_is_an_error(kept, keys):
    await keys.close()
    (kept.key_dir / "keys.db").write_bytes(b"no database" * 1000)

    with pytest.raises(DatabaseDamaged, match=r"keys\.db is damaged or not a database"):
        await KeyStore.open(kept, data_exists=True)


async def test_newer_key_store_is_an_error(at, kept, keys):
    await keys.close()
    await at.sql(
        "UPDATE key_schema SET version = 9 WHERE part = 'keys'" if at.server else "PRAGMA user_version = 9"
    )

    with pytest.raises(DatabaseNewer, match="has schema 9, and this version supports up to 2"):
        await KeyStore.open(kept, data_exists=True)


async def test_two_stores_of_two_hosts_share_one_key_and_its_end(kept, keys, inside):
    """Two key stores on one place; the second has the key cached when the first destroys it."""
    other = await KeyStore.open(kept, data_exists=True)
    await inside(lambda: keys.make(ALICE, PERSON))
    sealed = (await inside(lambda: keys.key_of(ALICE))).seal(b"value", SLOT)
    assert (await inside(lambda: other.key_of(ALICE))).open(sealed, SLOT) == b"value"
    number = await inside(lambda: other.make(ALICE, PERSON))

    await inside(lambda: keys.destroy([number]))
    other.evict_opened()  # as the coordination of processes does

    with pytest.raises(KeyMissing):
        await inside(lambda: other.key_of(ALICE))
    await other.close()


async def test_entries_of_the_ledger_are_written_once_and_stay(keys, inside):
    for _ in range(2):
        await inside(lambda: keys.ledger.record([b"1" * 16, b"2" * 16]))

    assert await inside(lambda: keys.ledger.named([b"1" * 16, b"3" * 16])) == {b"1" * 16}
    assert await inside(keys.ledger.changes) == 2


async def test_newer_ledger_is_an_error(at, kept, keys):
    await keys.close()
    newer = (
        "UPDATE key_schema SET version = 9 WHERE part = 'ledger'" if at.server else "PRAGMA user_version = 9"
    )
    await at.sql(newer, part="ledger.db")

    with pytest.raises(DatabaseNewer, match="has schema 9, and this version supports up to 1"):
        await KeyStore.open(kept, data_exists=True)
