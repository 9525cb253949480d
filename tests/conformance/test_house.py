"""Folders, files and functions stay small. Import rules are checked by import-linter (`make lint`)."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST_MODULES, MOST_LINES, MOST_FUNCTION_LINES = 16, 350, 50
CODE = sorted(
    path.relative_to(ROOT)
    for package in ("bot", "personalization", "storage")
    for path in (ROOT / package).rglob("*.py")
)
TESTS = sorted(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py"))
MIGRATIONS = "storage/database/migrations/versions"  # released migrations are never edited

# Files and functions that are larger than the rule, each with its reason. An exception that is no longer
# needed fails the test as well.
LARGE_FILES: dict[str, str] = {}
LARGE_FUNCTIONS: dict[str, str] = {}


def is_released(path: Path) -> bool:
    return path.is_relative_to(MIGRATIONS)


def lines_without_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    lines = (node.end_lineno or 0) - node.lineno + 1
    if ast.get_docstring(node) is not None:
        lines -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
    return lines


def test_no_folder_has_more_modules_than_a_reader_can_scan() -> None:
    modules = Counter(str(path.parent) for path in CODE if path.name != "__init__.py")

    assert {folder: n for folder, n in modules.items() if n > MOST_MODULES} == {}


def test_files_are_short() -> None:
    found = {
        str(path)
        for path in [*CODE, *TESTS]
        if not is_released(path) and len((ROOT / path).read_text().splitlines()) > MOST_LINES
    }

    assert found == set(LARGE_FILES)


def test_functions_are_short() -> None:
    found = {
        f"{path}::{node.name}"
        for path in [*CODE, *TESTS]
        if not is_released(path)
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and lines_without_docstring(node) > MOST_FUNCTION_LINES
    }

    assert found == set(LARGE_FUNCTIONS)


def test_each_package_says_what_lives_there() -> None:
    silent = [
        str(path)
        for path in CODE
        if path.name == "__init__.py"
        and len((ast.get_docstring(ast.parse((ROOT / path).read_text())) or "").split()) < 8
    ]

    assert silent == []
