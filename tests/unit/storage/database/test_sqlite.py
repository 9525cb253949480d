"""SQLite files are opened safely: pragmas read back, one process, damage reported."""

import sqlite3
import subprocess
import sys

import pytest
from sqlalchemy import text

from storage.database.sqlite import (
    PRAGMAS,
    READER_PRAGMAS,
    check_sound,
    empty_log,
    folder_lock,
    open_engine,
    open_reader,
    pragma,
)
from storage.errors import AlreadyOpen, DatabaseDamaged, DatabaseFailed, StorageError


@pytest.fixture
async def connection(tmp_path):
    engine = open_engine(tmp_path / "data.db", connections=1, begin="BEGIN IMMEDIATE")
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


async def fill(connection, rows: int) -> None:
    async with connection.begin():
        await connection.execute(text("CREATE TABLE t (v)"))
        for row in range(rows):
            await connection.execute(text("INSERT INTO t VALUES (:v)"), {"v": f"row-{row}" * 200})


async def test_every_connection_has_the_pragmas(connection, tmp_path):
    reader = open_reader(tmp_path / "data.db")

    def found(connection, wanted):
        return {name: pragma(connection, name)[0] for name in wanted}

    assert await connection.run_sync(found, PRAGMAS) == PRAGMAS
    assert await reader.run(lambda c: found(c, READER_PRAGMAS)) == READER_PRAGMAS
    await reader.close()


async def test_pragma_that_does_not_hold_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(PRAGMAS, "journal_mode", "nowhere")
    engine = open_engine(tmp_path / "data.db", connections=1, begin="BEGIN")

    with pytest.raises(DatabaseFailed, match="Expected PRAGMA journal_mode = nowhere, found"):
        await engine.connect()
    await engine.dispose()


async def test_reader_cannot_write(connection, tmp_path):
    await fill(connection, 1)
    reader = open_reader(tmp_path / "data.db")

    with pytest.raises(DatabaseFailed, match="readonly"):
        await reader.run(lambda c: c.execute(text("DELETE FROM t")))
    await reader.close()


async def test_reader_does_not_wait_for_the_writer(connection, tmp_path):
    await fill(connection, 1)
    reader = open_reader(tmp_path / "data.db")

    async with connection.begin():
        await connection.execute(text("DELETE FROM t"))
        count = await reader.run(lambda c: c.execute(text("SELECT count(*) FROM t")).scalar())
    await reader.close()

    assert count == 1


async def test_emptied_log_has_no_bytes(connection, tmp_path):
    await fill(connection, 50)

    emptied = await connection.run_sync(empty_log)

    assert emptied
    assert (tmp_path / "data.db-wal").stat().st_size == 0


async def test_log_held_by_a_reader_is_reported(connection, tmp_path):
    await fill(connection, 50)
    other = sqlite3.connect(tmp_path / "data.db", isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM t").fetchone()

    held = await connection.run_sync(empty_log, 0.0)
    other.execute("COMMIT")
    free = await connection.run_sync(empty_log, 0.0)
    other.close()

    assert (held, free) == (False, True)


async def test_text_instead_of_a_database_is_damage(tmp_path):
    (tmp_path / "data.db").write_bytes(b"this is no database" * 500)
    reader = open_reader(tmp_path / "data.db")

    with pytest.raises(DatabaseDamaged, match=r"data\.db is damaged or not a database .*restore it"):
        await reader.run(lambda c: c.execute(text("SELECT 1")))
    await reader.close()


async def test_overwritten_page_is_found(connection, tmp_path):
    await fill(connection, 50)
    await connection.run_sync(empty_log)
    path = tmp_path / "data.db"
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 3 + 2000] = b"\xff" * 2000
    path.write_bytes(content)
    reader = open_reader(path)

    with pytest.raises(DatabaseDamaged, match=r"data\.db is damaged"):
        await reader.run(lambda c: check_sound(c, "data.db"))
    await reader.close()


def test_folder_is_held_once(tmp_path):
    with folder_lock(tmp_path):
        with pytest.raises(AlreadyOpen, match="Another process uses"), folder_lock(tmp_path):
            pass
    with folder_lock(tmp_path):
        pass


def test_folder_is_refused_to_a_second_process(tmp_path):
    attempt = (
        "import sys, pathlib; from storage.database.sqlite import folder_lock\n"
        "with folder_lock(pathlib.Path(sys.argv[1])): pass"
    )

    def run():
        command = [sys.executable, "-c", attempt, str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    with folder_lock(tmp_path):
        refused = run()
    allowed = run()

    assert "AlreadyOpen: Another process uses" in refused.stderr
    assert allowed.returncode == 0, allowed.stderr


def test_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with (
        pytest.raises(StorageError, match="Cannot write to the folder"),
        folder_lock(tmp_path / "file"),
    ):
        pass
