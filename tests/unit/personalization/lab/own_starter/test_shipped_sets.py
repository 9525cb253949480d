"""The sets that ship: permitted, small, reduced, pinned, and still the same judgements."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest

from personalization.errors import DatasetBroken
from personalization.heads.kept_starter import FITTED_BY
from personalization.heads.starter import FITTED_ON
from personalization.lab.datasets import read_dataset
from personalization.lab.own_starter import shipped_sets
from personalization.lab.own_starter.shipped_sets import FILES, SHIPPED, reduce_set, shipped_folders
from personalization.lab.starter_mean import RECIPE
from tests.judgement_sets import DATA

HOME = Path(shipped_sets.__file__).parents[2] / "judgements"


def test_what_ships_has_the_pinned_hash_and_is_small():
    folders = shipped_folders()

    assert [folder.name for folder in folders] == list(SHIPPED)
    assert sum(path.stat().st_size for path in HOME.rglob("*") if path.is_file()) < 1.5e6
    assert {path.name for path in HOME.iterdir()} == {*SHIPPED, "LICENSES.txt"}
    assert all({path.name for path in folder.iterdir()} == set(FILES) for folder in folders)


def test_a_set_ships_only_under_a_licence_that_permits_it_and_with_its_notice():
    notice = (HOME / "LICENSES.txt").read_text()
    project = tomllib.loads((HOME.parents[1] / "pyproject.toml").read_text())
    package = project["tool"]["setuptools"]["package-data"]["personalization"]

    for name in SHIPPED:
        about = json.loads((HOME / name / "dataset.json").read_text())
        assert re.search(r"MIT|CC BY 4\.0|Apache-2\.0", about["licence"]), name
        assert re.search(rf"^\d\. {name}: ", notice, re.MULTILINE), name
    assert {"judgements/LICENSES.txt", "judgements/*/*"} <= set(package)
    assert "Permission is hereby granted, free of charge" in notice
    assert "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION" in notice
    assert {"convai2018"} == FITTED_ON - set(SHIPPED), "its licence is not stated"


def test_no_id_of_a_person_or_a_platform_ships():
    for name in SHIPPED:
        dataset = read_dataset(HOME / name)
        assert all(re.fullmatch(r"\d+", user) for user in dataset.users)
        assert all(re.fullmatch(r"([A-Za-z]+(\(run\d\))?/)?\d+", group) for group in dataset.groups)


def test_starters_are_fitted_again_after_a_change_of_sets_or_recipe():
    """If it fails, write the new id into ``FITTED_BY``."""
    made = f"{shipped_sets.SETS_SHA256} {RECIPE!r}"

    assert hashlib.sha256(made.encode()).hexdigest()[:8] == FITTED_BY


@pytest.mark.parametrize("name", ["dbdc3", "ukpconvarg1", "made_up_thumbs"])
def test_reduced_judgements_are_the_same_and_give_the_same_bytes(tmp_path, name):
    reduced = [reduce_set(DATA / name, tmp_path / str(i)) for i in range(2)]

    whole = read_dataset(DATA / name)
    for one in reduced:
        assert (one.name, one.texts, one.messages) == (whole.name, whole.texts, whole.messages)
        np.testing.assert_array_equal(one.user, whole.user)
        np.testing.assert_array_equal(one.item, whole.item)
        np.testing.assert_allclose(one.y, whole.y, atol=1e-4)
        assert len(set(one.groups)) == len(set(whole.groups))
        chatbots = [[group.split("/")[0] for group in each.groups if "/" in group] for each in (one, whole)]
        assert chatbots[0] == chatbots[1]
    for file in FILES:
        assert (tmp_path / "0" / file).read_bytes() == (tmp_path / "1" / file).read_bytes()


@pytest.mark.parametrize("broken", ["missing", "changed"])
def test_sets_that_are_damaged_are_not_read(tmp_path, monkeypatch, broken):
    shutil.copytree(HOME, tmp_path / "judgements")
    labels = tmp_path / "judgements" / "mtbench" / "labels.jsonl.gz"
    if broken == "missing":
        labels.unlink()
    else:
        labels.write_bytes(labels.read_bytes()[:-1])
    monkeypatch.setattr(shipped_sets, "files", lambda package: tmp_path)

    with pytest.raises(DatasetBroken, match="reinstall the package"):
        shipped_folders()
