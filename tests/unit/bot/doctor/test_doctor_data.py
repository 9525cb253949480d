"""The doctor's look at stored data: keys, database and file owners, healthy and broken."""

from __future__ import annotations

import base64
import hashlib
import shutil
import socket
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bot.config import Settings
from bot.doctor import Verdict, command
from bot.doctor.stored_data import examine_data, examine_owner
from storage.store import Store
from tests.unit.bot.doctor.findings import listed, verdicts
from tests.unit.storage.given import settings_in


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "data.lock"
    }


@pytest.fixture
async def kept(tmp_path):
    """Settings of a store that was opened once and closed."""
    settings = settings_in(tmp_path)
    async with await Store.open(settings):
        pass
    return settings


async def test_data_and_keys_that_belong_together_are_well_and_stay_untouched(kept, tmp_path):
    before = contents(tmp_path)

    findings = await listed(examine_data(kept))

    assert verdicts(findings) == {"keys": "ok", "database": "ok"}
    assert contents(tmp_path) == before
    assert list(examine_owner(kept)) == []


async def test_nothing_is_made_where_nothing_is(tmp_path):
    findings = await listed(examine_data(settings_in(tmp_path)))

    assert verdicts(findings) == {"keys": "ok", "database": "ok"}
    assert contents(tmp_path) == {}


async def test_a_running_bot_is_left_alone(kept):
    async with await Store.open(kept):
        findings = await listed(examine_data(kept))

    assert verdicts(findings) == {"keys": "ok", "database": "ok"}
    assert "in use by a running Simpatico" in findings[1].said


def lose_master_key(settings):
    (settings.key_dir / "master.key").unlink()


def shorten_master_key(settings):
    (settings.key_dir / "master.key").write_text("c2hvcnQ=")


def show_master_key(settings):
    (settings.key_dir / "master.key").chmod(0o644)


def exchange_master_key(settings):
    (settings.key_dir / "master.key").write_text(base64.b64encode(bytes(32)).decode())


def damage_keys(settings):
    (settings.key_dir / "keys.db").write_bytes(b"no database" * 1000)


def advance_keys(settings):
    with closing(sqlite3.connect(settings.key_dir / "keys.db")) as connection:
        connection.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lose_master_key, "no master key"),
        (shorten_master_key, "Expected 32 bytes"),
        (show_master_key, "mode 0600"),
        (exchange_master_key, "does not open"),
        (damage_keys, "damaged or not a database"),
        (advance_keys, "has schema 99"),
    ],
)
async def test_broken_keys_fail_and_say_how(kept, break_it, words):
    break_it(kept)

    findings = await listed(examine_data(kept))

    assert verdicts(findings) == {"keys": "failed", "database": "warning"}
    assert words in findings[0].said


def lose_keys(settings):
    (settings.key_dir / "keys.db").unlink()


def damage_index(settings):
    """Damage an index. The quick check at every start does not look at indexes."""
    with closing(sqlite3.connect(settings.data_dir / "data.db")) as connection:
        connection.execute("INSERT INTO notes VALUES ('a', 'b')")
        connection.execute("PRAGMA writable_schema = on")
        connection.execute(
            "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name ="
            " 'ix_members_guild') WHERE name = 'ix_members_person'"
        )
        connection.commit()


def cut_database(settings):
    path = settings.data_dir / "data.db"
    path.write_bytes(path.read_bytes()[:5000])


def advance_database(settings):
    with closing(sqlite3.connect(settings.data_dir / "data.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()


def lose_ledger(settings):
    with closing(sqlite3.connect(settings.data_dir / "data.db")) as connection:
        connection.execute("INSERT OR REPLACE INTO notes VALUES ('ledger', '7')")
        connection.commit()


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lose_keys, "there is no key store"),
        (damage_index, "damaged"),
        (cut_database, "damaged"),
        (advance_database, "has schema 9999"),
        (lose_ledger, "7 changes of the erasure ledger"),
    ],
)
async def test_a_broken_database_fails_and_says_how(kept, break_it, words):
    break_it(kept)

    *_, database = await listed(examine_data(kept))

    assert (database.what, database.verdict) == ("database", Verdict.FAILED)
    assert words in database.said


async def test_keys_of_other_data_fail(kept, tmp_path):
    other = settings_in(tmp_path / "other")
    async with await Store.open(other):
        pass
    shutil.rmtree(kept.key_dir)
    shutil.copytree(other.key_dir, kept.key_dir)

    *_, database = await listed(examine_data(kept))

    assert (database.what, database.verdict) == ("database", Verdict.FAILED)
    assert "restore the two as a pair" in database.said


async def test_an_older_schema_is_announced(kept):
    with closing(sqlite3.connect(kept.data_dir / "data.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0002'")
        connection.commit()

    *_, database = await listed(examine_data(kept))

    assert database.verdict is Verdict.OK
    assert "brings its schema from 0002" in database.said


async def test_a_postgresql_database_is_asked_too(tmp_path, postgres):
    settings = settings_in(tmp_path, url=postgres.url(await postgres.fresh(migrated=False)))

    empty = await listed(examine_data(settings))
    async with await Store.open(settings):
        used = await listed(examine_data(settings))

    assert [verdicts(findings)["database"] for findings in (empty, used)] == ["ok", "ok"]
    assert "is empty" in empty[1].said and "opens, schema" in used[1].said


async def test_a_postgresql_server_that_is_not_there_fails(kept):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    *_, database = await listed(examine_data(replace(kept, url=f"postgresql://nobody@127.0.0.1:{port}/none")))

    assert (database.what, database.verdict) == ("database", Verdict.FAILED)


async def test_files_that_others_may_read_are_named(kept):
    (kept.key_dir / "keys.db").chmod(0o640)

    (finding,) = examine_owner(kept)

    assert finding.verdict is Verdict.WARNING
    assert str(kept.key_dir / "keys.db") in finding.said


async def test_a_folder_that_the_system_refuses_is_a_finding_and_the_other_checks_run(tmp_path, monkeypatch):
    """A name that is too long stands for every refusal of the system, such as a missing right."""
    real = command._checks
    wanted = ("database", "port")
    monkeypatch.setattr(command, "_checks", lambda *args: [c for c in real(*args) if c[0] in wanted])
    settings = Settings(storage=settings_in(tmp_path, key_dir=tmp_path / ("k" * 300)))

    findings = await listed(command.examine(settings))

    (refused,) = [finding for finding in findings if finding.what == "database"]
    assert refused.verdict is Verdict.FAILED
    assert "k" * 300 in refused.said
