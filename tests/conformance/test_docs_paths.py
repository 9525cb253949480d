"""The documentation names files, functions and tests that exist.

Three kinds of names are checked, wherever they stand in backticks: a file of the repository, a test
(``tests/...::test_name``), and a function (``file.py::function`` or ``file.py::Class.method``). The table
"The way of a message" of ``docs/architecture.md`` names one function for each step.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
ARCHITECTURE = ROOT / "docs" / "architecture.md"
STEPS = (
    "message",
    "context",
    "candidates",
    "moderation",
    "ranking",
    "post",
    "record impression",
    "reaction event",
    "inbox",
    "stored state",
    "label",
    "round",
    "head",
    "publish",
)
MADE_AT_RUN_TIME = {"data/", "models/"}
"""Folders that hold files of a running bot, not of the repository."""

_FENCE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")
_FILE = re.compile(r"(?:[\w.-]+/)+[\w.-]+\.(?:py|md|toml)")


def named_in(text: str) -> list[str]:
    """Everything in backticks that looks like a file of the repository, with ``::name`` where it has one."""
    codes = _CODE.findall(_FENCE.sub("", text))
    return [code for code in codes if _FILE.fullmatch(code.split("::")[0]) and not is_made_later(code)]


def is_made_later(path: str) -> bool:
    return any(path.startswith(folder) for folder in MADE_AT_RUN_TIME)


@cache
def functions_in(path: Path) -> frozenset[str]:
    """Names of functions, ``Class.method`` for methods; nested functions are left out."""
    tree = ast.parse(path.read_text("utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = {node.name for node in tree.body if isinstance(node, functions)}
    for owner in tree.body:
        if isinstance(owner, ast.ClassDef):
            found |= {f"{owner.name}.{node.name}" for node in owner.body if isinstance(node, functions)}
    return frozenset(found)


def is_there(name: str) -> bool:
    """Return whether a file exists, and the function in it where one is named."""
    file, _, function = name.partition("::")
    path = ROOT / file
    if not path.is_file():
        return False
    return not function or function in functions_in(path)


def table_rows(text: str, heading: str) -> list[list[str]]:
    """Cells of the first table under a heading, without its head."""
    part = text.split(f"\n{heading}\n", 1)[1].split("\n#", 1)[0]
    rows = [line for line in part.splitlines() if line.startswith("|")][2:]
    return [[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in rows]


ROWS = table_rows(ARCHITECTURE.read_text("utf-8"), "## The way of a message")


def test_the_table_names_one_function_for_each_step() -> None:
    assert tuple(row[0] for row in ROWS) == STEPS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_each_step_names_a_function_that_exists_in_its_file(row: list[str]) -> None:
    _, file, function = row

    assert function.startswith(f"{file}::"), f"expected a function in {file}, found {function}"
    assert is_there(function), f"no such function: {function}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_names_files_functions_and_tests_that_exist(page: Path) -> None:
    named = named_in(page.read_text("utf-8"))

    assert [name for name in named if not is_there(name)] == []


def test_the_pages_name_files_and_tests() -> None:
    named = [name for page in PAGES for name in named_in(page.read_text("utf-8"))]

    assert len({name for name in named if "::" not in name}) > 50
    assert len({name for name in named if "::test_" in name}) > 50


@pytest.mark.parametrize(
    "name",
    [
        "bot/no_such_module.py",
        "docs/no_such_page.md",
        "bot/client.py::no_such_function",
        "bot/client.py::SimpaticoBot.no_such_method",
        "bot/client.py::dispatch",
        "bot/no_such_module.py::main",
        "tests/conformance/test_docs_paths.py::test_no_such_test",
    ],
)
def test_control_a_made_up_name_is_found_missing(name: str) -> None:
    page = f"The text names `{name}`, `bot/client.py` and `make run`."

    assert [one for one in named_in(page) if not is_there(one)] == [name]


@pytest.mark.parametrize(
    "name",
    [
        "bot/client.py",
        "bot/client.py::create_bot",
        "bot/client.py::SimpaticoBot.dispatch",
        "docs/architecture.md",
        "tests/conformance/test_docs_paths.py::test_the_table_names_one_function_for_each_step",
    ],
)
def test_a_name_that_exists_is_found(name: str) -> None:
    assert named_in(f"`{name}`") == [name]
    assert is_there(name)


def test_code_blocks_and_files_of_a_running_bot_are_not_looked_at() -> None:
    page = "```sh\n`bot/no_such_module.py`\n```\nThe file `models/some/model.toml` and `data/keys/a.toml`."

    assert named_in(page) == []
