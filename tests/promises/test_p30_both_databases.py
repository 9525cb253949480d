"""P30: SQLite and PostgreSQL keep the same promises.

Two parts. First, the storage tests are one suite: every test that opens a store runs on both databases,
unless it gives a reason; this test counts that in pytest's collection. Second, the same random history
(consent, replies, reactions, ratings, clearings, deletions, rounds, priors, withdrawals, erasures) runs on
both: every call returns the same, and afterwards every table holds the same rows, with sealed values opened.
The kill -9 proof of P1 holds on PostgreSQL too.

Controls: a test that runs on one database only is found; a SQLite without foreign keys ends up with other
rows.
"""

from __future__ import annotations

import ast
import functools
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from storage.database import change_numbers, schema, sqlite
from storage.errors import StorageError
from storage.members.wishes import Wish
from storage.records import NewHead, Pick, Picked, Place, PriorRecord, Remark, ReplyId, RoundRecord, Who
from storage.store import Store
from tests.fakes import FixedClock
from tests.promises.test_p01_kill import expected, killed, stored
from tests.rig.recorder import MEMBERS
from tests.rig.size import sized
from tests.unit.storage.given import CHANNEL, IMPRESSION, START, settings_in

pytestmark = pytest.mark.promise("P30")

ROOT = Path(__file__).parents[2]
SUITE = "tests/unit/storage"
KILLS = sized(ci=1, full=20)
SEED = 33
"""Draws a history with a deletion that takes other rows along; without one the control shows nothing."""
N_STEPS = sized(ci=150, full=20_000)
PEOPLE = [Who(guild, user) for guild in (0, 7, 8) for user in (1, 2, 3)]
SEALED = {("replies", "features"), ("replies", "decision"), ("replies", "texts"), ("messages", "place"),
          ("feedback", "state"), ("heads", "body"), ("prior", "body"), ("preferences", "features"),
          ("preferences", "choice"), ("remarks", "reasons"), ("remarks", "words"),
          ("wishes", "body")}  # fmt: skip
BY_CHANCE = {"key_id"}
"""Columns whose values are drawn at random for each database."""


# --- one suite ----------------------------------------------------------------------------------------


def collected(folder: Path, where: str) -> list[str]:
    """Return the ids of all collected tests."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", where]
    plain = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    found = subprocess.run(command, cwd=folder, env=plain, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return [line for line in found.stdout.splitlines() if "::" in line]


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def excused(path: Path) -> set[str]:
    """Return the tests in a file that give a reason for SQLite only; ``*`` for the whole file."""
    names = set()
    for node in parsed(path).body:
        marks = [ast.unparse(mark) for mark in getattr(node, "decorator_list", [])]
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
            marks, name = [ast.unparse(node.value)], "*"
        else:
            name = getattr(node, "name", "")
        if any(re.search(r"sqlite_only\(.{10,}\)", mark, re.DOTALL) for mark in marks):
            names.add(name)
    return names


def on_one_only(folder: Path, tests: list[str]) -> set[str]:
    """Return tests that open a store and run on one of the two databases without a reason."""
    seen: dict[str, set[str]] = defaultdict(set)
    for line in tests:
        file, name, values = re.fullmatch(r"(.+?)::(\w+)(.*)", line, re.DOTALL).groups()
        found = re.search(r"\b(sqlite|postgres)\b", values)
        if found or opens_a_store(folder / file, name):
            seen[f"{file}::{name}"].add(found[1] if found else "none")
    return {
        test
        for test, databases in seen.items()
        if databases != {"sqlite", "postgres"}
        and not {"*", test.split("::")[1]} & excused(folder / test.split("::")[0])
    }


def opens_a_store(path: Path, test: str) -> bool:
    (function,) = [node for node in parsed(path).body if getattr(node, "name", "") == test]
    return bool({"store", "settings"} & {argument.arg for argument in function.args.args})


def test_every_storage_test_runs_on_both_databases_or_says_why_not():
    seen = collected(ROOT, SUITE)

    assert on_one_only(ROOT, seen) == set()
    assert sum("postgres" in line for line in seen) >= 100


def test_control_a_test_of_one_database_is_found(tmp_path):
    shutil.copytree(ROOT / SUITE, tmp_path / SUITE)
    (tmp_path / SUITE / "conftest.py").write_text(
        "import pytest\n@pytest.fixture\ndef settings(): pass\n@pytest.fixture\ndef store(): pass\n"
    )
    (tmp_path / SUITE / "test_new.py").write_text("def test_new(store): pass\n")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    os.symlink(ROOT / "storage", tmp_path / "storage")
    for shared in ("fakes.py", "rig"):
        os.symlink(ROOT / "tests" / shared, tmp_path / "tests" / shared)
    for package in ("bot", "personalization"):
        os.symlink(ROOT / package, tmp_path / package)

    seen = collected(tmp_path, f"{SUITE}/test_new.py")

    assert on_one_only(tmp_path, seen) == {f"{SUITE}/test_new.py::test_new"}


# --- one history --------------------------------------------------------------------------------------


async def step(store: Store, clock: FixedClock, rng: random.Random) -> object:
    """Run one random step, drawn by ``rng``; return the store's answer."""
    clock.advance(minutes=rng.randrange(600))
    who, other, message = rng.choice(PEOPLE), rng.choice(PEOPLE), rng.randrange(1, 40)
    member_id, emoji = store.member_id(who), rng.choice("👍👎🎉")
    reply = (await store.replies.latest(other)) if rng.random() < 0.5 else None
    record = RoundRecord(START, clock(), await store.learning.cursor() + rng.randrange(5), 1, 1, "cpu")
    act = rng.choices(
        [
            lambda: store.consent.record(who),
            lambda: store.replies.record(who, Place(CHANNEL, (message, message + 60)), IMPRESSION),
            lambda: store.feedback.record_reaction(who, message, emoji, added=rng.random() < 0.7),
            lambda: store.feedback.record_rating(who, reply.reply_id if reply else 1, rng.randrange(1, 6)),
            lambda: store.feedback.record_clear(message, rng.choice([None, "👍"])),
            lambda: store.feedback.record_deleted([message, message + 60]),
            lambda: store.learning.record_round(record, [NewHead(member_id, b"head", rng.randrange(9))]),
            lambda: store.learning.record_prior(PriorRecord(b"prior", 2, clock())),
            lambda: store.privacy.refuse(who),
            lambda: store.privacy.forget(who.user_id),
            lambda: store.replies.expire_texts(),
            lambda: store.preferences.record_pick(
                who, Pick(Picked.FIRST, "hash-4", b"one!", b"two!", reply.reply_id if reply else None)
            ),
            lambda: store.remarks.record(
                who, reply.reply_id if reply else ReplyId(1), Remark(("tone",), "words")
            ),
            lambda: rng.choice([store.pauses.pause, store.pauses.resume])(who),
            lambda: store.wishes.put(who, Wish(words=rng.choice(["", "short", "kind"]))),
        ],
        [8, 10, 40, 5, 4, 3, 8, 2, 0.5, 0.5, 2, 5, 3, 2, 3],
    )[0]
    try:
        return await act()
    except StorageError as exc:
        return type(exc).__name__


async def rows_of(store: Store) -> dict[str, object]:
    """Return every table without sealed and random values, and the sealed ones as the store opens them."""

    def plain(connection):
        return {
            table.name: sorted(
                map(repr, connection.execute(select(*[
                    column for column in table.c
                    if (table.name, column.name) not in SEALED and column.name not in BY_CHANCE
                ])))
            )
            for table in schema.metadata.sorted_tables
        }  # fmt: skip

    ids = [store.member_id(who) for who in PEOPLE]
    told = {
        "feedback": await store.learning.feedback_of(ids, 1000),
        "few": await store.learning.feedback_of(ids, 2),
        "choices": await store.preferences.of(ids, 3),
        "words": [[exported["remarks"] for _, exported in await store.privacy.export(who)] for who in PEOPLE],
        "heads": [await store.learning.head_of(member_id) for member_id in ids],
        "due": await store.learning.changed_after(0, 1000),
        "pages": await store.learning.members_with_feedback(None, 3),
        "consents": [await store.consent.of(who) for who in PEOPLE],
        "summaries": [await store.privacy.summary(who) for who in PEOPLE],
        "latest": [await store.replies.latest(who) for who in PEOPLE],
        "wishes": [await store.wishes.of(who) for who in PEOPLE],
        "prior": await store.learning.prior(),
        "round": await store.learning.latest_round(),
    }
    return await store._reader.run(plain) | told


async def played(folder: Path, url: str, seed: int) -> tuple[list[object], dict[str, object]]:
    """Run a history; return its answers and the remaining data. Names are the same in every folder."""
    rng, clock = random.Random(seed), FixedClock(START + timedelta(days=1))
    async with await Store.open(settings_in(folder, url=url), now=clock) as store:
        return [await step(store, clock, rng) for _ in range(N_STEPS)], await rows_of(store)


@pytest.fixture
async def folders(tmp_path, monkeypatch):
    """Two folders with one key for pseudonyms, and no data; changes are numbered from 1, not by the time."""
    monkeypatch.setattr(change_numbers, "microseconds", lambda: 0)
    async with await Store.open(settings_in(tmp_path / "one")):
        pass
    shutil.rmtree(tmp_path / "one" / "data")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    return tmp_path / "one", tmp_path / "two"


async def test_the_same_history_ends_in_the_same_rows(folders, postgres):
    name = await postgres.fresh(migrated=False)
    answers, rows = await played(folders[0], "", seed=SEED)
    other_answers, other_rows = await played(folders[1], postgres.url(name), seed=SEED)
    await postgres.drop(name)

    assert other_answers == answers
    assert other_rows == rows
    assert all(rows[table] for table in ("members", "replies", "messages", "feedback", "rounds", "heads"))


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["writer.before-commit", "writer.after-commit"])
async def test_a_killed_process_loses_no_acknowledged_reaction_on_postgres_either(tmp_path, postgres, moment):
    name = await postgres.fresh()
    (tmp_path / "url").write_text(postgres.url(name))
    acknowledged: list[int] = []
    for kill in range(1, KILLS + 1):
        acknowledged += killed(tmp_path, kill, moment, random.Random(f"{kill} {moment}"))

        there, wanted = await stored(tmp_path), await expected(tmp_path, acknowledged)
        assert (wanted - there, set(there.values())) == (Counter(), {1}), f"after kill {kill}"
    await postgres.drop(name)
    assert len(acknowledged) > len(MEMBERS)


async def test_control_without_foreign_keys_the_rows_differ(folders, monkeypatch):
    _, rows = await played(folders[0], "", seed=SEED)
    monkeypatch.setitem(sqlite.PRAGMAS, "foreign_keys", 0)
    _, other_rows = await played(folders[1], "", seed=SEED)

    assert other_rows != rows
