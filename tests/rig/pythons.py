"""Runs the tests that need no torch on further versions of Python, each in an environment of its own.

``python -m tests.rig.pythons [pytest arguments]``. An environment holds the pinned packages without torch and
what builds on it, and is kept in the user's cache. Tests that import one of the packages left out are skipped
(this module is also the pytest plugin that does so). A version that is not on this machine is named as such.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "simpatico" / "pythons"
VERSIONS = ("3.12", "3.13")
LEFT_OUT = ("torch", "transformers", "accelerate", "xllamacpp", "gguf")
TOOLS = ("pytest", "pytest-asyncio", "pytest-timeout", "hypothesis")
FOLDERS = ("tests/unit/storage", "tests/unit/bot")
ABSENT = (*LEFT_OUT, "simcord", "peft", "optuna", "tokenizers", "huggingface_hub", "pgserver", "sklearn")
_NO_MODULE = re.compile(rf"No module named '({'|'.join(ABSENT)})\b")


def found(version: str) -> str | None:
    """Return the interpreter of a version, on the path or installed by pyenv; None if there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    places = [shutil.which(f"python{version}"), *map(str, sorted(pyenv.glob(f"{version}.*/bin/python")))]
    for place in filter(None, places):
        asked = subprocess.run([place, "-V"], capture_output=True, text=True, check=False)
        if asked.returncode == 0 and asked.stdout.startswith(f"Python {version}."):
            return place
    return None


def packages() -> list[str]:
    """Return the requirements of the project without those that need torch, and the tools of the tests."""
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    return [*(line for line in needed if re.split(r"[<>=\[ ]", line)[0] not in LEFT_OUT), *TOOLS]


def environment(interpreter: str, version: str) -> Path:
    """Return the Python of an up-to-date environment; made or brought up to date when needed."""
    folder = CACHE / version
    if not (folder / "bin" / "python").exists():
        subprocess.run([interpreter, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    subprocess.run([*pip, "-c", ROOT / "constraints.txt", *packages()], check=True)
    subprocess.run([*pip, "--no-deps", "-e", ROOT], check=True)  # its metadata tell the version
    return python


def main(arguments: list[str]) -> int:
    """Test on every version that is found; return 1 if a test failed, else 0."""
    code = 0
    for version in VERSIONS:
        interpreter = found(version)
        if interpreter is None:
            print(f"Python {version}: not found on this machine, so nothing was tested on it", flush=True)
            continue
        python = environment(interpreter, version)
        print(f"Python {version}: {interpreter}", flush=True)
        pytest_ = [python, "-m", "pytest", "-q", "-p", "tests.rig.pythons", "-p", "no:cacheprovider"]
        chosen = arguments or [*FOLDERS, "-m", "quick"]
        done = subprocess.run([*pytest_, *chosen], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
        code = code or done.returncode
    return 1 if code else 0


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: Any) -> Generator[None, Any, Any]:
    """Skip a test file that imports a package which was left out."""
    report = yield
    if report.failed and (missing := _NO_MODULE.search(str(report.longrepr))):
        report.outcome = "skipped"
        report.longrepr = (str(collector.path), 0, f"Skipped: needs {missing[1]}")
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Generator[None, Any, Any]:
    """Skip a test that needs a package which was left out, at the moment at which it asks for it."""
    report = yield
    if report.failed and call.excinfo is not None and (missing := _NO_MODULE.search(str(report.longrepr))):
        report.outcome = "skipped"
        report.longrepr = (str(item.path), 0, f"Skipped: needs {missing[1]}")
    return report


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
