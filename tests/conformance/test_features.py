"""``docs/features.md`` names existing tests and pictures, and every command of the bot."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import discord
import pytest

from bot.config import parse_settings
from tests.integration.conftest import opened

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "features.md"
ROWS = [
    [cell.strip() for cell in line.strip().strip("|").split("|")]
    for line in PAGE.read_text("utf-8").splitlines()
    if line.startswith("|") and not re.match(r"\|[-| ]+$|\| feature \|", line)
]


def shown_by(cell: str) -> tuple[list[str], list[str]]:
    """Extract the tests and the pictures that a cell names."""
    return re.findall(r"`(tests/[^`]+)`", cell), re.findall(r"!\[[^\]]+\]\(([^)]+)\)", cell)


def is_there(test: str) -> bool:
    """Return whether ``file`` or ``file::function`` exists."""
    file, _, function = test.partition("::")
    path = ROOT / file
    if not path.is_file():
        return False
    tests = {
        node.name
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")
    }
    return function in tests if function else bool(tests)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_each_feature_names_a_test_or_a_picture_that_is_there(row):
    assert len(row) == 3 and all(row), f"expected feature, what it does, and what shows it, found {row}"
    tests, pictures = shown_by(row[2])

    assert tests or pictures
    assert [test for test in tests if not is_there(test)] == []
    assert [name for name in pictures if not (PAGE.parent / name).is_file()] == []


def test_no_feature_stands_twice():
    names = [row[0] for row in ROWS]

    assert sorted(set(names)) == sorted(names)


def test_control_a_test_that_is_not_there_is_found():
    assert is_there("tests/conformance/test_features.py::test_no_feature_stands_twice")
    assert not is_there("tests/conformance/test_features.py::test_no_feature_stands_thrice")
    assert not is_there("tests/conformance/test_nothing.py")


async def test_every_command_and_menu_is_a_feature(tmp_path):
    page = PAGE.read_text("utf-8")
    folders = {"data_dir": str(tmp_path / "data"), "key_dir": str(tmp_path / "keys")}
    settings = parse_settings({"storage": folders})
    async with opened(settings) as world:
        commands = [
            *world.bot.tree.walk_commands(),
            *world.bot.tree.walk_commands(type=discord.AppCommandType.message),
        ]
    named = {
        f"*{one.qualified_name}*"
        if isinstance(one, discord.app_commands.ContextMenu)
        else f"`/{one.qualified_name}`"
        for one in commands
        if not isinstance(one, discord.app_commands.Group)
    }

    assert sorted(name for name in named if name not in page) == []
