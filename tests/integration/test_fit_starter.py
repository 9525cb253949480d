"""``simpatico fit-starter`` from folders of judgements to the file of the starter prior."""

from __future__ import annotations

import pytest

from bot.config import ConfigError
from personalization.errors import DatasetBroken
from personalization.lab.starter_mean import RECIPE
from tests.judgement_sets import DATA, bots, fit


def test_the_starter_is_fitted_from_several_sets_to_the_same_bytes(tmp_path, capsys):
    sets = (bots(tmp_path, 3), DATA / "ukpconvarg1", DATA / "made_up_thumbs")

    for name in ("one", "two"):
        fit(*sets, out=tmp_path / name)

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    first, second = capsys.readouterr().out.split("| the recipe |")[1:]
    assert "| dbdc3 | ukpconvarg1 | made_up_thumbs |" in first
    assert "with one chatbot left out: bot0 0." in second
    assert "fitted weight of relevance" in second
    assert second.count("chosen") == 1
    assert "SHA-256" in second


def test_the_choices_are_compared_with_their_neighbours_on_request(tmp_path, capsys):
    fit(bots(tmp_path, 3), DATA / "made_up_thumbs", out=tmp_path / "out", options=["--compare"])

    printed = capsys.readouterr().out
    assert all(f"| {name} |" in printed for name, _ in RECIPE.neighbours())


def test_a_starter_of_one_bot_is_refused(tmp_path):
    with pytest.raises(DatasetBroken, match="at least 3 chatbots"):
        fit(bots(tmp_path, 1), out=tmp_path / "out")


def test_the_same_set_twice_is_refused(tmp_path):
    folder = bots(tmp_path, 3)

    with pytest.raises(ConfigError, match="found one twice"):
        fit(folder, folder, out=tmp_path / "out")


def test_a_place_that_is_not_there_is_told_before_anything_is_fitted(tmp_path):
    with pytest.raises(ConfigError, match="expected a folder"):
        fit(tmp_path / "no such set", out=tmp_path / "nowhere" / "out")
