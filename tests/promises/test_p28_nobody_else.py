"""P28: the bot connects to Discord, to the configured model server, and to no other host.

The bot runs in a separate network namespace without access to the outside. In the playground, with the real
models, it chats, gets reactions and trains. Started with a token, it looks up Discord. Python's audit hook
records the hosts that it tried, and the kernel counts unroutable packets, which includes native code. Where
namespaces are not permitted, only the hosts are checked.

Control: both checks detect a library that phones home.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rig.talker import HOME

pytestmark = [pytest.mark.promise("P28"), pytest.mark.slow]

ROOT = Path(__file__).parents[2]
APART = ["unshare", "--map-root-user", "--net"]
LOCAL = {"127.0.0.1", "localhost", "::1", "None", ""}


def apart() -> bool:
    """Return whether this machine permits network namespaces."""
    return (
        shutil.which(APART[0]) is not None
        and subprocess.run([*APART, "true"], capture_output=True).returncode == 0
    )


def outcome(what: str, folder: Path) -> tuple[set[str], int | None]:
    """Return the hosts that the bot tried to reach, and the unroutable packets (None: not counted)."""
    in_namespace = apart()
    command = [*(APART if in_namespace else []), sys.executable, "-m", "tests.rig.talker", what, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    return set(said["talked"]) - LOCAL, said["unroutable"] if in_namespace else None


def test_chatting_and_training_talk_to_nobody(tmp_path):
    talked, unroutable = outcome("play", tmp_path)

    assert talked == set()
    assert unroutable in (0, None)


def test_with_a_token_it_looks_for_discord_and_nobody_else(tmp_path):
    talked, _ = outcome("discord", tmp_path)

    assert talked == {"discord.com"}


def test_control_a_library_that_phones_home_is_seen(tmp_path):
    talked, unroutable = outcome("telemetry", tmp_path)

    assert talked == {HOME}
    assert unroutable in (1, None)
