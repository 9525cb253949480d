"""``simpatico adapt-encoder`` from its arguments to a folder that the configuration can name."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import pytest

from bot.commands.lab.adapt_encoder import labels_of
from bot.commands.main import run
from personalization.encoding.adapter import is_adapter
from personalization.encoding.loading import load_encoder
from tests.tiny_encoder import judged, write_set, write_tiny_encoder

HOW = "--all-linear --rank 4 --learning-rate 0.03 --replies 8 --rounds 4".split()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a configuration that names a tiny encoder."""
    monkeypatch.chdir(tmp_path)
    write_tiny_encoder(tmp_path / "encoder")
    (tmp_path / "config.toml").write_text('[personalization]\nencoder = "encoder"\ndevice = "cpu"\n')
    return tmp_path


@pytest.mark.slow
def test_an_adapter_that_helps_is_written_and_can_be_configured(place, capsys):
    write_set(place / "set", judged())

    code = run(["adapt-encoder", "set", "--out", "adapted", *HOW])

    said = capsys.readouterr().out
    assert code == 0
    assert 'encoder = "adapted"' in said
    assert " who took no part judged: +0." in said
    adapted, base = (load_encoder(name, "cpu") for name in ("adapted", "encoder"))
    assert adapted.encoder_id != base.encoder_id
    assert np.abs(adapted.encode(["hot tea"]) - base.encode(["hot tea"])).max() > 1e-3
    assert list((place / "adapted" / "curves").glob("events.out.tfevents.*"))
    assert not (place / "adapted" / "checkpoint.safetensors").exists()
    assert run(["adapt-encoder", "set", "--out", "adapted", *HOW]) == 2  # never overwrites an adapter
    assert "there is an adapter already" in capsys.readouterr().err


def test_an_adapter_that_does_not_help_is_not_written(place, capsys):
    write_set(place / "set", judged(noise=True))

    code = run(["adapt-encoder", "set", "--out", "adapted", *HOW, "--rounds", "2"])

    assert code == 0
    assert "Not adopted" in capsys.readouterr().out
    assert not is_adapter(place / "adapted")


def test_regularised_training_is_compared_with_plain_training_on_the_same_jury(place, capsys):
    write_set(place / "set", judged(noise=True))

    options = ["--augment", "--adversarial", "--rounds", "1"]
    code = run(["adapt-encoder", "set", "--out", "adapted", *HOW, *options])

    said = capsys.readouterr().out
    assert code == 0
    first, plain = said.split("The same without --augment and --adversarial:")
    judges = [re.search(r"(\d+) members who took no part judged: [+-]", part)[1] for part in (first, plain)]
    assert judges[0] == judges[1]
    assert re.search(rf"Difference, by the same {judges[0]} members: [+-]0\.\d{{4}} ± 0\.\d{{4}}", said)
    assert "Used below: the " in said
    assert not list((place / "adapted").rglob("checkpoint*"))
    assert len(list((place / "adapted").rglob("events.out.tfevents.*"))) == 2


def test_who_is_tested_and_what_they_are_asked_about_is_left_out():
    dataset = judged()

    labels = labels_of(dataset, 1)

    users = {dataset.users[i] for i in dataset.user[labels]}
    groups = {dataset.groups[i] for i in dataset.item[labels, 0]}
    assert users == {u for u in dataset.users if hashlib.sha256(f"{u}/dev".encode()).digest()[0] % 5}
    assert groups == {g for g in dataset.groups if hashlib.sha256(f"1/{g}".encode()).digest()[0] < 128}
    assert labels_of(dataset, None).tolist() == [*range(len(dataset.y))]


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--rank", "0"), ("--rounds", "0"), ("--dropout", "1"), ("--learning-rate", "0"), ("--layers", "0")],
)
def test_an_argument_out_of_range_is_one_line(place, capsys, flag, value):
    assert run(["adapt-encoder", "set", "--out", "adapted", flag, value]) == 2

    assert f"simpatico: {flag} " in capsys.readouterr().err


def test_a_set_that_is_not_there_is_one_line(place, capsys):
    assert run(["adapt-encoder", "nowhere", "--out", "adapted"]) == 2

    assert "expected dataset.json" in capsys.readouterr().err
