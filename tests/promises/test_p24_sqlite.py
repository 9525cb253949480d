"""P24: an unsafe SQLite version is refused or fenced.

SQLite before 3.51.3 can lose a commit when two connections reset the write-ahead log at the same moment.
Therefore exactly one connection to ``data.db`` writes and checkpoints, and it is the last to close. A second
process is rejected before it opens anything. The files that several processes may share have no write-ahead
log. SQLite's own trace records every statement of every connection while members join, react and leave.

Controls: readers without their restriction write and checkpoint too; without the lock, the second process
gets in.
"""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Engine

from storage.database import sqlite
from storage.errors import DatabaseFailed
from storage.records import NewHead
from storage.store import Store
from tests.unit.storage.given import ALICE, BOB, FIRST, SECOND, posted, round_of, settings_in

pytestmark = pytest.mark.promise("P24")

ROOT = Path(__file__).parents[2]
WRITES = re.compile(
    r"\s*(INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|PRAGMA wal_checkpoint|BEGIN IMMEDIATE)", re.I
)


class Ears:
    """Statements of each connection to ``data.db``, by number, and the order in which connections closed."""

    def __init__(self) -> None:
        self.told: dict[int, list[str]] = defaultdict(list)
        self.closed: list[int] = []

    def on_connect(self, connection, record) -> None:
        is_bulk = isinstance(connection, sqlite3.Connection)
        path = self._path(connection) if is_bulk else connection.run_async(self._path_of)
        if Path(path).name != "data.db":
            return
        number = len(self.told)
        record.info["number"] = number
        self.told[number] = []
        if is_bulk:
            connection.set_trace_callback(self.told[number].append)
        else:
            connection.run_async(lambda driver: driver.set_trace_callback(self.told[number].append))

    def on_close(self, _connection, record) -> None:
        if "number" in record.info:
            self.closed.append(record.info["number"])

    def writers(self) -> set[int]:
        return {number for number, told in self.told.items() if any(map(WRITES.match, told))}

    @staticmethod
    def _path(connection: sqlite3.Connection) -> str:
        return connection.execute("PRAGMA database_list").fetchone()[2]

    @staticmethod
    async def _path_of(driver) -> str:
        cursor = await driver.execute("PRAGMA database_list")
        row = await cursor.fetchone()
        await cursor.close()
        return row[2]


@pytest.fixture
def ears():
    ears = Ears()
    event.listen(Engine, "connect", ears.on_connect, insert=True)
    event.listen(Engine, "close", ears.on_close)
    yield ears
    event.remove(Engine, "connect", ears.on_connect)
    event.remove(Engine, "close", ears.on_close)


async def live(store: Store) -> None:
    """Let members join, react and be learnt from, and one leave."""
    await posted(store, ALICE, FIRST)
    await posted(store, BOB, SECOND)
    for who in (ALICE, BOB):
        await store.feedback.record_reaction(who, FIRST, "👍", added=True)
    await store.learning.feedback_of([store.member_id(ALICE), store.member_id(BOB)])
    await round_of(store, NewHead(store.member_id(BOB), b"head", 1))
    await store.replies.latest(BOB)
    await store.replies.expire_texts()
    await store.privacy.forget(ALICE.user_id)


async def try_to_write(store: Store) -> bool:
    """Return whether a connection for reading can be made to write."""
    try:
        await store._reader.run(lambda c: c.execute(text("INSERT INTO notes VALUES ('a', 'b')")) and None)
    except DatabaseFailed:
        return False
    return True


async def test_one_connection_writes_and_checkpoints_and_closes_last(ears, tmp_path):
    async with await Store.open(settings_in(tmp_path)) as store:
        await live(store)
        can_write = await try_to_write(store)

    (writer,) = ears.writers() - {n for n, told in ears.told.items() if "PRAGMA query_only = 1" in told}
    readers = set(ears.told) - {writer}
    assert len(readers) >= 2
    assert can_write is False
    assert any("wal_checkpoint" in told for told in ears.told[writer])
    for number in readers:
        assert {"PRAGMA query_only = 1", "PRAGMA wal_autocheckpoint = 0"} <= set(ears.told[number])
        assert not any("wal_checkpoint" in told for told in ears.told[number])
    assert sorted(ears.closed) == sorted(ears.told)
    assert ears.closed[-1] == writer
    assert not (tmp_path / "data" / "data.db-wal").exists()


async def test_control_readers_without_their_fence_write(ears, tmp_path, monkeypatch):
    for name in ("query_only", "wal_autocheckpoint"):
        monkeypatch.delitem(sqlite.READER_PRAGMAS, name)

    async with await Store.open(settings_in(tmp_path)) as store:
        assert await try_to_write(store) is True

    assert len(ears.writers()) > 1


async def test_files_that_processes_share_have_no_write_ahead_log(tmp_path):
    async with await Store.open(settings_in(tmp_path)) as store:
        await live(store)
        modes = {}
        for path in sorted((tmp_path / "keys").glob("*.db")):
            raw = sqlite3.connect(path)
            modes[path.name] = raw.execute("PRAGMA journal_mode").fetchone()[0]
            raw.close()
        logs = list((tmp_path / "keys").glob("*-wal"))

    assert (set(modes), "wal" in modes.values(), logs) == ({"keys.db", "ledger.db"}, False, [])


def second_process(folder: Path) -> subprocess.CompletedProcess[str]:
    attempt = (
        "import asyncio, pathlib, sys\n"
        "from storage.store import Store\n"
        "from tests.unit.storage.given import settings_in\n"
        "async def main():\n"
        "    store = await Store.open(settings_in(pathlib.Path(sys.argv[1])))\n"
        "    await store.close()\n"
        "asyncio.run(main())\n"
    )
    return subprocess.run(
        [sys.executable, "-c", attempt, str(folder)], cwd=ROOT, capture_output=True, text=True, check=False
    )


async def test_a_second_process_is_refused_with_a_clear_line_and_let_in_afterwards(tmp_path):
    async with await Store.open(settings_in(tmp_path)):
        refused = second_process(tmp_path)
    allowed = second_process(tmp_path)

    assert refused.returncode != 0
    assert "AlreadyOpen: Another process uses" in refused.stderr
    assert "stop it first" in refused.stderr
    assert allowed.returncode == 0, allowed.stderr


async def test_control_without_the_lock_the_second_one_gets_in(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "folder_lock", lambda _: nullcontext())
    (tmp_path / "data").mkdir()

    async with await Store.open(settings_in(tmp_path)):
        assert second_process(tmp_path).returncode == 0
