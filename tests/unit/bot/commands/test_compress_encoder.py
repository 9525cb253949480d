"""``simpatico compress-encoder`` from its arguments to a folder that the configuration can name."""

from __future__ import annotations

import re

import pytest

from bot.commands.main import run
from personalization.encoding.compressed import is_compressed
from personalization.encoding.loading import load_encoder
from tests.tiny_encoder import judged, write_set, write_tiny_encoder


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a configuration that names a tiny encoder, and a set."""
    monkeypatch.chdir(tmp_path)
    write_tiny_encoder(tmp_path / "encoder")
    (tmp_path / "config.toml").write_text('[personalization]\nencoder = "encoder"\ndevice = "cpu"\n')
    write_set(tmp_path / "set", judged(users=30, items=60))
    return tmp_path


def test_it_is_written_measured_and_can_be_configured(place, capsys):
    assert run(["compress-encoder", "set", "--out", "small"]) == 0

    said = capsys.readouterr().out
    assert re.search(r"Weights: 0\.\d MB, compressed 0\.\d MB", said)
    assert re.search(r"Time for a reply: \d+\.\d ms, compressed \d+\.\d ms; ratio \d+\.\d\d", said)
    assert re.search(r"for \d+ held-out members .*difference [+-]0\.\d{4} ± 0\.\d{4}", said)
    assert 'set  encoder = "small"' in said
    assert load_encoder("small", "cpu").encoder_id != load_encoder("encoder", "cpu").encoder_id

    assert run(["compress-encoder", "set", "--out", "small"]) == 2  # never overwrites one
    assert "there is a compressed encoder already" in capsys.readouterr().err
    (place / "config.toml").write_text('[personalization]\nencoder = "small"\n')
    assert run(["compress-encoder", "set", "--out", "smaller"]) == 2
    assert "expected a base to compress, found a compressed encoder" in capsys.readouterr().err
    assert not is_compressed(place / "smaller")


def test_a_set_that_is_not_there_is_one_line_and_writes_nothing(place, capsys):
    assert run(["compress-encoder", "nowhere", "--out", "small"]) == 2

    assert "expected dataset.json" in capsys.readouterr().err
    assert not (place / "small").exists()
