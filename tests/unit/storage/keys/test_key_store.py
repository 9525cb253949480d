"""The key store: one wrapped key per member, destroyed completely, never replaced by a new one."""

import base64
import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import create_async_engine

from storage.errors import DatabaseDamaged, DatabaseNewer, KeyMissing, KeyUnreadable, SealBroken
from storage.keys import key_store as keys_module
from storage.keys.key_store import KeyStore
from storage.keys.sealing import Slot
from storage.records import MemberId

ALICE, BOB = MemberId(b"a" * 16), MemberId(b"b" * 16)
PERSON = b"p" * 16
SLOT = Slot("t", "c")

pytestmark = pytest.mark.sqlite_only("the key store is a SQLite file with either database")


@pytest.fixture
async def keys(settings):
    store = await KeyStore.open(settings, data_exists=False)
    yield store
    await store.close()


@pytest.fixture
async def inside():
    """Run a function as units of work run: inside ``run_sync`` of an async connection."""
    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.connect() as connection:
        yield lambda work: connection.run_sync(lambda _: work())
    await engine.dispose()


async def reopened(settings, keys):
    await keys.close()
    return await KeyStore.open(settings, data_exists=True)


async def test_key_outlives_a_restart(settings, keys, inside):
    await inside(lambda: keys.make(ALICE, PERSON))
    sealed = (await inside(lambda: keys.key_of(ALICE))).seal(b"value", SLOT)

    again = await reopened(settings, keys)
    opened = (await inside(lambda: again.key_of(ALICE))).open(sealed, SLOT)
    await again.close()

    assert opened == b"value"
    assert again.pseudonyms.check() == keys.pseudonyms.check()


async def test_making_a_key_twice_keeps_the_first(keys, inside):
    await inside(lambda: keys.make(ALICE, PERSON))
    sealed = (await inside(lambda: keys.key_of(ALICE))).seal(b"value", SLOT)

    await inside(lambda: keys.make(ALICE, PERSON))

    assert (await inside(lambda: keys.key_of(ALICE))).open(sealed, SLOT) == b"value"


async def test_destroyed_key_is_gone_from_memory_and_disk(settings, keys, inside):
    for member_id in (ALICE, BOB):
        await inside(lambda member_id=member_id: keys.make(member_id, PERSON))
    await inside(lambda: keys.keys_of([ALICE, BOB]))
    with closing(sqlite3.connect(settings.key_dir / "keys.db")) as raw, raw:
        ((wrapped,),) = raw.execute("SELECT wrapped FROM member_keys WHERE member_id = ?", (ALICE,))
    raw.close()

    await inside(lambda: keys.destroy(list(keys.key_ids_of([ALICE]).values())))

    with pytest.raises(KeyMissing, match="1 member has data but no key"):
        await inside(lambda: keys.keys_of([ALICE, BOB]))
    await inside(lambda: keys.key_of(BOB))
    left = b"".join(path.read_bytes() for path in settings.key_dir.glob("keys.db*"))
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


async def test_wrapped_keys_swapped_between_members_are_refused(settings, keys, inside):
    for member_id in (ALICE, BOB):
        await inside(lambda member_id=member_id: keys.make(member_id, PERSON))
    with closing(sqlite3.connect(settings.key_dir / "keys.db")) as raw, raw:
        rows = dict(raw.execute("SELECT member_id, wrapped FROM member_keys").fetchall())
        raw.execute("UPDATE member_keys SET wrapped = ? WHERE member_id = ?", (rows[BOB], ALICE))
    raw.close()

    with pytest.raises(SealBroken):
        await inside(lambda: keys.key_of(ALICE))


async def test_lost_key_store_over_data_is_an_error(settings, keys):
    await keys.close()
    (settings.key_dir / "keys.db").unlink()

    with pytest.raises(KeyMissing, match=r"its key store .*keys\.db does not"):
        await KeyStore.open(settings, data_exists=True)


async def test_emptied_key_store_over_data_is_an_error(settings, keys):
    await keys.close()
    with closing(sqlite3.connect(settings.key_dir / "keys.db")) as raw, raw:
        raw.execute("DELETE FROM system_keys")
    raw.close()

    with pytest.raises(KeyMissing, match="holds no keys"):
        await KeyStore.open(settings, data_exists=True)


async def test_lost_master_key_is_an_error(settings, keys):
    await keys.close()
    (settings.key_dir / "master.key").unlink()

    with pytest.raises(KeyMissing, match="no master key"):
        await KeyStore.open(settings, data_exists=True)
    assert not (settings.key_dir / "master.key").exists()


async def test_wrong_master_key_is_an_error(settings, keys, monkeypatch):
    await keys.close()
    monkeypatch.setenv(settings.master_key_env, base64.b64encode(b"w" * 32).decode())

    with pytest.raises(KeyUnreadable, match=r"The master key does not open .*keys\.db"):
        await KeyStore.open(settings, data_exists=True)


async def test_damaged_key_store_is_an_error(settings, keys):
    await keys.close()
    (settings.key_dir / "keys.db").write_bytes(b"no database" * 1000)

    with pytest.raises(DatabaseDamaged, match=r"keys\.db is damaged or not a database"):
        await KeyStore.open(settings, data_exists=True)


async def test_newer_key_store_is_an_error(settings, keys):
    await keys.close()
    with closing(sqlite3.connect(settings.key_dir / "keys.db")) as raw, raw:
        raw.execute("PRAGMA user_version = 9")
    raw.close()

    with pytest.raises(DatabaseNewer, match="has schema 9, and this version supports up to 2"):
        await KeyStore.open(settings, data_exists=True)
