"""Fitting a starter and keeping it: once, resumed after an interruption, with progress and a reason."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from personalization.encoding.features import FeatureMap
from personalization.errors import DatasetBroken
from personalization.heads.kept_starter import KeptStarter
from personalization.lab.own_starter import fitting
from personalization.lab.own_starter.fitting import fit_and_keep
from tests.fakes import HashEncoder
from tests.judgement_sets import DATA, bots


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> list[Path]:
    return [bots(tmp_path_factory.mktemp("sets")), DATA / "made_up_thumbs"]


def kept_in(folder: Path) -> KeptStarter:
    return KeptStarter(folder, FeatureMap(HashEncoder()))


def test_a_starter_is_fitted_once_and_nothing_else_is_left(tmp_path, sets, monkeypatch):
    told = []
    tell = fitting._percent
    monkeypatch.setattr(fitting, "_percent", lambda share: told.append(tell(share)) or told[-1])
    first = HashEncoder()

    path = fit_and_keep(first, "cpu", tmp_path, sets)
    again = fit_and_keep(second := HashEncoder(), "cpu", tmp_path, sets)

    assert path is not None and again is None
    assert (first.n_texts > 0, second.n_texts) == (True, 0)
    assert {each.suffix for each in tmp_path.iterdir()} == {".safetensors", ".lock"}
    percents = [int(each[:-1]) for each in told]
    assert percents == sorted(percents)
    assert (percents[0], percents[-1]) == (0, 100)
    assert kept_in(tmp_path).told() == "done"


def test_of_two_processes_one_fits(tmp_path, sets):
    encoders = [HashEncoder(), HashEncoder()]
    found = []
    fits = [
        threading.Thread(target=lambda one=one: found.append(fit_and_keep(one, "cpu", tmp_path, sets)))
        for one in encoders
    ]
    for fit in fits:
        fit.start()
    for fit in fits:
        fit.join()

    assert sorted(one.n_texts > 0 for one in encoders) == [False, True]
    assert found.count(None) == 1


class Interrupted(HashEncoder):
    """An encoder that stops in the middle, as when the process is killed."""

    def encode(self, texts):
        if self.n_texts > 90:
            raise KeyboardInterrupt
        return super().encode(texts)


def test_an_interrupted_fit_starts_again_and_encodes_only_what_is_missing(tmp_path, sets, monkeypatch):
    monkeypatch.setattr("personalization.lab.encoding_cache.TEXTS_PER_FILE", 64)
    with pytest.raises(KeyboardInterrupt):
        fit_and_keep(Interrupted(), "cpu", tmp_path, sets)
    assert not kept_in(tmp_path).is_being_fitted()

    fit_and_keep(resumed := HashEncoder(), "cpu", tmp_path, sets)
    fit_and_keep(whole := HashEncoder(), "cpu", tmp_path / "whole", sets)

    assert resumed.n_texts < whole.n_texts - 60
    assert kept_in(tmp_path).path().name == kept_in(tmp_path / "whole").path().name  # the same bytes


def test_a_failure_is_told(tmp_path, sets):
    with pytest.raises(DatasetBroken, match="expected dataset"):
        fit_and_keep(HashEncoder(), "cpu", tmp_path, [*sets, tmp_path / "none"])

    assert kept_in(tmp_path).told().startswith("failed: expected dataset.json")
    assert kept_in(tmp_path).path() is None
