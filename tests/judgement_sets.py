"""Copies of the sets in ``tests/data`` with changes, and short calls of the commands that read them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

from bot.commands.lab import evaluate as evaluate_command
from bot.commands.lab import fit_starter
from bot.commands.main import command_parser
from bot.config import Settings
from personalization.encoding.encoder import Encoder
from tests.fakes import HashEncoder

DATA = Path(__file__).parent / "data"


def evaluate(folder: Path, *options: str, encoder: Encoder | None = None) -> None:
    """Run ``simpatico evaluate`` with the small encoder."""
    arguments = command_parser().parse_args(["evaluate", str(folder), *options])
    evaluate_command.run(arguments, Settings(), encoder=encoder or HashEncoder())


def fit(*folders: Path, out: Path, options: Sequence[str] = ()) -> None:
    """Run ``simpatico fit-starter`` with the small encoder."""
    arguments = command_parser().parse_args(["fit-starter", *map(str, folders), "--out", str(out), *options])
    fit_starter.run(arguments, Settings(), encoder=HashEncoder())


def strictly(path: Path) -> dict:
    """Read JSON that every reader accepts: no NaN, no infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not valid JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def copy_of(name: str, folder: Path, *, about=None, items=None, labels=None) -> Path:
    """Copy a set from ``tests/data``; functions may change its description, its items and its labels."""
    folder.mkdir()
    (folder / "dataset.json").write_text(
        json.dumps((about or (lambda same: same))(json.loads((DATA / name / "dataset.json").read_text())))
    )
    for part, change in (("items", items), ("labels", labels)):
        with gzip.open(DATA / name / f"{part}.jsonl.gz", "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        with gzip.open(folder / f"{part}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in (change(rows) if change else rows))
    return folder


def bots(folder: Path, n: int = 3) -> Path:
    """Copy the excerpt of dbdc3, with its dialogues dealt out to ``n`` bots."""
    return copy_of(
        "dbdc3",
        folder / f"{n} bots",
        items=lambda rows: [
            row | {"group": f"bot{int(row['group'][-2:]) % n}/{row['group']}"} for row in rows
        ],
    )
