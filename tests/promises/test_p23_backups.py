"""P23: backups are consistent, and losing one reveals nothing.

During 500 writes a second, or as many as the machine can do, the data are copied again and again. Every copy
passes ``integrity_check`` and contains a prefix of the history: every write acknowledged before the copy
began, and later ones without a gap. It contains no key and nothing in clear. A restore gives that history
back. The keys have their own short-lived copy; restoring it adds to the ledger and never removes from it.

Control: the file copied byte by byte during the writes; the copy is damaged or lacks acknowledged writes.
"""

from __future__ import annotations

import asyncio
import base64
import shutil
import sqlite3
import time
from datetime import timedelta
from pathlib import Path

import pytest

from bot.commands import main as cli
from storage.database import change_numbers
from storage.errors import AlreadyOpen, DatabaseDamaged, LedgerBehind, StorageError
from storage.failpoints import FailpointReached, switch_on
from storage.maintenance import backup
from storage.maintenance.backup import back_up, back_up_keys
from storage.maintenance.restoring import accept_ledger_loss, restore
from storage.maintenance.restoring_keys import restore_keys
from storage.records import Consent, Impression, Place, Who
from storage.store import Store
from tests.rig.canary import Canaries
from tests.rig.size import sized
from tests.rig.waiting import until
from tests.unit.storage.given import ALICE, BOB, FIRST, IMPRESSION, posted, settings_in

pytestmark = pytest.mark.promise("P23")

PACE_S = 1 / 500
MOST_WAITING = 1000
"""Writes that no slow machine has to catch up with."""
WRITES_BETWEEN = 100
COPIES = sized(ci=4, full=60)
TEXT = "Zaubertext in der Sicherung"
SAID = Impression(
    **{name: getattr(IMPRESSION, name) for name in IMPRESSION.__slots__} | {"candidates": (TEXT, TEXT)}
)


async def write_on(store: Store, acknowledged: list[int], stop: asyncio.Event) -> None:
    """Write message n of Alice as number n; 500 a second, one after the other."""
    began, number, waiting = time.monotonic(), 0, []
    await store.consent.record(ALICE)

    async def write(number: int) -> None:
        await store.replies.record(ALICE, Place(1, (number,)), SAID)
        acknowledged.append(number)

    while not stop.is_set():
        number += 1
        waiting.append(asyncio.ensure_future(write(number)))
        await asyncio.sleep(max(0.0, began + number * PACE_S - time.monotonic()))
        await until(lambda: len(waiting) - len(acknowledged) < MOST_WAITING)
    await asyncio.gather(*waiting)


def history_of(path: Path) -> list[int]:
    """Return the sequence numbers of the replies in a copy, from 1; raise if the file is damaged."""
    raw = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [number for (number,) in raw.execute("SELECT reply_id FROM replies ORDER BY reply_id")]
    finally:
        raw.close()


async def copied_while_writing(folder: Path, copy, n: int) -> list[tuple[Path, int]]:
    """Return copies, and how many writes were acknowledged before each began."""
    made = []
    acknowledged: list[int] = []
    stop = asyncio.Event()
    async with await Store.open(settings_in(folder)) as store:
        writing = asyncio.create_task(write_on(store, acknowledged, stop))
        for turn in range(n):
            enough = len(acknowledged) + WRITES_BETWEEN
            await until(lambda: len(acknowledged) >= enough)  # noqa: B023
            before = len(acknowledged)
            target = folder / f"copy-{turn}"
            await asyncio.to_thread(copy, target)
            made.append((target, before))
        stop.set()
        await writing
    return made


async def test_copies_under_writes_are_sound_prefixes_without_keys_and_clear_text(tmp_path, monkeypatch):
    monkeypatch.setattr(change_numbers, "microseconds", lambda: 0)  # replies are numbered 1, 2, 3, ...
    settings = settings_in(tmp_path)
    made = await copied_while_writing(tmp_path, lambda target: back_up(settings, target), COPIES)
    master = base64.b64decode((tmp_path / "keys" / "master.key").read_bytes())
    canaries = Canaries().text("a reply", TEXT).id("alice", ALICE.user_id).secret("the master key", master)
    raw = sqlite3.connect(tmp_path / "keys" / "keys.db")
    for turn, (wrapped,) in enumerate(raw.execute("SELECT wrapped FROM member_keys").fetchall()):
        canaries.secret(f"wrapped key {turn}", wrapped)
    raw.close()

    for path, before in made:
        history = history_of(path)
        assert history == list(range(1, len(history) + 1))
        assert len(history) >= before
        assert canaries.in_bytes(path.read_bytes()) == []
        assert path.stat().st_mode & 0o077 == 0
    assert made[-1][1] > made[0][1]


async def test_control_a_file_copied_byte_by_byte_lacks_what_was_acknowledged(tmp_path):
    data = tmp_path / "data" / "data.db"
    made = await copied_while_writing(tmp_path, lambda target: shutil.copyfile(data, target), 3)

    def lacks(path: Path, before: int) -> bool:
        try:
            return len(history_of(path)) < before
        except (sqlite3.DatabaseError, AssertionError):
            return True

    assert any(lacks(path, before) for path, before in made)


async def test_a_restored_copy_gives_that_history_back(tmp_path):
    settings, copy = settings_in(tmp_path), tmp_path / "copy"
    async with await Store.open(settings) as store:
        await posted(store, ALICE, FIRST)
        await asyncio.to_thread(back_up, settings, copy)
        await posted(store, BOB, FIRST + 1)
        with pytest.raises(AlreadyOpen):
            await restore(settings, copy)

    assert (await restore(settings, copy)).member_ids == ()

    async with await Store.open(settings) as store:
        assert (await store.replies.latest(ALICE)).text == "Let me explain."
        assert await store.consent.of(BOB) is Consent.UNKNOWN


async def test_a_restore_erases_again_who_was_forgotten_since(tmp_path):
    settings, data, keys = settings_in(tmp_path), tmp_path / "data-copy", tmp_path / "keys-copy"
    async with await Store.open(settings) as store:
        await posted(store, ALICE, FIRST)
        alice = store.member_id(ALICE)
    back_up(settings, data)
    await back_up_keys(settings, keys)
    async with await Store.open(settings) as store:
        await store.privacy.forget(ALICE.user_id)

    assert await restore_keys(settings, keys, timedelta(days=1)) == 1
    assert (await restore(settings, data)).member_ids == (alice,)

    async with await Store.open(settings) as store:
        assert await store.consent.of(ALICE) is Consent.UNKNOWN


async def test_keys_and_ledger_that_are_lost_come_back_from_their_copy(tmp_path):
    settings, keys = settings_in(tmp_path), tmp_path / "keys-copy"
    async with await Store.open(settings) as store:
        await posted(store, ALICE, FIRST)
        await store.privacy.refuse(BOB)
    await back_up_keys(settings, keys)
    for name in ("keys.db", "ledger.db"):
        (tmp_path / "keys" / name).unlink()

    assert await restore_keys(settings, keys, timedelta(days=1)) == 0

    async with await Store.open(settings) as store:
        assert (await store.replies.latest(ALICE)).text == "Let me explain."
        assert await store.consent.of(BOB) is Consent.REFUSED
    assert await backup.ledger_counts(settings) == (0, 1)


async def test_an_old_copy_of_the_keys_is_refused(tmp_path):
    settings, keys = settings_in(tmp_path), tmp_path / "keys-copy"
    await (await Store.open(settings)).close()
    await back_up_keys(settings, keys)
    raw = sqlite3.connect(keys)
    raw.execute("UPDATE copied SET at = at - 9 * 86400")
    raw.commit()
    raw.close()

    with pytest.raises(StorageError, match="is 9 days old, more than 7"):
        await restore_keys(settings, keys, timedelta(days=7))


async def test_a_ledger_older_than_the_data_is_refused_until_its_loss_is_accepted(tmp_path, capsys):
    settings = settings_in(tmp_path)
    await (await Store.open(settings)).close()
    shutil.copy2(tmp_path / "keys" / "ledger.db", tmp_path / "old")
    async with await Store.open(settings) as store:
        await posted(store, ALICE, FIRST)
        await store.privacy.forget(ALICE.user_id)
    shutil.copy2(tmp_path / "old", tmp_path / "keys" / "ledger.db")

    with pytest.raises(LedgerBehind, match="restore its newest copy"):
        await Store.open(settings)

    await accept_ledger_loss(settings)
    await (await Store.open(settings)).close()


async def test_what_is_no_copy_is_refused_and_leaves_the_data(tmp_path):
    settings, keys = settings_in(tmp_path), tmp_path / "keys-copy"
    async with await Store.open(settings) as store:
        await posted(store, ALICE, FIRST)
    await back_up_keys(settings, keys)
    (tmp_path / "broken").write_bytes(b"no database" * 1000)

    with pytest.raises(DatabaseDamaged):
        await restore(settings, tmp_path / "broken")
    with pytest.raises(StorageError, match="is not a copy of the expected kind"):
        await restore(settings, keys)
    with pytest.raises(StorageError, match="already exists"):
        back_up(settings, keys)
    with pytest.raises(StorageError, match="found none"):
        await restore(settings, tmp_path / "nowhere")
    async with await Store.open(settings) as store:
        assert (await store.replies.latest(ALICE)).text == "Let me explain."


async def test_a_restore_cut_short_leaves_the_data(tmp_path):
    settings, copy = settings_in(tmp_path), tmp_path / "copy"
    await (await Store.open(settings)).close()
    back_up(settings, copy)
    async with await Store.open(settings) as store:
        await posted(store, ALICE, FIRST)
    switch_on("restore.before-replace=raise")
    try:
        with pytest.raises(FailpointReached):
            await restore(settings, copy)
    finally:
        switch_on("")

    async with await Store.open(settings) as store:
        assert (await store.replies.latest(ALICE)).text == "Let me explain."


def test_the_commands_say_what_they_did(tmp_path, capsys):
    asyncio.run(_lived(tmp_path))
    config = tmp_path / "config.toml"
    config.write_text('[storage]\ndata_dir = "data"\nkey_dir = "keys"\n')

    def run(*arguments: str) -> str:
        code = cli.run(["--config", str(config), *arguments])
        out, err = capsys.readouterr()
        return f"{code} {out or err}".strip()

    assert run("backup", str(tmp_path / "a")).startswith("0 Copied the data to")
    assert run("backup-keys", str(tmp_path / "b")).startswith("0 Copied keys and erasure ledger to")
    assert run("rotate-key").startswith("0 A new master key wraps the keys of 1 member;")
    assert run("forget", str(ALICE.user_id)) == (
        "0 Deleted: 1 key, 1 reply, 0 pieces of feedback and 0 models."
        " Looked for the rest: nothing was found in tables and files."
    )
    assert run("ledger") == "0 1 destroyed key, 0 members who refused."
    assert run("restore", str(tmp_path / "a")).endswith(
        "members forgotten since the copy was made, erased again: 1."
    )
    assert run("restore-keys", str(tmp_path / "b")).startswith("3 simpatico: The master key does not open")
    assert run("backup", str(tmp_path / "a")).startswith("3 simpatico:")


async def _lived(folder: Path) -> None:
    async with await Store.open(settings_in(folder)) as store:
        await posted(store, ALICE, FIRST)


async def test_forget_by_the_operator_is_refused_while_the_bot_runs(tmp_path, capsys):
    config = tmp_path / "config.toml"
    config.write_text('[storage]\ndata_dir = "data"\nkey_dir = "keys"\n')
    async with await Store.open(settings_in(tmp_path)) as store:
        await store.consent.record(Who(1, 5))
        code = await asyncio.to_thread(cli.run, ["--config", str(config), "forget", "5"])

        assert (code, await store.consent.of(Who(1, 5))) == (3, Consent.AGREED)
    assert "The bot is running. The person can use /forget-me" in capsys.readouterr().err
