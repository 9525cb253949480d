"""``simpatico tune`` from its arguments to a table."""

from __future__ import annotations

import pytest

from bot.commands.main import run
from tests.tiny_encoder import judged, write_set, write_tiny_encoder


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a configuration that names a tiny encoder, and a set of judgements."""
    monkeypatch.chdir(tmp_path)
    write_tiny_encoder(tmp_path / "encoder")
    write_set(tmp_path / "set", judged(users=30, noise=True))
    (tmp_path / "config.toml").write_text('[personalization]\nencoder = "encoder"\ndevice = "cpu"\n')
    return tmp_path


def test_where_nothing_helps_the_settings_stay_and_nothing_is_written(place, capsys):
    code = run(["tune", "set", "--dev", "--trials", "2", "--folds", "1", "--out", "found.toml"])

    said = capsys.readouterr().out
    assert code == 0
    assert "| 32 | 0.125 | 0.25 | 0.2 | 2 |" in said  # the settings in use are the first trial
    assert "0 of 2 trials stopped early" in said
    assert "The settings in use stay" in said
    assert not (place / "found.toml").exists()


@pytest.mark.parametrize("flag", ["--trials", "--folds"])
def test_an_argument_out_of_range_is_one_line(place, capsys, flag):
    assert run(["tune", "set", flag, "0"]) == 2

    assert f"simpatico: {flag} 0: expected" in capsys.readouterr().err
