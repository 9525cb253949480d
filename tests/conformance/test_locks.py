"""``locks/`` fits ``pyproject.toml``: each dependency, by hash, in an allowed version, naming no index."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = sorted((ROOT / "locks").glob("*.txt"))
BY_VERSION = {"torch"}  # its builds differ by platform


def locked(name: str) -> dict[str, Requirement]:
    """Map the canonical name of each package of a lock to its pinned requirement."""
    lines = re.findall(r"^([a-z0-9].*?)(?: \\)?$", (ROOT / "locks" / name).read_text(), flags=re.MULTILINE)
    return {canonicalize_name(found.name): found for found in map(Requirement, lines)}


def wanted(extras: list[str]) -> list[Requirement]:
    stated = PROJECT["dependencies"] + [line for e in extras for line in PROJECT["optional-dependencies"][e]]
    return [Requirement(line) for line in stated]


@pytest.mark.parametrize(
    ("name", "extras"), [("run.txt", []), ("all.txt", sorted(PROJECT["optional-dependencies"]))]
)
def test_the_locks_name_every_dependency_in_a_version_that_pyproject_allows(name, extras):
    pins = locked(name)
    asked = [found for found in wanted(extras) if canonicalize_name(found.name) not in BY_VERSION]

    assert [str(found) for found in asked if canonicalize_name(found.name) not in pins] == []
    for requirement in asked:
        (pin,) = pins[canonicalize_name(requirement.name)].specifier
        assert requirement.specifier.contains(pin.version), f"{requirement} is locked at {pin.version}"


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_line_has_a_hash_and_no_lock_names_an_index(path):
    text = path.read_text()
    pinned = re.findall(r"^[a-z0-9].*?==.*(?:\n    --hash=sha256:[0-9a-f]{64}.*)+", text, flags=re.MULTILINE)

    assert len(pinned) == len(re.findall(r"^\S", text, flags=re.MULTILINE))
    assert "://" not in text
    assert "--index" not in text


def test_the_runtime_is_the_same_in_both_locks():
    every = locked("all.txt")

    assert {name: pin for name, pin in locked("run.txt").items() if every.get(name) != pin} == {}


def test_torch_is_pinned_by_version_and_so_is_in_no_lock():
    (pinned,) = re.findall(r"^(torch)==", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)

    assert {pinned} == BY_VERSION
    assert [
        path.name for path in LOCKS if re.search(r"^(torch|nvidia|triton)", path.read_text(), re.MULTILINE)
    ] == []


def test_what_is_installed_is_what_is_locked():
    here = default_environment()
    pins = {
        name: pin for name, pin in locked("run.txt").items() if not pin.marker or pin.marker.evaluate(here)
    }

    assert {name: version(name) for name in pins} == {
        name: next(iter(pin.specifier)).version for name, pin in pins.items()
    }
