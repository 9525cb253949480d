"""P29: keys are rotated while the bot runs.

A child process lets new members agree and react all the time. Meanwhile ``simpatico rotate-key`` runs again
and again, both killed at each of its failpoints and to its end. The child is not disturbed: it keeps
acknowledging, and reads back what it wrote before. Then the child is killed. Every acknowledged member can be
read with the present master key; the first master key opens nothing any more. Files and folder of the keys
are private, and a key that other users may read is rejected.

Control: the key file replaced by a new key without rewrapping; nothing opens.
"""

from __future__ import annotations

import base64
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.errors import AlreadyOpen, KeyMissing, KeyUnreadable
from storage.failpoints import VARIABLE
from storage.maintenance.rotation import rotate
from storage.store import Store
from tests.rig.agreeing import member
from tests.rig.canary import Canaries
from tests.unit.storage.given import ALICE, FIRST, posted, settings_in

pytestmark = pytest.mark.promise("P29")

ROOT = Path(__file__).parents[2]
MOMENTS = ("rotate.after-next-key", "rotate.before-commit", "rotate.after-commit")
ROTATE = "import asyncio, sys, pathlib; from storage.maintenance.rotation import rotate; "
ROTATE += "from tests.unit.storage.given import settings_in; "
ROTATE += "asyncio.run(rotate(settings_in(pathlib.Path(sys.argv[1]))))"


def rotated(folder: Path, failpoint: str = "") -> int:
    """Rotate in a separate process; return its exit code."""
    command = [sys.executable, "-c", ROTATE, str(folder)]
    environment = os.environ | {VARIABLE: f"{failpoint}=kill" if failpoint else ""}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


async def members_read(folder: Path, numbers: list[int]) -> int:
    """Count the members whose reactions can be read."""
    async with await Store.open(settings_in(folder)) as store:
        found = [await store.replies.latest(member(number)) for number in numbers]
    return sum(reply is not None and reply.reactions == ("👍",) for reply in found)


@pytest.mark.slow
async def test_rotating_under_load_with_kills_leaves_nothing_unreadable(tmp_path):
    command = [sys.executable, "-m", "tests.rig.agreeing", str(tmp_path), "1"]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None and child.stderr is not None
    assert child.stdout.readline() == b"0\n", child.stderr.read().decode()
    first = (tmp_path / "keys" / "master.key").read_bytes()
    numbers: list[int] = []

    for moment in (*MOMENTS, ""):
        numbers += [int(child.stdout.readline()) for _ in range(10)]
        assert rotated(tmp_path, moment) == (-signal.SIGKILL if moment else 0)
    numbers += [int(child.stdout.readline()) for _ in range(10)]
    assert child.poll() is None
    os.kill(child.pid, signal.SIGKILL)
    rest, errors = child.communicate()

    assert errors == b""
    numbers += [int(line) for line in rest.split(b"\n")[:-1]]
    assert await members_read(tmp_path, numbers) == len(numbers) >= 50
    (tmp_path / "keys" / "master.key").write_bytes(first)
    with pytest.raises(KeyUnreadable):
        await Store.open(settings_in(tmp_path))


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_rotation_cut_short_leaves_one_key_that_opens_and_is_tidied_up_by_the_next(tmp_path, moment):
    async with await Store.open(settings_in(tmp_path)) as store:
        await posted(store, ALICE, FIRST)
    rotated(tmp_path, moment)

    for _ in range(2):
        async with await Store.open(settings_in(tmp_path)) as store:
            assert (await store.replies.latest(ALICE)).text == "Let me explain."
        assert (await rotate(settings_in(tmp_path))).n_keys == 1
    assert not (tmp_path / "keys" / "master.key.next").exists()


async def test_no_key_stands_in_the_data_or_the_copies_of_it(tmp_path):
    async with await Store.open(settings_in(tmp_path)) as store:
        await posted(store, ALICE, FIRST)
    keys = Canaries()
    for turn in ("first", "second"):
        raw = base64.b64decode((tmp_path / "keys" / "master.key").read_bytes())
        keys.secret(f"{turn} master key", raw)
        await rotate(settings_in(tmp_path))

    assert keys.in_folder(tmp_path) == []


@pytest.mark.parametrize("name", ["keys.db", "ledger.db", "master.key", "."])
async def test_keys_that_others_may_read_are_refused(tmp_path, name):
    await (await Store.open(settings_in(tmp_path))).close()
    path = tmp_path / "keys" / name
    path.chmod(path.stat().st_mode | 0o040)

    with pytest.raises(KeyUnreadable, match="to be private"):
        await Store.open(settings_in(tmp_path))


async def test_a_key_from_the_environment_changes_while_the_bot_is_stopped(tmp_path, monkeypatch):
    settings = settings_in(tmp_path)
    old, new = (base64.b64encode(secrets.token_bytes(32)).decode() for _ in range(2))
    monkeypatch.setenv(settings.master_key_env, old)
    async with await Store.open(settings) as store:
        await posted(store, ALICE, FIRST)
        with pytest.raises(AlreadyOpen):
            await rotate(settings)
    with pytest.raises(KeyMissing, match="SIMPATICO_MASTER_KEY_NEXT"):
        await rotate(settings)

    monkeypatch.setenv(settings.master_key_env + "_NEXT", new)
    assert (await rotate(settings)).n_keys == 1

    monkeypatch.delenv(settings.master_key_env + "_NEXT")
    with pytest.raises(KeyUnreadable):
        await Store.open(settings)
    monkeypatch.setenv(settings.master_key_env, new)
    async with await Store.open(settings) as store:
        assert (await store.replies.latest(ALICE)).text == "Let me explain."


async def test_control_a_new_key_without_wrapping_anew_opens_nothing(tmp_path):
    async with await Store.open(settings_in(tmp_path)) as store:
        await posted(store, ALICE, FIRST)
    (tmp_path / "keys" / "master.key").write_bytes(base64.b64encode(secrets.token_bytes(32)))

    with pytest.raises(KeyUnreadable):
        await members_read(tmp_path, [])
