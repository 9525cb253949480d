"""Commands in the README and the operator's pages are taken by their parsers; ``make`` targets exist.

Every line of a shell block and every command in backticks is parsed. Placeholders in capitals get a value.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest

from bot.commands.main import command_parser
from tests.unit.bot.commands.test_command_line import ARGUMENTS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md"]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))

VALUES = {"ID": "820000000000000001", "NAME": "small"}
"""Placeholder -> a value for it; all others are files and folders."""

_BLOCK = re.compile(r"^ *```(?:sh|bash|console)\n(.*?)^ *```", flags=re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:\S*/)?simpatico [a-z-][^`]*|make [a-z-]+[^`]*)`")


def commands_in(text: str) -> Iterator[list[str]]:
    """Yield the words of each ``simpatico`` and ``make`` command of a page."""
    lines = [line for block in _BLOCK.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    for line in [*lines, *(_whole(" ".join(found.split())) for found in _INLINE.findall(text))]:
        line = re.sub(r"\$\([^)]*\)", "VALUE", line.strip().removeprefix("$ "))
        for part in _split(line):
            words = list(takewhile(lambda word: word != ">", part))
            while words and (re.fullmatch(r"[A-Z_]+=\S*", words[0]) or words[0] == "sudo"):
                words = words[1:]
            if (
                "..." not in words
                and words
                and (words[0] == "make" or words[0].rpartition("/")[2] == "simpatico")
            ):
                yield words


def _split(line: str) -> Iterator[list[str]]:
    """Yield the words of each command of a line; what joins commands counts outside of quotes only."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if word in ("&&", "||", ";"):
            yield words
            words = []
        else:
            words.append(word)
    yield words


def _whole(inline: str) -> str:
    """Return a command in a sentence; where the sentence only names it, the way to its help."""
    program, *rest = inline.split()
    named = program.endswith("simpatico") and len(rest) == 1 and rest[0] in ARGUMENTS
    return f"{inline} --help" if named else inline


def alternatives(words: list[str]) -> list[str]:
    """Return the command with its optional parts, the first of alternatives, and values for placeholders."""
    text = re.sub(r"\(([^|)]*)\|[^)]*\)", r"\1", " ".join(words))
    return [VALUES.get(word, word) for word in text.replace("[", "").replace("]", "").split()]


def refused(words: list[str]) -> str | None:
    """Return why a command cannot run as it is written; None: its parser takes it."""
    if words[0] == "make":
        given = words[3:] if words[1:2] == ["-C"] else words[1:]
        unknown = [word for word in given if "=" not in word and not word.startswith("-")]
        return next((f"no target {word}" for word in unknown if word not in TARGETS), None)
    try:
        command_parser().parse_args(alternatives(words[1:]))
    except SystemExit as exc:
        return None if exc.code == 0 else f"exit {exc.code}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_is_taken_by_its_parser(page, capsys):
    found = {" ".join(words): refused(words) for words in commands_in(page.read_text("utf-8"))}

    assert {command: why for command, why in found.items() if why} == {}, capsys.readouterr().err


def test_every_command_of_the_readme_names_the_program_where_it_is_installed():
    programs = {words[0] for words in commands_in(PAGES[0].read_text("utf-8"))}

    assert programs == {"make", ".venv/bin/simpatico"}


def test_the_readme_shows_the_commands_of_a_host():
    shown = {words[1] for words in commands_in(PAGES[0].read_text("utf-8")) if len(words) > 1}

    assert {"run", "test", "doctor", "backup", "restore", "backup-keys", "restore-keys", "forget"} <= shown


@pytest.mark.parametrize(
    "page",
    [
        "```sh\nsimpatico bakcup FILE\n```",
        "Run `simpatico report --day 3 --jason x`.",
        "Use `.venv/bin/simpatico forget NAME`.",
        "```sh\nmake rnu\n```",
        "```sh\necho 1 && simpatico restore\n```",
    ],
)
def test_control_a_command_that_does_not_run_is_found(page):
    assert [why for words in commands_in(page) if (why := refused(words))]
