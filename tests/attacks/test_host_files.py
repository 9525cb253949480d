"""Attacks on the files of a store by mistake: lost, linked, damaged, swapped, of another bot, in use."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from storage.database import replacing
from storage.errors import AlreadyOpen, DatabaseDamaged, KeyUnreadable, StorageError
from storage.maintenance import drafts, restoring
from storage.maintenance.backup import back_up_keys
from storage.maintenance.exclusive import rotation_lock
from storage.maintenance.restoring import restore
from storage.maintenance.restoring_keys import restore_keys
from storage.maintenance.rotation import rotate
from storage.settings import StorageSettings
from storage.store import Store
from tests.rig.size import FULL
from tests.rig.two_bots import bot as bot  # a fixture
from tests.rig.two_bots import contents, replies_in, sql
from tests.rig.two_bots import template as template  # a fixture
from tests.unit.storage.given import ALICE, BOB, CAROL, FIRST, posted, settings_in

WEEK = timedelta(days=7)
OTHER_MASTER = base64.b64encode(b"x" * 32).decode()


async def crash(bot: StorageSettings, folder: Path) -> None:
    """Replace the data by those of a bot that was killed: the newest five replies are in the log only."""
    store = await Store.open(bot)
    for number in range(5):
        await posted(store, ALICE, FIRST + 50 + number)
    shutil.copytree(bot.data_dir, folder / "crashed")
    await store.close()
    shutil.rmtree(bot.data_dir)
    shutil.copytree(folder / "crashed", bot.data_dir)


# --- files that were lost or linked ----------------------------------------------------------------------


async def restored_over_an_orphaned_log(bot: StorageSettings, folder: Path) -> int:
    await crash(bot, folder)
    (bot.data_dir / "data.db").unlink()
    await restore(bot, folder / "data")
    return await replies_in(bot)


async def test_the_log_of_a_lost_file_never_meets_the_restored_file(tmp_path, bot):
    assert await restored_over_an_orphaned_log(bot, tmp_path) == 1
    assert not list(bot.data_dir.glob("*replaced*"))


async def test_control_a_log_that_is_put_aside_alone_damages_the_restored_file(tmp_path, bot, monkeypatch):
    real = replacing._put_aside

    def put_aside(present: Path) -> None:
        log = present.with_name("data.db-wal")
        if not present.exists() and log.exists():
            log.replace(present.with_name("data.db.replaced-wal"))
        real(present)

    monkeypatch.setattr(replacing, "_put_aside", put_aside)

    with pytest.raises((DatabaseDamaged, AssertionError)):
        assert await restored_over_an_orphaned_log(bot, tmp_path) == 1


async def test_linked_files_are_replaced_where_they_lie(tmp_path, bot):
    disk = tmp_path / "disk"
    disk.mkdir(mode=0o700)
    linked = [bot.data_dir / "data.db", bot.key_dir / "keys.db", bot.key_dir / "ledger.db"]
    for path in linked:
        path.rename(disk / path.name)
        path.symlink_to(disk / path.name)
    assert await replies_in(bot) == 2
    old_keys = (disk / "keys.db").read_bytes()

    await restore(bot, tmp_path / "data")
    await restore_keys(bot, tmp_path / "keys", WEEK)

    assert await replies_in(bot) == 1
    assert all(path.is_symlink() for path in linked)
    assert (disk / "keys.db").read_bytes() != old_keys
    assert not [path for path in tmp_path.rglob("*") if "replaced" in path.name or "restoring" in path.name]


async def test_a_copy_is_followed_through_a_link_with_its_log(tmp_path, bot):
    await crash(bot, tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "crashed" / "data.db")

    await restore(bot, tmp_path / "link")

    assert await replies_in(bot) == 7


@pytest.mark.parametrize("at", range(100) if FULL else (0, 16, 18, 21, 28, 44, 47, 56))
async def test_data_with_a_damaged_header_can_be_replaced(tmp_path, bot, at):
    path = bot.data_dir / "data.db"
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)

    await restore(bot, tmp_path / "data")


async def test_a_bot_that_starts_during_a_refused_restore_keeps_its_folder(tmp_path, bot, monkeypatch):
    new = settings_in(tmp_path / "new")
    shutil.copytree(bot.key_dir, new.key_dir)
    real = restoring.in_live_words

    @contextlib.contextmanager
    def started(settings: StorageSettings) -> Iterator[None]:
        with real(settings):
            shutil.copytree(bot.data_dir, new.data_dir)
            with (new.data_dir / "data.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield

    monkeypatch.setattr(restoring, "in_live_words", started)

    with pytest.raises(AlreadyOpen):
        await restore(new, tmp_path / "data")
    assert (new.data_dir / "data.db").exists()


# --- keys ------------------------------------------------------------------------------------------------


async def others_keys_are_refused(folder: Path, bot: StorageSettings) -> None:
    before = contents(bot.key_dir)
    with pytest.raises(KeyUnreadable, match="Nothing was changed"):
        await restore_keys(bot, folder / "other-keys", WEEK)
    assert contents(bot.key_dir) == before


@pytest.mark.parametrize("data", ["lost", "damaged", "crashed"])
@pytest.mark.parametrize("keys", ["sound", "damaged"])
async def test_keys_of_another_bot_replace_none_whatever_else_is_lost(tmp_path, bot, data, keys):
    await crash(bot, tmp_path)
    (bot.data_dir / "data.db-shm").unlink()
    if data != "crashed":
        for path in bot.data_dir.iterdir():
            path.unlink()
    if data == "damaged":
        (bot.data_dir / "data.db").write_bytes(b"damaged" * 1000)
    if keys == "damaged":
        (bot.key_dir / "keys.db").write_bytes(b"damaged" * 1000)
    (bot.key_dir / "ledger.db").unlink()
    before = contents(bot.data_dir)

    await others_keys_are_refused(tmp_path, bot)
    assert contents(bot.data_dir) == before


async def newcomer_reads(folder: Path, bot: StorageSettings) -> str:
    """Restore keys from before a member agreed; return what that member still reads."""
    async with await Store.open(bot) as store:
        await posted(store, CAROL, FIRST + 44)
    await restore_keys(bot, folder / "keys", WEEK)
    async with await Store.open(bot) as store:
        found = await store.replies.latest(CAROL)
    return (found and found.text) or ""


async def test_an_older_copy_of_the_keys_takes_no_newer_key_away(tmp_path, bot):
    assert await newcomer_reads(tmp_path, bot) == "Let me explain."


async def test_control_without_the_present_keys_a_newcomer_is_lost(tmp_path, bot, monkeypatch):
    async def none(*_: object) -> bool:
        return True

    monkeypatch.setattr("storage.maintenance.restoring_keys._adopt_present", none)

    with pytest.raises(StorageError):
        await newcomer_reads(tmp_path, bot)


async def test_a_forgotten_members_key_comes_back_from_neither_file(tmp_path, bot):
    shutil.copy2(bot.key_dir / "keys.db", tmp_path / "with-alice")
    async with await Store.open(bot) as store:
        await store.privacy.forget(ALICE.user_id)
        alice = store.member_id(ALICE)
    shutil.copy2(tmp_path / "with-alice", bot.key_dir / "keys.db")  # put back by hand, past the ledger

    await restore_keys(bot, tmp_path / "keys", WEEK)

    with closing(sqlite3.connect(bot.key_dir / "keys.db")) as raw:
        assert alice not in [member_id for (member_id,) in raw.execute("SELECT member_id FROM member_keys")]


WRONG_KINDS = [
    "UPDATE copied SET at = 'x'",
    "UPDATE copied SET at = NULL",
    "UPDATE copied SET at = 1e30",
    "UPDATE copied SET ledger = NULL",
    "UPDATE copied SET ledger = 'text'",
    "UPDATE copied SET ledger = x''",
    "UPDATE system_keys SET wrapped = 'a'",
]
WRONG_DATA = [
    "INSERT OR REPLACE INTO notes VALUES ('ledger', 'abc')",
    "INSERT OR REPLACE INTO notes VALUES ('clock', '{bad')",
    "UPDATE replies SET created_at = 'nonsense'",
]


@pytest.mark.parametrize("statement", [*WRONG_KINDS, *WRONG_DATA])
async def test_a_copy_with_values_of_a_wrong_kind_is_refused_in_words(tmp_path, bot, statement):
    kind = "keys" if statement in WRONG_KINDS else "data"
    sql(tmp_path / kind, statement)
    before = contents(tmp_path)

    with pytest.raises(StorageError, match="Nothing was changed"):
        if kind == "keys":
            await restore_keys(bot, tmp_path / "keys", WEEK)
        else:
            await restore(bot, tmp_path / "data")
    assert contents(tmp_path) == before


async def test_a_damaged_ledger_is_refused_with_the_way_out(tmp_path, bot):
    (bot.key_dir / "ledger.db").write_bytes(b"damaged" * 1000)

    with pytest.raises(DatabaseDamaged, match="move it away"):
        await restore_keys(bot, tmp_path / "keys", WEEK)
    (bot.key_dir / "ledger.db").unlink()
    await restore_keys(bot, tmp_path / "keys", WEEK)


# --- two commands at once --------------------------------------------------------------------------------


async def test_a_rotation_keeps_a_restore_of_keys_out(tmp_path, bot, monkeypatch):
    def restored(moment: str) -> None:
        if moment == "rotate.after-commit":
            with pytest.raises(AlreadyOpen, match="Another command changes the keys"):
                asyncio.run_coroutine_threadsafe(restore_keys(bot, tmp_path / "keys", WEEK), loop).result()
            tried.append(moment)

    tried: list[str] = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr("storage.maintenance.rotation.failpoint", restored)
    await asyncio.to_thread(lambda: asyncio.run(rotate(bot)))

    assert tried
    assert await replies_in(bot) == 2


async def test_a_restore_of_keys_keeps_a_rotation_out(bot):
    with rotation_lock(bot.key_dir), pytest.raises(AlreadyOpen, match="Another command changes the keys"):
        await rotate(bot)


async def test_a_key_of_the_environment_is_not_rotated_under_a_bot_on_postgresql(
    tmp_path, postgres, monkeypatch
):
    settings = settings_in(tmp_path, url=postgres.url(await postgres.fresh()))
    monkeypatch.setenv(settings.master_key_env, base64.b64encode(os.urandom(32)).decode())
    monkeypatch.setenv(settings.master_key_env + "_NEXT", OTHER_MASTER)
    async with await Store.open(settings) as store:
        await posted(store, ALICE, FIRST)
        with pytest.raises(AlreadyOpen, match="stop the bot"):
            await rotate(settings)
        await posted(store, BOB, FIRST + 1)
    assert (await rotate(settings)).n_keys == 2


async def test_nothing_is_left_of_a_restore_into_a_new_folder_that_was_refused(tmp_path, bot):
    await back_up_keys(bot, tmp_path / "fresh-keys")
    new = settings_in(tmp_path / "new")

    with pytest.raises(StorageError):  # there is no master key
        await restore_keys(new, tmp_path / "fresh-keys", WEEK)

    assert drafts.missing_folders(new) == [new.key_dir, new.data_dir]
