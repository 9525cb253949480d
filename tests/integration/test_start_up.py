"""What a start loads: no library that only other settings need, and no more memory than one bot should hold.

Each test starts a process of its own, because other tests have imported everything. ``make bench`` measures
the same start (``tests/benchmarks/starting.py``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.starting import resident

pytestmark = [pytest.mark.slow, pytest.mark.alone]

ROOT = Path(__file__).parents[2]

HEAVY = {
    *("transformers", "accelerate", "peft", "optuna", "huggingface_hub", "openai"),
    *("scipy", "sklearn", "pandas", "sympy", "matplotlib", "PIL", "fontTools"),
    *("torch._dynamo", "torch._inductor", "torch.distributed.tensor", "torch.distributed.checkpoint"),
}
"""Modules that a start with the packaged models does not need."""

MOST_MB = 345
"""What the process may hold of its own when ready, MB; measured: 326.

The pages of mapped models and libraries are left out: how many of them are resident depends on the machine's
page cache (257 MB on one machine, 335 MB on another), not on the bot.
"""
FIRST_MB = 15
"""What the first message and its answer may add, MB; measured: 8, and 23 with CLDR, Unicode's locale data."""

READY = """
import asyncio, json, sys
from dataclasses import replace
from bot.app.playground import open_playground
from bot.config import Settings
from bot.generation import Context
from tests.benchmarks.starting import resident

async def main():
    settings = Settings()
    written = replace(settings.generator, max_new_tokens=1)
    async with open_playground(replace(settings, generator=written)) as opened:
        found = {"modules": sorted(sys.modules), "ready": resident()}
        for i in range(6):  # more conversations than the model has slots, each of some hundred tokens
            await opened.house.generator.generate(Context(f"{i} and so on " * 80), written.styles[:1])
        found["later"] = resident()
        print(json.dumps(found))

asyncio.run(main())
"""

ANSWERED = """
import asyncio, json, sys
from dataclasses import replace
from bot.app.playground import open_playground
from bot.config import Settings
from tests.benchmarks.starting import resident

async def main():
    settings = Settings()
    written = replace(settings.generator, max_new_tokens=1)
    async with open_playground(replace(settings, generator=written)) as opened:
        channel, ada = opened.preview.channel, opened.preview.viewers[0]
        found = {"ready": resident()}
        await ada.send(channel, "hello")
        while not channel.last_message.components:
            await asyncio.sleep(0.1)
        await ada.slash(channel, "feedback")
        from babel import localedata
        print(json.dumps(found | {"answered": resident(), "locales": list(localedata._cache)}))

asyncio.run(main())
"""

WORKER = """
import json, sys
import personalization.rounds.worker, personalization.solving.gate
print(json.dumps({"modules": sorted(sys.modules)}))
"""


def started(code: str, cwd: Path) -> dict[str, Any]:
    """Run code in a process of its own; return what its last line says."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_a_bot_with_the_packaged_models_starts_small_and_stays_so(tmp_path) -> None:
    found = started(READY, tmp_path)

    assert HEAVY & set(found["modules"]) == set()
    assert found["ready"]["anonymous"] <= MOST_MB, found["ready"]
    # The states of six earlier prompts would take 100 MB and more.
    assert found["later"]["anonymous"] - found["ready"]["anonymous"] <= 40, found["later"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_the_first_message_loads_little_more(tmp_path) -> None:
    found = started(ANSWERED, tmp_path)

    assert found["locales"] == []
    assert found["answered"]["anonymous"] <= MOST_MB, found
    assert found["answered"]["anonymous"] - found["ready"]["anonymous"] <= FIRST_MB, found


def test_the_process_that_solves_heads_loads_torch_and_little_else(tmp_path) -> None:
    modules = set(started(WORKER, tmp_path)["modules"])

    assert (HEAVY | {"discord", "sqlalchemy", "xllamacpp", "simcord"}) & modules == set()
    assert "torch" in modules


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_control_what_is_imported_and_what_is_held_is_seen(tmp_path) -> None:
    with_it = started(WORKER.replace("import json, sys", "import json, sys, sympy"), tmp_path)
    before = resident()
    held = bytes(64 * 2**20).replace(b"\0", b"\1")  # written, so that it is resident

    assert HEAVY & set(with_it["modules"]) == {"sympy"}
    assert len(held) > 0 and resident()["anonymous"] - before["anonymous"] >= 60
