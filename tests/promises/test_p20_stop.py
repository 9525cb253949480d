"""P20: the bot stops cleanly.

``simpatico run`` gets SIGTERM in a simulated Discord, while thousands of reactions arrive and answers are in
progress. It writes every event it took, leaves no answer unfinished, exits with code 0 and without running
threads, and leaves a database that opens. In full size it must exit within ten seconds; in CI, where machines
stall, the bound is wider. A part that never closes does not hold the stop: the process ends at its deadline,
in one line.

Controls: a bot that exits without draining its queues loses events that it had taken. Without a deadline, a
part that never closes holds the process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from storage.store import Store
from tests.rig.size import sized
from tests.unit.storage.given import settings_in

pytestmark = [pytest.mark.promise("P20"), pytest.mark.slow]

ROOT = Path(__file__).parents[2]
WITHIN_S = sized(ci=60, full=10)
N_STOPS = sized(ci=1, full=20)


HANGING = sized(ci=["loop", "store"], full=["loop", "store", "model", "trainer", "discord"])


@contextmanager
def under_load(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the bot under load."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.rig.serving", str(folder), *arguments],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert child.stdout is not None and child.stderr is not None
        assert child.stdout.readline() == b"busy\n", child.stderr.read().decode()
        yield child
    finally:
        child.kill()
        child.communicate()  # closes the pipes


def stopped(folder: Path, kind: str, after_s: float) -> tuple[dict, float]:
    """Run the bot under load, stop it; return its final report and the seconds that the stop took."""
    with under_load(folder, kind) as child:
        time.sleep(after_s)
        started = time.monotonic()
        child.send_signal(signal.SIGTERM)
        said, errors = child.communicate(timeout=120)
        assert child.returncode == 0, errors.decode()
        return json.loads(said), time.monotonic() - started


@pytest.mark.parametrize("stop", range(N_STOPS))
async def test_sigterm_under_load_drains_and_leaves_nothing_behind(tmp_path, stop):
    seen, took_s = stopped(tmp_path, "orderly", 0.5 + stop * 0.1)

    assert seen["taken"] > 100
    assert (seen["written"], seen["marked"]) == (seen["taken"], False)
    assert seen["answered"] >= seen["asked"]  # a member who waits too long gets a note in addition
    assert seen["threads"] == []
    assert took_s < WITHIN_S
    async with await Store.open(settings_in(tmp_path)) as store:
        assert await store.learning.cursor() >= 0


def test_control_leaving_at_once_loses_what_was_taken(tmp_path):
    seen, _ = stopped(tmp_path, "hasty", 0.5)

    assert seen["written"] < seen["taken"]


@pytest.mark.parametrize("part", HANGING)
async def test_a_part_that_never_closes_does_not_hold_the_stop(tmp_path, part):
    with under_load(tmp_path, part, "1.5") as child:
        child.send_signal(signal.SIGTERM)
        _, errors = child.communicate(timeout=WITHIN_S)

    assert child.returncode == 0
    last = errors.decode().strip().splitlines()[-1]
    assert last == "simpatico: a part did not close within 1.5 s; stopped without it"
    assert b"Traceback" not in errors
    async with await Store.open(settings_in(tmp_path)) as store:
        assert await store.learning.cursor() >= 0


def test_control_without_a_deadline_a_part_holds_the_stop(tmp_path):
    with under_load(tmp_path, "store", "1000") as child:
        child.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=8)
