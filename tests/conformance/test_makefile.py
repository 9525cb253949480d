"""`make help` lists every target of the Makefile, and no other."""

from __future__ import annotations

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
