"""P22: upgrades and roll-backs are safe.

Databases written by each released version (``tests/data/released``), with data and an erasure in progress,
are opened by this version. The process is killed at a statement of the upgrade: at the first, the second, and
so on to the last (in CI at every 14th), on SQLite and on PostgreSQL. Each time the next start ends with
complete, sound data and the erasure finished. The same holds without an existing database. A database of a
newer version is rejected with a clear message and left unchanged.

Control: an upgrade that commits after each statement; a kill in between leaves a database that no version
opens.
"""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, inspect, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from storage.database import schema
from storage.database.migrations import upgrade
from storage.errors import DatabaseNewer, StorageError
from storage.records import Consent, HeadRecord
from storage.store import Store
from tests.fakes import FixedClock
from tests.rig.postgres import PostgresServer
from tests.rig.released import ALICE, BOB, LEAVING, REFUSED, RELEASED, restore, settings_in
from tests.rig.size import sized

pytestmark = pytest.mark.promise("P22")

ROOT = Path(__file__).parents[2]
REVISIONS = sorted(path.name for path in RELEASED.iterdir())
NOTHING = "nothing"
MOST_STATEMENTS = 200

Upgrade = Callable[..., int]


@pytest.fixture
def upgraded() -> Iterator[Upgrade]:
    """Open a store in its own process, killed at the n-th statement; return the exit status."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.rig.upgrading"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None and child.stdout is not None

    def run(folder: Path, url: str, n: int, *, careless: bool = False) -> int:
        child.stdin.write(json.dumps([str(folder), url, f"migration.statement=kill@{n}", careless]) + "\n")
        child.stdin.flush()
        return int(child.stdout.readline())

    yield run
    child.stdin.close()
    child.stdout.close()
    assert child.wait() == 0


def moments(revision: str) -> range:
    """Return every statement; in CI every 14th one."""
    stride = sized(ci=14, full=1)
    return range(1 + sum(revision.encode()) % min(stride, 2), MOST_STATEMENTS, stride)


async def everything(store: Store) -> dict[str, Any]:
    """Return the data that members would miss."""
    ids = [store.member_id(who) for who in (ALICE, BOB, LEAVING)]
    feedback = await store.learning.feedback_of(ids, 100)
    latest = await store.learning.latest_round()
    return {
        "consents": [await store.consent.of(who) for who in (ALICE, BOB, REFUSED, LEAVING)],
        "feedback": [[(row.reactions, row.rating, row.features) for row in feedback[one]] for one in ids],
        "texts": [
            reply and reply.text for reply in [await store.replies.latest(w) for w in (ALICE, BOB, LEAVING)]
        ],
        "heads": [await store.learning.head_of(member_id) for member_id in ids],
        "round": latest and (latest.n_members, latest.n_labels, latest.n_rolled_back),
        "prior": await store.learning.prior(),
        "note": await store.notes.of("command_tree"),
        "forgotten reply": await store.replies.of_message(20),
    }


NOW = FixedClock()()
EXPECTED = {
    "consents": [Consent.AGREED, Consent.AGREED, Consent.REFUSED, Consent.UNKNOWN],
    "feedback": [
        [(("👍",), None, bytes(range(16)))] * 2,
        [(("👍",), None, bytes(range(16))), (("👍",), 5, bytes(range(16)))],
        [],
    ],
    "texts": ["Let me explain.", "Let me explain.", None],
    "heads": [HeadRecord(1, 3, b"head 1", NOW), HeadRecord(1, 3, b"head 2", NOW), None],
    "round": (3, 9, 0),
    "prior": None,
    "note": "hash",
    "forgotten reply": None,
}
EMPTY = {
    "consents": [Consent.UNKNOWN] * 4,
    "feedback": [[], [], []],
    "texts": [None] * 3,
    "heads": [None] * 3,
    "round": None,
    "prior": None,
    "note": None,
    "forgotten reply": None,
}


async def copy_into(folder: Path, revision: str, url: str) -> None:
    """Copy the rows of a restored ``data.db`` into a PostgreSQL database with the schema of that version."""
    raw = sqlite3.connect(folder / "data" / "data.db")
    raw.row_factory = sqlite3.Row
    engine = create_async_engine(url.replace("://", "+asyncpg://"))

    def fill(connection):
        upgrade(connection, revision)
        tables = MetaData()
        tables.reflect(connection)
        for table in tables.sorted_tables:
            rows = [dict(row) for row in raw.execute(f"SELECT * FROM {table.name}")]
            if table.name == "alembic_version" or not rows:
                continue
            for row in rows:
                row |= {c.name: bool(row[c.name]) for c in table.c if str(c.type) == "BOOLEAN"}
            connection.execute(table.insert(), rows)

    async with engine.begin() as connection:
        await connection.run_sync(fill)
    await engine.dispose()
    raw.close()
    shutil.rmtree(folder / "data")


def sound(path: Path) -> list[tuple[str, ...]]:
    raw = sqlite3.connect(path)
    found = [*raw.execute("PRAGMA integrity_check"), *raw.execute("PRAGMA foreign_key_check")]
    raw.close()
    return found


def test_every_released_schema_is_kept_with_data():
    scripts = ScriptDirectory(str(ROOT / "storage" / "database" / "migrations"))

    assert sorted(script.revision for script in scripts.walk_revisions()) == REVISIONS, (
        "run `python -m tests.rig.released` with the new migration, and keep what it writes"
    )


@pytest.mark.slow
@pytest.mark.parametrize("revision", [NOTHING, *REVISIONS])
async def test_killed_at_every_statement_of_an_upgrade_of_sqlite(revision, tmp_path, upgraded):
    if revision != NOTHING:
        restore(revision, tmp_path / "released")
    for n in moments(revision):
        folder = tmp_path / str(n)
        if revision != NOTHING:
            shutil.copytree(tmp_path / "released", folder)
        status = upgraded(folder, "", n)

        async with await Store.open(settings_in(folder)) as store:
            assert await everything(store) == (EMPTY if revision == NOTHING else EXPECTED), f"killed at {n}"
        assert sound(folder / "data" / "data.db") == [("ok",)]
        if status == 0:
            break
        assert status == -signal.SIGKILL
    assert status == 0
    assert n > moments(revision)[0], "nothing was killed"


@pytest.mark.slow
@pytest.mark.parametrize("revision", [NOTHING, *REVISIONS])
async def test_killed_at_every_statement_of_an_upgrade_of_postgres(
    revision, tmp_path, upgraded, postgres: PostgresServer
):
    template = await postgres.fresh(migrated=False)
    if revision == NOTHING:
        (tmp_path / "released").mkdir()
    else:
        restore(revision, tmp_path / "released")
        await copy_into(tmp_path / "released", revision, postgres.url(template))
    for n in moments(revision):
        folder = tmp_path / str(n)
        shutil.copytree(tmp_path / "released", folder)
        name = await postgres.fresh(template=template)
        status = upgraded(folder, postgres.url(name), n)

        async with await Store.open(settings_in(folder, postgres.url(name))) as store:
            assert await everything(store) == (EMPTY if revision == NOTHING else EXPECTED), f"killed at {n}"
        await postgres.drop(name)
        if status == 0:
            break
        assert status == -signal.SIGKILL
    await postgres.drop(template)
    assert status == 0
    assert n > moments(revision)[0], "nothing was killed"


@pytest.mark.slow
async def test_control_an_upgrade_that_commits_each_statement_does_not_outlive_a_kill(tmp_path, upgraded):
    for n in range(2, MOST_STATEMENTS):
        folder = tmp_path / str(n)
        restore(REVISIONS[0], folder)
        assert upgraded(folder, "", n, careless=True) == -signal.SIGKILL, "the process survived every kill"
        try:
            async with await Store.open(settings_in(folder)) as store:
                assert await everything(store) == EXPECTED
        except (StorageError, SQLAlchemyError, AssertionError):
            break


async def described(engine) -> dict[str, Any]:
    """Return the database's schema, without the names that the database generates."""

    def tell(connection):
        inspector = inspect(connection)
        return {
            table: {
                "columns": [(c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(table)],
                "primary key": inspector.get_pk_constraint(table),
                "foreign keys": inspector.get_foreign_keys(table),
                "checks": sorted(c["name"] for c in inspector.get_check_constraints(table)),
                "unique": sorted(c["name"] for c in inspector.get_unique_constraints(table)),
                "indexes": sorted(
                    (i["name"], i["column_names"], bool(i.get("dialect_options", {}).get("postgresql_where")))
                    for i in inspector.get_indexes(table)
                ),
            }
            for table in sorted(inspector.get_table_names())
            if table != "alembic_version"
        }

    async with engine.connect() as connection:
        return await connection.run_sync(tell)


async def test_migrations_make_on_postgres_what_the_schema_says(postgres: PostgresServer):
    migrated, blank = await postgres.fresh(), await postgres.fresh(migrated=False)
    engines = [
        create_async_engine(postgres.url(name).replace("://", "+asyncpg://")) for name in (migrated, blank)
    ]
    async with engines[1].begin() as connection:
        await connection.run_sync(schema.metadata.create_all)

    found, wanted = [await described(engine) for engine in engines]
    for engine in engines:
        await engine.dispose()

    for table in found.values():
        table["columns"].sort()
    for table in wanted.values():
        table["columns"].sort()
    assert found == wanted


async def test_a_newer_database_is_refused_with_a_clear_line_and_left_alone(
    tmp_path, postgres: PostgresServer
):
    name = await postgres.fresh()
    for url in ("", postgres.url(name)):
        folder = tmp_path / ("postgres" if url else "sqlite")
        async with await Store.open(settings_in(folder, url)) as store:
            await store.consent.record(ALICE)
            newer = text("UPDATE alembic_version SET version_num = '9999'")
            await store._writer.submit(lambda c, newer=newer: c.execute(newer) and None)

        for _ in range(2):
            with pytest.raises(
                DatabaseNewer, match=r"schema 9999, and this version supports up to .* or a later one"
            ):
                await Store.open(settings_in(folder, url))
    await postgres.drop(name)
