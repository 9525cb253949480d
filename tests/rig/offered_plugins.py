"""Installs plug-ins for tests: modules with the entry points of a package, without a package manager."""

from __future__ import annotations

import importlib
import itertools
import sys
from pathlib import Path

from personalization.plugins import Group

_numbers = itertools.count(1)


class Offered:
    """A folder on ``sys.path`` into which tests put packages with plug-ins."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def offer(
        self, group: Group, name: str, code: str, *, attribute: str = "Plugin", package: str = ""
    ) -> None:
        """Install a module as the plug-in ``name``; ``attribute`` is what the entry point names in it."""
        number = next(_numbers)
        module, package = f"offered_plugin_{number}", package or f"offered-{number}"
        (self._folder / f"{module}.py").write_text(code, encoding="utf-8")
        info = self._folder / f"{package.replace('-', '_')}-1.5.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n")
        with (info / "entry_points.txt").open("a", encoding="utf-8") as file:
            file.write(f"[{group}]\n{name} = {module}:{attribute}\n")
        importlib.invalidate_caches()


def offered_in(folder: Path, monkeypatch) -> Offered:
    """Return the folder as a place of plug-ins, for one test."""
    monkeypatch.syspath_prepend(str(folder))
    assert str(folder) in sys.path
    return Offered(folder)
