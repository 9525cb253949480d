"""``simpatico fit-starter`` from a folder of judgements to the file of the starter prior."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.config import ConfigError
from personalization.errors import DatasetBroken
from tests.judgement_sets import copy_of, fit


def bots(folder: Path, n: int) -> Path:
    """Copy the excerpt of dbdc3, with its dialogues dealt out to ``n`` bots."""
    return copy_of(
        "dbdc3",
        folder / f"{n} bots",
        items=lambda rows: [
            row | {"group": f"bot{int(row['group'][-2:]) % n}/{row['group']}"} for row in rows
        ],
    )


def test_the_starter_is_fitted_from_a_folder_to_the_same_bytes(tmp_path, capsys):
    folder = bots(tmp_path, 3)

    for name in ("one", "two"):
        fit(folder, tmp_path / name)

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    printed = capsys.readouterr().out
    assert printed.count("chosen") == 4
    assert "SHA-256" in printed


def test_a_starter_of_one_bot_is_refused(tmp_path):
    with pytest.raises(DatasetBroken, match="at least 3 chatbots"):
        fit(bots(tmp_path, 1), tmp_path / "out")


def test_a_place_that_is_not_there_is_told_before_anything_is_fitted(tmp_path):
    with pytest.raises(ConfigError, match="expected a folder"):
        fit(tmp_path / "no such set", tmp_path / "nowhere" / "out")
