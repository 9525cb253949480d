"""``simpatico doctor`` on set-ups that are really broken: the command, disk and port; it changes nothing."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bot.__main__ import main
from bot.config import parse_settings
from bot.doctor import Verdict
from bot.doctor import stored_data as keeping
from bot.doctor.ports import examine_ports
from bot.doctor.stored_data import examine_disk
from bot.settings import OperatorSettings
from tests.rig.damaged import write_language_model
from tests.tiny_encoder import write_tiny_encoder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder without a token, with a tiny encoder and a tiny model file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISCORD_TOKEN", raising=False)
    write_language_model(tmp_path / "model")
    write_tiny_encoder(tmp_path / "encoder")
    (tmp_path / "config.toml").write_text(
        f'[generator]\nmodel = "{tmp_path}/model"\ndevice = "cpu"\nmax_new_tokens = 8\n'
        f'[personalization]\nencoder = "{tmp_path}/encoder"\n'
    )
    return tmp_path


def test_a_sound_set_up_passes_and_a_missing_token_is_a_warning(folder, capsys):
    code = main(["doctor"])

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert [line.split()[:2] for line in lines[:-2]] == [
        ["ok", "configuration"],
        ["ok", "libraries"],
        ["warning", "token"],
        ["ok", "model"],
        ["ok", "device"],
        ["ok", "encoder"],
        ["ok", "starter"],
        ["ok", "keys"],
        ["ok", "database"],
        ["ok", "disk"],
        ["ok", "port"],
    ]
    assert lines[-1] == "Ready to run; 1 to look at."


def test_a_failed_check_is_the_exit_code(folder, capsys):
    (folder / "model" / "config.json").write_bytes(b"<html>404</html>")

    code = main(["doctor"])

    shown = capsys.readouterr().out
    assert code == 1
    assert "failed   model" in shown and "config.json is damaged" in shown
    assert shown.endswith("1 failed: the bot will not run until this is fixed.\n")


def test_a_configuration_that_cannot_be_read_is_the_first_and_last_line(folder, capsys):
    (folder / "config.toml").write_text("[bot]\ntokn = 1\nqueue_per_channel = 0\n")

    code = main(["doctor"])

    lines = capsys.readouterr().out.splitlines()
    assert code == 1
    assert [line.split()[0] for line in lines[:-2]] == ["failed", "failed"]
    assert ["[bot] queue_per_channel" in lines[0], "[bot] tokn: unknown key" in lines[1]] == [True, True]


def everything_in(folder: Path):
    return parse_settings(
        {
            "storage": {"data_dir": str(folder / "data"), "key_dir": str(folder / "keys")},
            "generator": {"model_dir": str(folder / "models")},
        }
    )


@pytest.mark.parametrize(
    ("least", "few", "verdict"), [(0, 0, "ok"), (0, 2**60, "warning"), (2**60, 2**60, "failed")]
)
def test_little_room_on_the_disk_is_told(tmp_path, monkeypatch, least, few, verdict):
    monkeypatch.setattr(keeping, "LEAST_BYTES", least)
    monkeypatch.setattr(keeping, "FEW_BYTES", few)

    (finding,) = examine_disk(everything_in(tmp_path))

    assert finding.verdict.value == verdict


def test_a_file_where_a_folder_should_be_fails(tmp_path):
    (tmp_path / "data").write_text("")

    assert [f.verdict.value for f in examine_disk(everything_in(tmp_path))] == ["ok", "failed"]


def test_a_port_that_is_taken_is_told():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (busy,) = examine_ports(OperatorSettings(metrics_port=taken.getsockname()[1]))
        port = taken.getsockname()[1]
    (free,) = examine_ports(OperatorSettings(metrics_port=port))

    assert (busy.verdict, free.verdict) == (Verdict.WARNING, Verdict.OK)
