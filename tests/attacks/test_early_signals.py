"""Signals before the bot is ready: a reload must not kill it, and a stop must end it at once, without a
traceback.

The real program is started with a token and gets signals while it imports libraries and loads models, also as
process 1 of a namespace, where the kernel ignores signals without a handler.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WITHIN_S = 20.0
NEW_NAMESPACE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


def can_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*NEW_NAMESPACE, "true"], capture_output=True, check=False).returncode == 0


def started(folder: Path, *before: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*before, sys.executable, "-m", "bot", "run"],
        cwd=folder,
        env={**os.environ, "DISCORD_TOKEN": "no.real.token", "PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def handles(pid: int, number: int, kind: str) -> bool:
    """Return whether the process catches ("SigCgt") or ignores ("SigIgn") a signal."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(kind):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def await_handlers(pid: int) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not (handles(pid, signal.SIGTERM, "SigCgt") and handles(pid, signal.SIGHUP, "SigIgn")):
        assert time.monotonic() < deadline, "no handler was installed"
        time.sleep(0.01)


@pytest.mark.parametrize("later_s", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_reload_is_survived_and_a_stop_ends_a_start_at_once(tmp_path, stop, later_s):
    bot = started(tmp_path)
    await_handlers(bot.pid)
    time.sleep(later_s)
    bot.send_signal(signal.SIGHUP)
    time.sleep(0.1)
    assert bot.poll() is None
    bot.send_signal(stop)
    _, said = bot.communicate(timeout=WITHIN_S)

    assert bot.returncode == 0
    assert said.strip().splitlines()[-1] == "simpatico: stopped before it was ready"
    assert "Traceback" not in said


@pytest.mark.skipif(not can_unshare(), reason="needs the right to make a namespace")
def test_process_1_of_a_container_ends_too(tmp_path):
    outside = started(tmp_path, *NEW_NAMESPACE)
    deadline = time.monotonic() + WITHIN_S
    children = Path(f"/proc/{outside.pid}/task/{outside.pid}/children")
    while not children.read_text().split() and time.monotonic() < deadline:
        time.sleep(0.01)
    (inside,) = map(int, children.read_text().split())
    await_handlers(inside)
    os.kill(inside, signal.SIGHUP)
    os.kill(inside, signal.SIGTERM)
    _, said = outside.communicate(timeout=WITHIN_S)

    assert "stopped before it was ready" in said
    assert "Traceback" not in said


def test_control_a_start_without_handlers_is_killed_by_a_reload(tmp_path):
    # SIG_DFL, because a parent such as nohup may have passed on that SIGHUP is ignored.
    code = (
        "import signal, time, bot.commands.main\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\nprint('up', flush=True)\ntime.sleep(30)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True
    ) as bot:
        try:
            assert bot.stdout is not None
            assert bot.stdout.readline() == "up\n"
            bot.send_signal(signal.SIGHUP)
            assert bot.wait(timeout=WITHIN_S) == -signal.SIGHUP
        finally:
            bot.kill()
