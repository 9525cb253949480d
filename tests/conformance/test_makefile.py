"""`make help` lists every target of the Makefile, and no other."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()


def phony() -> list[str]:
    """The targets named after `.PHONY`."""
    (names,) = re.findall(r"^\.PHONY:((?:.*\\\n)*.*)$", MAKEFILE, flags=re.MULTILINE)
    return names.replace("\\\n", " ").split()


def test_help_lists_every_target_and_no_other():
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    assert sorted(re.findall(r"^ +make (\S+) +\S", shown, flags=re.MULTILINE)) == sorted(phony())


def test_every_target_is_declared_phony():
    targets = re.findall(r"^([a-z-]+):", MAKEFILE, flags=re.MULTILINE)

    assert sorted(targets) == sorted(phony())


def what_run_does(*variables: str, **environment: str) -> list[str]:
    """Return the commands of `make run` that start `simpatico`."""
    done = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "run", *variables],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in done.stdout.splitlines() if line.startswith(".venv/bin/simpatico")]


def test_run_prepares_and_starts_the_chosen_model():
    for name in ("small", "medium", "large", "qwen2.5-0.5b"):
        chosen = f".venv/bin/simpatico --model '{name}'", f".venv/bin/simpatico models --model '{name}'"
        assert sorted(what_run_does(f"MODEL={name}")) == sorted(chosen)


def test_without_a_choice_run_uses_the_configuration_whatever_the_environment_says():
    assert [line.split() for line in what_run_does(MODEL="small")] == [
        [".venv/bin/simpatico", "models"],
        [".venv/bin/simpatico"],
    ]
