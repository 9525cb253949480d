"""The temporary folder of a playground: gone after a kill, never a running one's, never another's."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bot.app.playground import _for_play
from bot.app.playing import folders
from bot.app.playing.folders import LOCK, MARK, PREFIX, own_folder, remove_stale
from bot.config import Settings

CHILD = """
import sys
from pathlib import Path
from bot.app.playing.folders import own_folder
with own_folder(Path(sys.argv[1])) as folder:
    (folder / "data").mkdir()
    (folder / "data" / "data.db").write_text("rows")
    (folder / "keys").mkdir()
    print(folder, flush=True)
    sys.stdin.read()
"""


@contextmanager
def playing(parent: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Run a process that holds a folder; it ends when its input closes."""
    command = [sys.executable, "-c", CHILD, str(parent)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        yield child, Path(child.stdout.readline().strip())


def left_behind(parent: Path) -> Path:
    """Create what a killed playground leaves."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    (folder / LOCK).write_bytes(MARK)
    (folder / "data").mkdir()
    (folder / "data" / "data.db").write_text("rows")
    return folder


def test_a_folder_is_there_inside_of_the_block_and_gone_after_it(tmp_path):
    with own_folder(tmp_path) as folder:
        (folder / "keys").mkdir()
        inside = sorted(path.name for path in folder.iterdir())

    assert inside == sorted([LOCK, "keys"])
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_a_folder_and_the_next_start_removes_it(tmp_path):
    with playing(tmp_path) as (child, folder):
        while_running = remove_stale(tmp_path)
        child.send_signal(signal.SIGKILL)
        child.wait()
        left = folder.exists()
        after = remove_stale(tmp_path)

    assert (while_running, left, after) == (0, True, 1)
    assert list(tmp_path.iterdir()) == []


def test_control_without_the_look_at_the_lock_a_running_playground_loses_its_data(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "_is_free", lambda _: True)
    with playing(tmp_path) as (child, _):
        removed = remove_stale(tmp_path)
        child.kill()

    assert removed == 1


def test_a_folder_of_this_very_process_is_not_stale(tmp_path):
    with own_folder(tmp_path) as folder:
        assert remove_stale(tmp_path) == 0
        assert folder.is_dir()


def no_lock(folder: Path) -> None:
    (folder / LOCK).unlink()


def other_text(folder: Path) -> None:
    (folder / LOCK).write_bytes(b"")


def longer_text(folder: Path) -> None:
    (folder / LOCK).write_bytes(MARK + b"!")


def open_to_others(folder: Path) -> None:
    folder.chmod(0o755)


def something_of_the_user(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")


def lock_not_yet_named(folder: Path) -> None:
    (folder / LOCK).rename(folder / f"{LOCK}.new")


def lock_is_a_link(folder: Path) -> None:
    target = folder.parent / "elsewhere"
    target.write_bytes(MARK)
    (folder / LOCK).unlink()
    (folder / LOCK).symlink_to(target)


def lock_has_two_names(folder: Path) -> None:
    (folder.parent / "second").hardlink_to(folder / LOCK)


def lock_is_a_pipe(folder: Path) -> None:
    (folder / LOCK).unlink()
    os.mkfifo(folder / LOCK)


def lock_is_a_folder(folder: Path) -> None:
    (folder / LOCK).unlink()
    (folder / LOCK).mkdir()


def another_name(folder: Path) -> None:
    folder.rename(folder.with_name(f"{PREFIX}backup-of-monday"))


def a_link_to_it(folder: Path) -> None:
    moved = folder.rename(folder.with_name("moved"))
    folder.symlink_to(moved, target_is_directory=True)


def a_file(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))
    folder.write_bytes(MARK)


ODD: list[Callable[[Path], None]] = [
    no_lock,
    other_text,
    longer_text,
    open_to_others,
    something_of_the_user,
    lock_not_yet_named,
    lock_is_a_link,
    lock_has_two_names,
    lock_is_a_pipe,
    lock_is_a_folder,
    another_name,
    a_link_to_it,
    a_file,
]


@pytest.mark.parametrize("change", ODD, ids=lambda change: change.__name__)
def test_what_is_not_certainly_a_playground_of_ours_stays(tmp_path, change):
    change(left_behind(tmp_path))
    before = everything_in(tmp_path)

    removed = remove_stale(tmp_path)

    assert (removed, everything_in(tmp_path)) == (0, before)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("given", ["the folder", "the lock"])
def test_what_belongs_to_another_account_stays(tmp_path, given):
    folder = left_behind(tmp_path)
    os.chown(folder if given == "the folder" else folder / LOCK, 65534, 65534)

    assert remove_stale(tmp_path) == 0
    assert (folder / "data" / "data.db").exists()


def test_links_inside_of_a_stale_folder_are_removed_but_not_followed(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("keep me")
    folder = left_behind(tmp_path)
    (folder / "keys").symlink_to(mine, target_is_directory=True)

    assert remove_stale(tmp_path) == 1
    assert (mine / "letter.txt").read_text() == "keep me"


def test_one_odd_folder_does_not_keep_the_others(tmp_path):
    for change in (lock_is_a_pipe, open_to_others):
        change(left_behind(tmp_path))
    left_behind(tmp_path)
    left_behind(tmp_path)

    assert remove_stale(tmp_path) == 2


def test_without_locks_of_the_file_system_nothing_is_taken_for_stale(tmp_path, monkeypatch):
    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    folder = left_behind(tmp_path)
    monkeypatch.setattr(fcntl, "flock", unsupported)
    with own_folder(tmp_path) as own:
        assert own.is_dir()
        assert remove_stale(tmp_path) == 0

    assert list(tmp_path.iterdir()) == [folder]


def test_a_temporary_folder_that_is_missing_is_no_error(tmp_path):
    assert remove_stale(tmp_path / "nowhere") == 0


def everything_in(folder: Path) -> list[str]:
    """Return every path under a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_whatever_the_host_configured_the_data_are_in_the_temporary_folder(tmp_path):
    settings = Settings()
    hosts = replace(
        settings,
        storage=replace(settings.storage, url="postgresql://bot@db/bot", master_key_env="KEY"),
        operator=replace(settings.operator, metrics_port=9464),
    )

    own = _for_play(hosts, tmp_path)

    assert (own.storage.url, own.storage.master_key_env, own.operator.metrics_port) == ("", "", 0)
    assert (own.storage.data_dir, own.storage.key_dir) == (tmp_path / "data", tmp_path / "keys")
