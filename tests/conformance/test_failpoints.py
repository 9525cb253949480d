"""Every listed failpoint occurs in the product, and at least one test uses it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from bot.commands import main as cli
from storage.failpoints import FAILPOINTS

ROOT = Path(__file__).parents[2]
MECHANICS = {Path(__file__), ROOT / "tests" / "unit" / "storage" / "test_failpoints.py"}
"""Tests of the failpoint mechanism; a name in them does not count as a case."""


def trees(*packages: str) -> Iterator[tuple[Path, ast.Module]]:
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path, ast.parse(path.read_text("utf-8"))


def passed_in(tree: ast.Module) -> list[str]:
    """Collect the names in all ``failpoint("...")`` calls."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [
        ast.literal_eval(call.args[0])
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "failpoint"
    ]


def words_in(tree: ast.Module) -> list[str]:
    """Collect all string constants except docstrings."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return [node.value for node in constants if isinstance(node.value, str) and id(node) not in docstrings]


def test_the_list_and_the_product_name_the_same_failpoints():
    passed = {name for _, tree in trees("bot", "personalization", "storage") for name in passed_in(tree)}

    assert passed == set(FAILPOINTS)


@cache
def words_of_tests() -> str:
    """Join the string constants of all tests."""
    return "\n".join(
        word for path, tree in trees("tests") if path not in MECHANICS for word in words_in(tree)
    )


@pytest.mark.parametrize("name", FAILPOINTS)
def test_every_failpoint_has_a_case(name):
    assert name in words_of_tests(), f"{name}: write a test that kills, fails or delays the program there"


def test_the_command_lists_every_failpoint_with_its_moment(capsys, tmp_path):
    (tmp_path / "config.toml").write_text("")

    assert cli.run(["--config", str(tmp_path / "config.toml"), "failpoints"]) == 0

    listed = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1) for line in listed] == [[*pair] for pair in FAILPOINTS.items()]
