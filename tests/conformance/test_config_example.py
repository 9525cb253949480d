"""``config.example.toml`` is complete: it holds the defaults, and comments give the range of each number."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from bot.config import Settings, parse_settings

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
KEYS = [(section.name, key.name) for section in fields(Settings) for key in fields(section.default_factory)]


def test_example_gives_exactly_the_defaults():
    parsed = parse_settings(tomllib.loads(EXAMPLE.read_text(encoding="utf-8")))

    assert parsed == Settings()


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_every_key_stands_in_the_example_with_a_comment(section, key):
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    start = lines.index(f"[{section}]")
    places = [i for i, line in enumerate(lines) if i > start and line.split(" = ")[0] == key]

    assert places, f"[{section}] {key} is missing from config.example.toml"
    assert lines[places[0] - 1].startswith("# "), f"[{section}] {key} has no comment above it"


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_every_number_states_its_range_and_unit(section, key):
    default = getattr(getattr(Settings(), section), key)
    if isinstance(default, bool) or not isinstance(default, int | float):
        return
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    comment = lines[next(i for i, line in enumerate(lines) if line.split(" = ")[0] == key) - 1]

    assert " to " in comment, f"[{section}] {key}: the comment gives no range: {comment}"


def test_example_holds_no_key_that_is_unknown():
    raw = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))

    assert {(section, key) for section, keys in raw.items() for key in keys} == set(KEYS)
