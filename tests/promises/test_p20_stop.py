"""P20: the bot stops cleanly.

``simpatico run`` gets SIGTERM in a simulated Discord, while thousands of reactions arrive and answers are in
progress. It writes every event it took, leaves no answer unfinished, exits with code 0 and without running
threads, and leaves a database that opens. In full size it must exit within ten seconds; in CI, where machines
stall, the bound is wider.

Control: a bot that exits without draining its queues loses events that it had taken.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage.store import Store
from tests.rig.size import sized
from tests.unit.storage.given import settings_in

pytestmark = [pytest.mark.promise("P20"), pytest.mark.slow]

ROOT = Path(__file__).parents[2]
WITHIN_S = sized(ci=60, full=10)
N_STOPS = sized(ci=1, full=20)


def stopped(folder: Path, kind: str, after_s: float) -> tuple[dict, float]:
    """Run the bot under load, stop it; return its final report and the seconds that the stop took."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.rig.serving", str(folder), kind],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert child.stdout is not None and child.stderr is not None
        assert child.stdout.readline() == b"busy\n", child.stderr.read().decode()
        time.sleep(after_s)
        started = time.monotonic()
        child.send_signal(signal.SIGTERM)
        said, errors = child.communicate(timeout=120)
        assert child.returncode == 0, errors.decode()
        return json.loads(said), time.monotonic() - started
    finally:
        child.kill()
        child.wait()


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
