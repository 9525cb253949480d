"""Migrations create the schema from an empty database, keep rows, are never edited, and work from a wheel."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event, text

from storage.database import schema
from storage.database.migrations import upgrade
from storage.errors import DatabaseNewer

ROOT = Path(__file__).parents[2]
VERSIONS = ROOT / "storage" / "database" / "migrations" / "versions"

# A released migration is never edited: write a new one instead, and add its line here.
HASHES = {
    "0001_first.py": "4083eac36b58284944154def1f4b728f8a6708491d8e5dada0b51f011bdc0181",
    "0002_roll_backs.py": "e97d54725fa8ca9f6779353dc6cc40b834dd392274c34292b654873e6701e803",
    "0003_key_generations.py": "d89e737199f0cd6693050abb93430509d5580367f1edd91f485ec8175017faca",
    "0004_trainers.py": "51b3004be4f4eb8b1d0ac6b61545ee4f4fdeaa0ec72596fdea2a91cd6cbef73a",
    "0005_voices.py": "40ea4e036c2ba41d5f9780f7120c9f5fc77bf3d2b5f04435ed2849aae9a3355b",
    "0006_server_lists.py": "39454efced9b31f3e7ce893748fe1157be757ea412590d85347f6b6d0cedf14f",
}


@pytest.fixture
def connection(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'data.db'}")
    event.listen(engine, "connect", lambda dbapi, _: setattr(dbapi, "isolation_level", None))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN") and None)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def described(connection) -> dict[str, list[str]]:
    """Map each table and index to its clauses, regardless of order and layout."""
    rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql NOT NULL"))
    inside = {name: sql.partition("(")[2].rpartition(")")[0] for name, sql in rows}
    # Split at commas outside brackets: SQLite appends a column that was added later to the same line.
    clauses = {name: re.split(r",\s*(?![^()]*\))", sql) for name, sql in inside.items()}
    return {
        name: sorted(re.sub(r"[\s)]+", " ", clause).strip() for clause in parts)
        for name, parts in clauses.items()
        if name != "alembic_version"
    }


def test_migrations_from_nothing_make_the_schema(connection, tmp_path):
    upgrade(connection)
    blank = create_engine("sqlite://")
    with blank.begin() as wanted:
        schema.metadata.create_all(wanted)

        assert described(connection) == described(wanted)
    blank.dispose()


def test_heads_and_rounds_from_before_roll_backs_were_recorded_have_none(connection):
    upgrade(connection, "0001")
    connection.execute(
        text("INSERT INTO members VALUES (zeroblob(16), zeroblob(16), zeroblob(16), 'agreed', 0, 1)")
    )
    connection.execute(text("INSERT INTO rounds VALUES (1, 0, 0, 7, 1, 3, 'cpu')"))
    connection.execute(text("INSERT INTO heads VALUES (zeroblob(16), 1, 3, 0, x'00')"))

    upgrade(connection)

    (head,) = connection.execute(schema.heads.select()).mappings()
    (record,) = connection.execute(schema.rounds.select()).mappings()
    assert (head["n_labels"], head["rolled_back"]) == (3, False)
    assert (record["cursor"], record["n_rolled_back"]) == (7, 0)


def test_migrating_twice_keeps_the_rows(connection):
    upgrade(connection)
    connection.execute(schema.notes.insert().values(key="a", value="b"))

    upgrade(connection)

    assert connection.execute(schema.notes.select()).all() == [("a", "b")]


def test_a_failed_migration_leaves_nothing_behind(connection):
    connection.execute(text("CREATE TABLE heads (in_the_way INTEGER)"))
    connection.commit()

    with pytest.raises(Exception, match="heads already exists"):
        upgrade(connection)
    connection.rollback()

    assert connection.execute(text("SELECT name FROM sqlite_master")).scalars().all() == ["heads"]


def test_a_newer_database_is_refused(connection):
    upgrade(connection)
    connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(DatabaseNewer, match="has schema 9999, and this version supports up to 0006"):
        upgrade(connection)


def test_migration_files_are_named_by_the_rule_and_never_edited():
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(VERSIONS.glob("*.py"))
    }

    assert found == HASHES
    assert [name for name in found if not re.fullmatch(r"\d{4}_[a-z_]+\.py", name)] == []


@pytest.mark.slow
def test_an_installed_wheel_migrates(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "config.example.toml"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    for path in (ROOT / "storage").rglob("*.py"):
        copy = source / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    build = "from setuptools.build_meta import build_wheel; build_wheel('..')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)

    migrate = (
        "import storage, sqlalchemy as sa; from storage.database.migrations import upgrade\n"
        "with sa.create_engine('sqlite://').begin() as c:\n"
        "    upgrade(c); print(storage.__file__); print(len(sa.inspect(c).get_table_names()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", migrate],
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed)},
        check=True,
        capture_output=True,
        text=True,
    )

    assert run.stdout.split() == [str(installed / "storage" / "__init__.py"), "20"]
