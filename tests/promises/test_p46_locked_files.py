"""P46: a locked or failing file of the store fails one call, names itself, and recovers.

Another program locks one file of the store, as a reader or as a writer, for longer than the busy timeout.
The call of one member fails, and its error names that file. Once the lock is gone, the next call of another
member works, the first member's call works when it is repeated, and the bot itself keeps no lock. The same
holds for a failed disk and for a caller that is cancelled.

Another program that opens and closes ``data.db`` beside the running bot takes no acknowledged commit away,
also after a forget has searched the files.

Controls: without the roll back of an unfinished transaction, the next member's call fails; a search that
closes its files drops SQLite's locks, and the other program deletes the log.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.database import sqlite
from storage.errors import DatabaseFailed
from storage.maintenance.rotation import rotate
from storage.privacy import erasing
from storage.records import Consent, Who
from storage.store import Store
from tests.unit.storage.given import ALICE, BOB, CAROL, FIRST, GUILD, posted, settings_in

pytestmark = pytest.mark.promise("P46")

FILES = {"keys.db": "keys", "ledger.db": "keys", "data.db": "data"}


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Wait a moment for a lock instead of five seconds."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.1)


@contextmanager
def locked(path: Path, how: str) -> Iterator[None]:
    """Lock a file as a program does that reads it, or that writes to it."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
        other.execute("BEGIN" if how == "reader" else "BEGIN IMMEDIATE")
        other.execute("SELECT count(*) FROM sqlite_master").fetchone()
        yield
        other.execute("ROLLBACK")


def is_free(path: Path) -> bool:
    """Return whether another program can write to the file at once."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
        try:
            other.execute("BEGIN EXCLUSIVE")
            other.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
    return True


async def call(store: Store, name: str, who) -> object:
    """Make a call that writes to the file of this name."""
    if name == "ledger.db":
        return await store.privacy.refuse(who)
    return await store.consent.record(who)


async def fails_alone_and_recovers(folder: Path, name: str, how: str) -> None:
    path = folder / FILES[name] / name
    async with await Store.open(settings_in(folder)) as store:
        with locked(path, how), pytest.raises(DatabaseFailed, match=name):
            await call(store, name, ALICE)

        assert is_free(path), "the bot keeps the file locked"
        await call(store, name, BOB)
        await call(store, name, ALICE)
        agreed = Consent.REFUSED if name == "ledger.db" else Consent.AGREED
        assert [await store.consent.of(who) for who in (ALICE, BOB)] == [agreed, agreed]


CASES = [
    ("keys.db", "reader"),
    ("keys.db", "writer"),
    ("ledger.db", "reader"),
    ("ledger.db", "writer"),
    ("data.db", "writer"),
]


@pytest.mark.parametrize(("name", "how"), CASES)
async def test_a_lock_fails_one_call_names_its_file_and_leaves_the_next_call_alone(tmp_path, name, how):
    await fails_alone_and_recovers(tmp_path, name, how)


async def test_control_without_the_roll_back_the_next_call_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "_roll_back_unfinished", lambda connection, record: None)

    with pytest.raises(AssertionError, match="keeps the file locked"):
        await fails_alone_and_recovers(tmp_path, "keys.db", "reader")


@pytest.mark.parametrize("name", ["keys.db", "ledger.db"])
async def test_a_forget_under_a_lock_can_be_repeated(tmp_path, name):
    async with await Store.open(settings_in(tmp_path)) as store:
        await posted(store, ALICE, FIRST)
        with locked(tmp_path / "keys" / name, "reader"), pytest.raises(DatabaseFailed, match=name):
            await store.privacy.forget(ALICE.user_id)

        await store.consent.record(BOB)
        receipt = await store.privacy.forget(ALICE.user_id)
        assert (receipt.n_keys + receipt.n_replies > 0, receipt.n_traces) == (True, 0)
        assert [await store.consent.of(who) for who in (ALICE, BOB)] == [Consent.UNKNOWN, Consent.AGREED]


async def test_a_rotation_under_a_lock_leaves_the_master_key(tmp_path):
    settings = settings_in(tmp_path)
    async with await Store.open(settings) as store:
        await posted(store, ALICE, FIRST)
    master = (tmp_path / "keys" / "master.key").read_bytes()

    with locked(tmp_path / "keys" / "keys.db", "reader"), pytest.raises(DatabaseFailed, match=r"keys\.db"):
        await rotate(settings)

    assert (tmp_path / "keys" / "master.key").read_bytes() == master
    assert not (tmp_path / "keys" / "master.key.next").exists()
    assert (await rotate(settings)).n_keys == 1


async def limit(engine: AsyncEngine, pages: int) -> None:
    """Set the largest size of the file on both connections of the engine, as a full disk does."""
    async with engine.connect() as one, engine.connect() as two:
        for connection in (one, two):
            await connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")


@pytest.mark.parametrize("name", ["keys.db", "ledger.db"])
async def test_a_full_disk_fails_one_call(tmp_path, name):
    async with await Store.open(settings_in(tmp_path)) as store:
        engine = (store._keys if name == "keys.db" else store._keys.ledger)._part.engine
        await limit(engine, 1)  # SQLite then allows no page beyond the present ones
        with pytest.raises(DatabaseFailed, match=f"{name} refused a read or write .*full"):
            for number in range(1000):
                await call(store, name, Who(GUILD, number + 10))
        await limit(engine, 2**30)
        await call(store, name, BOB)
        assert is_free(tmp_path / "keys" / name)


@pytest.mark.parametrize("name", ["keys.db", "ledger.db"])
async def test_a_cancelled_caller_leaves_no_lock(tmp_path, name):
    path = tmp_path / "keys" / name
    async with await Store.open(settings_in(tmp_path)) as store:
        with locked(path, "reader"):
            waiting = asyncio.ensure_future(call(store, name, ALICE))
            await asyncio.sleep(0.05)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await asyncio.sleep(0.2)

        await call(store, name, CAROL)
        assert is_free(path)


async def looked_at_after_a_forget(folder: Path) -> int:
    """Let another program open the data after a forget; return the replies that a killed bot still has."""
    settings = settings_in(folder)
    async with await Store.open(settings) as store:
        await posted(store, BOB, FIRST)
        await store.privacy.forget(BOB.user_id)  # searches the files
        await posted(store, ALICE, FIRST + 1)
        look = "import sqlite3, sys; raw = sqlite3.connect(sys.argv[1]); "
        look += "raw.execute('SELECT count(*) FROM replies').fetchone(); raw.close()"
        await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", look, settings.data_dir / "data.db"], check=True
        )
        await posted(store, ALICE, FIRST + 2)
        shutil.copytree(settings.data_dir, folder / "killed")
    async with await Store.open(replace(settings, data_dir=folder / "killed")) as store:
        return (await store.privacy.summary(ALICE)).n_replies


async def test_another_program_that_looks_at_the_data_takes_no_commit_away(tmp_path):
    assert await looked_at_after_a_forget(tmp_path) == 2


async def test_control_a_search_that_closes_its_files_drops_the_locks(tmp_path, monkeypatch):
    def searched(files, needles, held) -> int:
        for path in files:
            if path.exists():
                path.read_bytes()
        return 0

    monkeypatch.setattr(erasing, "traces_in_files", searched)

    assert await looked_at_after_a_forget(tmp_path) < 2
