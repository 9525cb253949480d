"""Opening and closing: one process, undamaged files, the right keys; stored data survive."""

import asyncio
import base64
import threading
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from sqlalchemy import text

from storage.errors import (
    AlreadyOpen,
    DatabaseDamaged,
    DatabaseNewer,
    KeyMissing,
    KeyUnreadable,
    StorageError,
    StoreClosed,
)
from storage.keys.key_store import KeyStore
from storage.opening import backend_of
from storage.records import Who
from storage.store import Store
from tests.unit.storage.given import ALICE, FIRST, posted, settings_in, standing


@pytest.fixture
async def closed(settings):
    """A closed store with one reaction in it."""
    async with await Store.open(settings) as store:
        reply_id = await posted(store, ALICE, FIRST)
        await store.feedback.record_reaction(ALICE, FIRST, "👍", added=True)
    return reply_id


async def changed(settings, statement: str) -> None:
    """Change a closed database with plain SQL."""
    backend = backend_of(settings)
    async with AsyncExitStack() as stack:
        await backend.open(stack)
        connection = await backend.connect_writer(stack)
        async with connection.begin():
            await connection.execute(text(statement))


async def test_everything_outlives_a_restart(settings, closed):
    async with await Store.open(settings) as store:
        assert await standing(store, ALICE) == {closed: (("👍",), None)}
        assert (await store.replies.latest(ALICE)).text == "Let me explain."


@pytest.mark.sqlite_only("several processes may share a PostgreSQL database")
async def test_second_store_on_the_folder_is_refused(settings):
    async with await Store.open(settings):
        with pytest.raises(AlreadyOpen, match="Another process uses"):
            await Store.open(settings)
    await (await Store.open(settings)).close()


async def test_closing_twice_is_as_once_and_leaves_no_thread(settings):
    before = set(threading.enumerate())
    store = await Store.open(settings)
    await store.consent.record(ALICE)
    await store.close()
    await store.close()

    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=60)
    assert set(threading.enumerate()) - before == set()
    with pytest.raises(StoreClosed):
        await store.consent.record(ALICE)


async def test_closing_writes_what_waits(settings):
    store = await Store.open(settings)
    waiting = [
        asyncio.ensure_future(store.consent.record(ALICE)),
        asyncio.ensure_future(store.notes.put("a", "b")),
    ]
    await asyncio.sleep(0)
    await store.close()

    assert await asyncio.gather(*waiting) == [store.member_id(ALICE), None]
    async with await Store.open(settings) as again:
        assert await again.notes.of("a") == "b"


@pytest.mark.sqlite_only("the server's files are its own")
async def test_files_are_the_owners_alone(settings, closed):
    async with await Store.open(settings) as store:
        await store.notes.put("a", "b")
        files = [path for folder in (settings.data_dir, settings.key_dir) for path in folder.iterdir()]

        assert {path.name: path.stat().st_mode & 0o077 for path in files if path.is_file()} == {
            name: 0
            for name in (
                "data.db", "data.db-shm", "data.db-wal", "data.lock",
                "keys.db", "keys.db-journal", "ledger.db", "ledger.db-journal", "master.key",
            )
        }  # fmt: skip


@pytest.mark.sqlite_only("the server's files are its own")
async def test_damaged_database_is_a_clear_error(settings, closed):
    (settings.data_dir / "data.db").write_bytes(b"no database" * 1000)

    with pytest.raises(
        DatabaseDamaged, match=r"data\.db is damaged or not a database .*restore it from a backup"
    ):
        await Store.open(settings)


@pytest.mark.sqlite_only("the server's files are its own")
async def test_half_a_database_is_a_clear_error(settings, closed):
    path = settings.data_dir / "data.db"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(DatabaseDamaged):
        await Store.open(settings)


async def test_newer_database_is_refused_and_left_alone(settings, closed):
    await changed(settings, "UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(DatabaseNewer, match="has schema 9999"):
        await Store.open(settings)


@pytest.mark.parametrize("lost", ["keys.db", "master.key"])
async def test_lost_key_is_an_error_never_a_new_key(settings, closed, lost):
    (settings.key_dir / lost).unlink()

    for _ in range(2):
        with pytest.raises(KeyMissing):
            await Store.open(settings)


async def test_all_keys_lost_is_an_error_never_new_keys(settings, closed):
    for path in settings.key_dir.iterdir():
        path.unlink()

    for _ in range(2):
        with pytest.raises(KeyMissing):
            await Store.open(settings)
    assert list(settings.key_dir.iterdir()) == []


async def test_keys_of_other_data_are_refused(settings, closed, tmp_path):
    other = settings_in(tmp_path / "other")
    await (await Store.open(other)).close()

    with pytest.raises(KeyUnreadable, match="was written under other keys"):
        await Store.open(replace(settings, key_dir=other.key_dir))


async def test_wrong_master_key_is_refused(settings, closed, monkeypatch):
    monkeypatch.setenv(settings.master_key_env, base64.b64encode(b"w" * 32).decode())

    with pytest.raises(KeyUnreadable, match="The master key does not open"):
        await Store.open(settings)


async def test_master_key_from_the_environment_leaves_no_key_file(settings, monkeypatch):
    monkeypatch.setenv(settings.master_key_env, base64.b64encode(b"w" * 32).decode())
    await (await Store.open(settings)).close()
    await (await Store.open(settings)).close()

    assert sorted(path.name for path in settings.key_dir.iterdir()) == [
        "keys.db", "keys.db-journal", "ledger.db", "ledger.db-journal",
    ]  # fmt: skip


async def test_refused_opening_lets_go_of_the_folder(settings, closed):
    key = settings.key_dir / "master.key"
    key.chmod(0o644)
    with pytest.raises(KeyUnreadable, match="found 0644"):
        await Store.open(settings)
    key.chmod(0o600)

    await (await Store.open(settings)).close()


@pytest.mark.sqlite_only("nothing is written to the folder")
async def test_folder_in_the_way_is_a_clear_error(settings, tmp_path):
    (tmp_path / "data").write_text("a file")

    with pytest.raises(StorageError, match="Cannot write to the folder"):
        await Store.open(settings)


async def test_key_folder_in_the_way_is_a_clear_error(settings, tmp_path):
    (tmp_path / "keys").write_text("a file")

    with pytest.raises(StorageError, match="Cannot write to the folder"):
        await Store.open(settings)


async def test_first_start_cut_short_after_the_keys_starts_again(settings):
    await (await KeyStore.open(settings, data_exists=False)).close()

    async with await Store.open(settings) as store:
        assert await store.replies.latest(ALICE) is None


async def test_the_pool_of_readers_has_the_size_that_the_settings_name(settings):
    """A query beyond it waits for a free connection."""
    async with await Store.open(replace(settings, read_connections=2)) as store:
        pool = store._reader._engine.pool
        await asyncio.gather(*(store.consent.of(Who(1, number)) for number in range(20)))

        assert (pool.size(), pool.checkedin()) == (2, 2)
