"""P39: a command that says no has changed nothing.

Every restore of data or keys that must be refused is refused: damaged, of another kind, of another bot, from
a newer version, beside an older or missing ledger, under another master key, with a running bot, on a full
disk. Afterwards every file is what it was, byte by byte, and the store opens with all its data. A restore
that is killed at any of its steps leaves the old or the new state, complete, and the next start tidies up.

Control: a restore that swaps the files before it checks them changes the live files.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from storage.errors import AlreadyOpen, LedgerBehind, StorageError
from storage.failpoints import VARIABLE, FailpointReached, switch_on
from storage.maintenance import restoring
from storage.maintenance.backup import back_up_keys
from storage.maintenance.restoring import restore
from storage.maintenance.restoring_keys import restore_keys
from storage.settings import StorageSettings
from storage.store import Store
from tests.rig.size import FULL
from tests.rig.two_bots import bot as bot  # a fixture
from tests.rig.two_bots import contents, replies_in, sql
from tests.rig.two_bots import template as template  # a fixture
from tests.unit.storage.given import ALICE, FIRST, posted, settings_in

pytestmark = pytest.mark.promise("P39")

ROOT = Path(__file__).parents[2]
WEEK = timedelta(days=7)
STEPS = (
    "restore.copied",
    "restore.checked",
    "restore.before-replace",
    "restore.after-replace",
    "restore.opened",
)


@pytest.fixture(autouse=True)
def no_failpoint():
    yield
    switch_on("")


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 + 100])
    return path


def text(folder: Path) -> Path:
    (folder / "text").write_text("no database at all\n" * 500)
    return folder / "text"


def old_ledger(folder: Path, settings: StorageSettings) -> Path:
    shutil.copy2(folder / "old-ledger", settings.key_dir / "ledger.db")
    return folder / "new-data"


def no_ledger(folder: Path, settings: StorageSettings) -> Path:
    (settings.key_dir / "ledger.db").unlink()
    return folder / "new-data"


def wrong_master(settings: StorageSettings) -> None:
    shutil.copy2(settings.key_dir / "master.key", settings.key_dir / "right.key")
    (settings.key_dir / "master.key").write_bytes(b"d3Jvbmd3cm9uZ3dyb25nd3Jvbmd3cm9uZ3dyb25nd3I=")


async def restored(settings: StorageSettings, source: Path, kind: str) -> object:
    return await (restore(settings, source) if kind == "data" else restore_keys(settings, source, WEEK))


Refused = Callable[[Path, StorageSettings], Path]
OF_DATA: dict[str, Refused] = {
    "newer schema": lambda f, _: sql(f / "data", "UPDATE alembic_version SET version_num = '9999'"),
    "older ledger": old_ledger,
    "missing ledger": no_ledger,
    "cut short": lambda f, _: cut(f / "data"),
    "a folder": lambda f, _: f,
    "a text": lambda f, _: text(f),
    "nothing there": lambda f, _: f / "nowhere",
    "an empty file": lambda f, _: (f / "empty").touch() or f / "empty",
    "a copy of keys": lambda f, _: f / "keys",
    "another bot": lambda f, _: f / "other-data",
    "the live file": lambda _, s: s.data_dir / "data.db",
    "a table is missing": lambda f, _: sql(f / "data", "DROP TABLE members"),
    "wrong master key": lambda f, s: wrong_master(s) or f / "data",
}
OF_KEYS: dict[str, Refused] = {
    "newer schema": lambda f, _: sql(f / "keys", "PRAGMA user_version = 99"),
    "cut short": lambda f, _: cut(f / "keys"),
    "a folder": lambda f, _: f,
    "a text": lambda f, _: text(f),
    "a copy of data": lambda f, _: f / "data",
    "another bot": lambda f, _: f / "other-keys",
    "another bot, no data": lambda f, s: (s.data_dir / "data.db").unlink() or f / "other-keys",
    "another bot, no ledger": lambda f, s: (s.key_dir / "ledger.db").unlink() or f / "other-keys",
    "the live file": lambda _, s: s.key_dir / "keys.db",
    "too old": lambda f, _: sql(f / "keys", "UPDATE copied SET at = at - 9 * 86400"),
    "damaged ledger in it": lambda f, _: sql(f / "keys", "UPDATE copied SET ledger = x'00112233'"),
    "wrong master key": lambda f, s: wrong_master(s) or f / "keys",
}


async def is_refused(folder: Path, settings: StorageSettings, kind: str, why: Refused) -> None:
    """Try the restore; it must say no, and every file must be what it was."""
    source = why(folder, settings)
    before = contents(settings.data_dir.parent)
    with pytest.raises(StorageError) as caught:
        await restored(settings, source, kind)
    assert contents(settings.data_dir.parent) == before, caught.value
    assert ".restoring" not in str(caught.value)


@pytest.mark.parametrize("why", OF_DATA)
async def test_a_refused_restore_of_data_has_changed_nothing(tmp_path, bot, why):
    await is_refused(tmp_path, bot, "data", OF_DATA[why])


@pytest.mark.parametrize("why", OF_KEYS)
async def test_a_refused_restore_of_keys_has_changed_nothing(tmp_path, bot, why):
    await is_refused(tmp_path, bot, "keys", OF_KEYS[why])


async def test_control_a_restore_that_swaps_before_it_checks_changes_the_files(tmp_path, bot, monkeypatch):
    async def swap(trial: StorageSettings) -> None:
        shutil.copy2(trial.data_dir / "data.db", bot.data_dir / "data.db")

    monkeypatch.setattr(restoring, "_rehearse", swap)

    with pytest.raises(AssertionError):
        await is_refused(tmp_path, bot, "data", OF_DATA["newer schema"])


@pytest.mark.parametrize("kind", ["data", "keys"])
async def test_a_running_bot_refuses_both_restores(tmp_path, bot, kind):
    async with await Store.open(bot) as store:
        before = contents(bot.key_dir)
        with pytest.raises(AlreadyOpen):
            await restored(bot, tmp_path / kind, kind)
        assert contents(bot.key_dir) == before
        assert (await store.privacy.summary(ALICE)).n_replies == 2


@pytest.mark.parametrize("kind", ["data", "keys"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_failure_at_any_step_puts_the_old_files_back(tmp_path, bot, kind, step):
    before = contents(bot.key_dir)
    switch_on(f"{step}=disk")
    with pytest.raises((StorageError, sqlite3.Error)):
        await restored(bot, tmp_path / kind, kind)
    switch_on("")

    if kind == "keys":
        assert contents(bot.key_dir) == before
    assert leftovers(bot) == []
    assert await replies_in(bot) == 2


RESTORE = """
import asyncio, datetime, pathlib, sys
from storage.maintenance.restoring import restore
from storage.maintenance.restoring_keys import restore_keys
from tests.unit.storage.given import settings_in
folder, kind, copy = sys.argv[1:]
settings, source = settings_in(pathlib.Path(folder)), pathlib.Path(copy)
days = datetime.timedelta(days=7)
asyncio.run(restore(settings, source) if kind == "data" else restore_keys(settings, source, days))
"""


def killed(settings: StorageSettings, kind: str, copy: Path, moment: str) -> None:
    command = [sys.executable, "-c", RESTORE, str(settings.data_dir.parent), kind, str(copy)]
    environment = os.environ | {VARIABLE: f"{moment}"}
    child = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True)
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()


def leftovers(settings: StorageSettings) -> list[str]:
    folders = (settings.data_dir, settings.key_dir)
    return [p.name for f in folders for p in f.iterdir() if ".re" in p.name]


KILLS = [("data", f"{step}=kill") for step in STEPS] + [("keys", f"{step}=kill") for step in STEPS]
KILLS += [("keys", "restore.before-replace=kill@2"), ("keys", "restore.after-replace=kill@2")]
SOME = KILLS if FULL else KILLS[1:4] + KILLS[-2:]


@pytest.mark.parametrize(("kind", "moment"), SOME)
async def test_a_kill_at_any_step_leaves_the_old_or_the_new_state(tmp_path, bot, kind, moment):
    await asyncio.to_thread(killed, bot, kind, tmp_path / kind, moment)

    is_new = kind == "data" and ("after-replace" in moment or "opened" in moment)
    assert await replies_in(bot) == (1 if is_new else 2)
    assert leftovers(bot) == []


async def test_a_log_that_was_not_checkpointed_comes_back_with_its_file(tmp_path, bot):
    """A crashed bot leaves its newest changes in the log only."""
    store = await Store.open(bot)
    await posted(store, ALICE, FIRST + 7)
    shutil.copytree(bot.data_dir, tmp_path / "crashed")
    await store.close()
    crashed = replace(bot, data_dir=tmp_path / "crashed")
    switch_on("restore.after-replace=raise")
    with pytest.raises(FailpointReached):
        await restore(crashed, tmp_path / "data")
    switch_on("")

    assert await replies_in(crashed) == 3
    assert (await restore(crashed, tmp_path / "data")).member_ids != ()
    assert await replies_in(crashed) == 1


async def test_with_postgresql_a_running_bot_and_other_keys_are_refused_too(tmp_path, bot, postgres):
    settings = settings_in(tmp_path / "server", url=postgres.url(await postgres.fresh()))
    shutil.copytree(bot.key_dir, settings.key_dir)
    async with await Store.open(settings) as store:
        await posted(store, ALICE, FIRST)
        await back_up_keys(settings, tmp_path / "its-keys")
        with pytest.raises(AlreadyOpen, match="stop the bot"):
            await restore_keys(settings, tmp_path / "its-keys", WEEK)

    (settings.key_dir / "ledger.db").unlink()  # only the data can say now whose keys these are
    await is_refused(tmp_path, settings, "keys", OF_KEYS["another bot"])
    await is_refused(tmp_path, settings, "data", lambda f, _: f / "data")
    assert await restore_keys(settings, tmp_path / "its-keys", WEEK) == 0
    assert await replies_in(settings) == 1


@pytest.mark.parametrize("kind", ["data", "keys"])
@pytest.mark.parametrize("n_bytes", [5_000, 30_000])
async def test_a_disk_that_takes_no_more_refuses_and_leaves_nothing(tmp_path, bot, kind, n_bytes):
    """No file of this process may grow beyond a few pages: writes fail as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        await is_refused(tmp_path, bot, kind, lambda f, _: f / kind)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert leftovers(bot) == []
    assert await replies_in(bot) == 2


async def test_a_copy_that_has_seen_a_newer_ledger_can_be_accepted_in_words(tmp_path, bot):
    copy = old_ledger(tmp_path, bot)

    with pytest.raises(LedgerBehind, match="--accept-ledger-loss"):
        await restore(bot, copy)
    await restore(bot, copy, accept_loss=True)

    async with await Store.open(bot) as store:
        assert (await store.privacy.summary(ALICE)).n_replies > 0
