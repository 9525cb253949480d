"""The command line: every failure to start is one readable line and an exit code."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from bot.__main__ import main
from bot.commands.main import EXIT_CONFIG, EXIT_MODEL, EXIT_STORAGE


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder without a token."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(os.environ, "DISCORD_TOKEN", raising=False)
    return tmp_path


@pytest.fixture
def whole_bot():
    """All packages of a start: without them it is refused in words of its own (`make test-pythons`)."""
    for name in ("torch", "simcord"):
        pytest.importorskip(name)


def config(folder, text: str) -> str:
    path = folder / "config.toml"
    path.write_text(text)
    return str(path)


def test_an_unknown_key_is_one_line(folder, capsys):
    code = main(["--config", config(folder, "[bot]\ntokn = 1\n"), "models"])

    assert code == EXIT_CONFIG
    assert capsys.readouterr().err == (
        f"simpatico: {folder}/config.toml: [bot] tokn: unknown key; did you mean token_env?;"
        " config.example.toml lists the known ones\n"
    )


def test_a_missing_configuration_file_is_told(folder, capsys):
    code = main(["--config", "nowhere.toml", "models"])

    assert code == EXIT_CONFIG
    assert "nowhere.toml: no such file" in capsys.readouterr().err


def test_an_env_file_that_is_no_text_is_told(folder, capsys):
    (folder / ".env").write_bytes(b"\xff\xfe\x00")

    assert main(["models"]) == EXIT_CONFIG
    assert ".env: expected text in UTF-8" in capsys.readouterr().err


def test_a_server_address_that_is_none_is_told(folder, capsys):
    code = main(
        ["--config", config(folder, '[generator]\nkind = "openai"\nbase_url = "http://[::1"\n'), "models"]
    )

    assert code == EXIT_CONFIG
    assert "[generator] base_url: expected http:// or https:// and a host" in capsys.readouterr().err


@pytest.mark.usefixtures("whole_bot")
def test_a_data_folder_that_is_a_file_is_told(folder, capsys, monkeypatch):
    (folder / "data").write_text("not a folder")
    monkeypatch.setitem(os.environ, "DISCORD_TOKEN", "not.a.token")

    assert main(["run"]) == EXIT_STORAGE
    assert "data" in capsys.readouterr().err


def test_the_light_entry_module_loads_nothing_heavy():
    code = "import sys, bot.__main__; print(*sorted(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert {"torch", "discord", "transformers", "sqlalchemy"} & set(shown.stdout.split()) == set()


@pytest.mark.usefixtures("whole_bot")
def test_a_missing_model_is_told(folder, capsys):
    code = main(["--config", config(folder, f'[generator]\nmodel = "{folder}/nothing-here"\n'), "playground"])

    assert code == EXIT_MODEL
    assert "nothing-here" in capsys.readouterr().err


@pytest.mark.usefixtures("whole_bot")
def test_a_missing_encoder_is_told(folder, capsys):
    code = main(
        ["--config", config(folder, f'[personalization]\nencoder = "{folder}/no-encoder"\n'), "playground"]
    )

    assert code == EXIT_MODEL
    assert "no-encoder" in capsys.readouterr().err


@pytest.mark.usefixtures("whole_bot")
@pytest.mark.parametrize("port", [99999, -1])
def test_a_port_that_does_not_exist_is_told(folder, capsys, port):
    code = main(["--port", str(port), "playground"])

    assert code == EXIT_CONFIG
    assert f"--port {port}: cannot be opened" in capsys.readouterr().err


@pytest.mark.usefixtures("whole_bot")
def test_a_port_in_use_is_told(folder, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        code = main(["--port", str(port), "playground"])

    assert code == EXIT_CONFIG
    assert f"--port {port}: cannot be opened" in capsys.readouterr().err


@pytest.mark.usefixtures("whole_bot")
def test_a_damaged_database_is_told(folder, capsys, monkeypatch):
    (folder / "data").mkdir()
    (folder / "data" / "data.db").write_bytes(b"this is no database" * 1000)
    monkeypatch.setitem(os.environ, "DISCORD_TOKEN", "not.a.token")

    code = main(["run"])

    assert code == EXIT_STORAGE
    assert "data" in capsys.readouterr().err


@pytest.mark.usefixtures("whole_bot")
def test_an_unreadable_key_file_is_told(folder, capsys, monkeypatch):
    (folder / "data" / "keys").mkdir(parents=True)
    (folder / "data" / "keys" / "master.key").write_text("too short")
    (folder / "data" / "keys" / "master.key").chmod(0o600)
    monkeypatch.setitem(os.environ, "DISCORD_TOKEN", "not.a.token")

    code = main(["run"])

    assert code == EXIT_STORAGE
    assert "master.key" in capsys.readouterr().err
