"""Attacks on the data by mistake: a wrong folder, a read-only disk, an older copy, keys beside the data."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from bot.commands.main import EXIT_STORAGE, MAY_LACK_A_STORE, command_parser, run
from bot.config import load_settings
from bot.doctor import Verdict
from bot.doctor.stored_data import examine_layout
from storage.errors import DatabaseFailed
from storage.maintenance.backup import back_up, back_up_keys
from storage.maintenance.restoring import restore
from storage.maintenance.restoring_keys import restore_keys
from storage.records import Consent
from storage.store import Store
from tests.unit.storage.given import ALICE, BOB, FIRST, SECOND, posted, settings_in

NOBODY = 65534


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return every command of ``simpatico`` with its parser."""
    (found,) = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found.choices)


def ways_to_call(name: str, parser: argparse.ArgumentParser) -> list[list[str]]:
    """Return the command with its required arguments, alone and with each of its flags."""
    needed = [name]
    either = [group._group_actions[0] for group in parser._mutually_exclusive_groups if group.required]
    for action in parser._actions:
        if action.option_strings and (action.required or action in either):
            needed += [action.option_strings[0], "7"]
        elif not action.option_strings and action.nargs not in ("?", "*"):
            needed.append(action.choices[0] if action.choices else "820000000000000001")
    flags = [a.option_strings[0] for a in parser._actions if isinstance(a, argparse._StoreTrueAction)]
    return [needed, *([*needed, flag] for flag in flags)]


COMMANDS = commands_of(command_parser())
NEED_A_STORE = sorted(name for name in COMMANDS if name not in MAY_LACK_A_STORE)
CALLS = [call for name in NEED_A_STORE for call in ways_to_call(name, COMMANDS[name])]
CALLS += [["restore", "copy"], ["restore-keys", "copy"]]


def test_only_known_commands_may_lack_a_store():
    assert MAY_LACK_A_STORE - {None} <= set(COMMANDS)
    assert {"forget", "report", "ledger", "backup", "backup-keys", "rotate-key"} <= set(NEED_A_STORE)


@pytest.mark.parametrize("master", [None, "d3Jvbmd3cm9uZ3dyb25nd3Jvbmd3cm9uZ3dyb25nd3I="])
@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_a_command_in_a_wrong_folder_names_it_and_makes_nothing(tmp_path, monkeypatch, capsys, call, master):
    monkeypatch.chdir(tmp_path)
    if master:
        monkeypatch.setenv("SIMPATICO_MASTER_KEY", master)
        monkeypatch.setenv("SIMPATICO_MASTER_KEY_NEXT", master)

    assert run(call) == EXIT_STORAGE

    assert list(tmp_path.rglob("*")) == []
    line = capsys.readouterr().err
    assert "copy" in line if call[-1] == "copy" else str(tmp_path) in line
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize(
    "call", [["forget", "5"], ["report"], ["ledger", "--accept-loss"], ["backup", "copy"]]
)
def test_a_folder_with_keys_but_without_data_is_no_store(tmp_path, monkeypatch, capsys, call):
    monkeypatch.chdir(tmp_path)
    asyncio.run(lived(tmp_path))
    shutil.rmtree(tmp_path / "data")
    before = sorted(tmp_path.rglob("*"))

    assert run(call) == EXIT_STORAGE

    assert sorted(tmp_path.rglob("*")) == before
    assert "data" in capsys.readouterr().err


async def lived(folder: Path) -> None:
    async with await Store.open(settings_in(folder)) as store:
        await posted(store, ALICE, FIRST)
        await store.consent.record(BOB)


@pytest.fixture
def room() -> Iterator[Path]:
    """A folder that another user of this machine may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextlib.contextmanager
def read_only(*folders: Path) -> Iterator[None]:
    """Make folders and their files unwritable, as on a read-only mount, also for root."""
    user = os.geteuid()
    for folder in folders:
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        for folder in folders:
            folder.chmod(0o700)
            for path in folder.rglob("*"):
                path.chmod(0o700 if path.is_dir() else 0o600)


@pytest.mark.parametrize("crashed", [False, True], ids=["stopped", "crashed"])
async def test_a_backup_from_a_read_only_mount_is_complete(room, crashed):
    await lived(room)
    if crashed:  # the newest changes are in the log only
        store = await Store.open(settings_in(room))
        await posted(store, ALICE, SECOND)
        shutil.copytree(room, room / "crashed")
        await store.close()
        (room / "crashed" / "data" / "data.db-shm").unlink(missing_ok=True)
    source = room / "crashed" if crashed else room
    settings = settings_in(source)
    (room / "copies").mkdir(mode=0o777)
    (room / "copies").chmod(0o777)
    names = sorted(path.name for path in settings.data_dir.iterdir())
    with read_only(settings.data_dir, settings.key_dir):
        back_up(settings, room / "copies" / "data")
        await back_up_keys(settings, room / "copies" / "keys")

    assert sorted(path.name for path in settings.data_dir.iterdir()) == names
    with closing(sqlite3.connect(room / "copies" / "data")) as raw:
        assert raw.execute("SELECT count(*) FROM replies").fetchone() == (2 if crashed else 1,)
    await restore_keys(settings_in(room), room / "copies" / "keys", timedelta(days=1))
    await restore(settings_in(room), room / "copies" / "data")


async def test_a_key_folder_that_becomes_read_only_fails_one_call_and_recovers(room):
    async with await Store.open(settings_in(room)) as store:
        await posted(store, ALICE, FIRST)
        with read_only(room / "keys"), pytest.raises(DatabaseFailed, match=r"ledger\.db"):
            await store.privacy.refuse(BOB)
        assert (await store.replies.latest(ALICE)).text == "Let me explain."

        await store.privacy.refuse(BOB)
        assert await store.consent.of(BOB) is Consent.REFUSED


async def test_a_restore_from_a_raw_copy_on_a_read_only_mount_leaves_nothing_there(room):
    await lived(room)
    mount = room / "mount"
    mount.mkdir()
    shutil.copy2(room / "data" / "data.db", mount / "data.db")  # a file in WAL mode, without its log
    before = sorted(mount.iterdir())

    await restore(settings_in(room), mount / "data.db")

    assert sorted(mount.iterdir()) == before


def keys_in(folder: Path) -> list[bytes]:
    with closing(sqlite3.connect(folder / "keys" / "keys.db")) as raw:
        return [member_id for (member_id,) in raw.execute("SELECT member_id FROM member_keys")]


@pytest.mark.parametrize("moment", ["before the forget", "after the forget"])
async def test_an_older_copy_after_forget_and_agreeing_again_raises_no_false_alarm(tmp_path, caplog, moment):
    settings = settings_in(tmp_path)
    await lived(tmp_path)
    if moment == "before the forget":
        back_up(settings, tmp_path / "copy")
    async with await Store.open(settings) as store:
        await store.privacy.forget(ALICE.user_id)
    if moment == "after the forget":
        back_up(settings, tmp_path / "copy")
    async with await Store.open(settings) as store:
        await posted(store, ALICE, SECOND)
        alice = store.member_id(ALICE)
    back_up(settings, tmp_path / "newer")
    caplog.set_level(logging.INFO, logger="storage")

    receipt = await restore(settings, tmp_path / "copy")

    assert (receipt.n_traces, "traces that remain" in caplog.text) == (0, False)
    async with await Store.open(settings) as store:
        summary = await store.privacy.summary(ALICE)
        assert (summary.n_replies, summary.n_feedback) == (0, 0)
        agreed = await store.consent.of(ALICE)
    if moment == "before the forget":
        assert (receipt.member_ids, receipt.returned, agreed) == ((alice,), (alice,), Consent.AGREED)
        assert "1 member was erased again" in caplog.text
        assert "agreed again since, so that the consent stays: 1" in caplog.text
    else:
        assert (receipt.member_ids, agreed) == ((), Consent.UNKNOWN)
        assert "1 key belongs to members who agreed after these data were copied" in caplog.text

    await restore(settings, tmp_path / "newer")
    async with await Store.open(settings) as store:
        assert (await store.replies.latest(ALICE)).text == "Let me explain."
        await store.privacy.forget(ALICE.user_id)
    assert alice not in keys_in(tmp_path)


async def test_a_copy_from_a_time_of_refusal_leaves_no_key_of_the_member(tmp_path, caplog):
    settings = settings_in(tmp_path)
    async with await Store.open(settings) as store:
        await store.privacy.refuse(ALICE)
    back_up(settings, tmp_path / "copy")
    async with await Store.open(settings) as store:
        await posted(store, ALICE, FIRST)

    receipt = await restore(settings, tmp_path / "copy")

    assert (receipt.n_traces, keys_in(tmp_path)) == (0, [])
    async with await Store.open(settings) as store:
        assert await store.consent.of(ALICE) is Consent.REFUSED


def test_new_installations_keep_keys_beside_the_data_and_old_ones_go_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "config.toml"
    for path in (None, config):
        config.write_text("") if path else None
        base = path.parent if path else Path()
        assert load_settings(path).storage.key_dir == base / "keys"

    (tmp_path / "data" / "keys").mkdir(parents=True)
    (tmp_path / "data" / "keys" / "master.key").touch()
    (tmp_path / "keys").mkdir()  # a folder of something else
    assert load_settings(config).storage.key_dir == tmp_path / "data" / "keys"
    (old,) = examine_layout(load_settings(config).storage)
    assert (old.verdict, str(tmp_path / "keys") in old.said) == (Verdict.WARNING, True)

    config.write_text('[storage]\nkey_dir = "elsewhere"\n')
    assert load_settings(config).storage.key_dir == tmp_path / "elsewhere"

    config.write_text("")
    (tmp_path / "keys" / "keys.db").touch()
    assert load_settings(config).storage.key_dir == tmp_path / "keys"
    assert list(examine_layout(load_settings(config).storage)) == []
