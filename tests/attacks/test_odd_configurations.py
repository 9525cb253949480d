"""A mistaken operator: ``config.toml`` and ``.env`` of every strange shape end in one clear line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.__main__ import main
from bot.commands.main import EXIT_CONFIG
from bot.config import ConfigError, config_path, load_settings


def holds(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


SHAPES: dict[str, Callable[[Path], object]] = {
    "folder, as Docker makes of a file that is not there": lambda path: path.mkdir(),
    "pipe without a writer": os.mkfifo,
    "link to nothing": lambda path: path.symlink_to("nothing"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "device": lambda path: path.symlink_to("/dev/zero"),
    "UTF-16": holds("[bot]\n".encode("utf-16")),
    "NUL": holds(b"A=b\0c\n"),
}
CONTENTS = {
    "number of 5,000 digits": b"[limits]\nmember_messages = " + b"9" * 5000,
    "5,000 brackets": b"x = " + b"[" * 5000 + b"]" * 5000,
    "key twice": b"[bot]\nproxy = ''\nproxy = ''\n",
    "section that is a list": b"bot = []",
    "section twice": b"[[bot]]\nproxy = ''",
    "key outside of a section": b"proxy = ''",
    "section that is none": b"[discord]\nproxy = ''",
    "no number": b"[generator]\ntimeout_s = nan",
    "no limit": b"[personalization]\ndelta_sd = inf",
    "half a character": b'[bot]\ntoken_env = "\\ud800"',
    "NUL in a path": b'[storage]\ndata_dir = "a\\u0000b"',
    "home of nobody": b'[storage]\ndata_dir = "~nobody-of-this-name/data"',
    "wrong quotes": "[bot]\nproxy = “direct”".encode(),
    "half a string": b'[bot]\nproxy = "direct',
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(capsys, name: str, *arguments: str) -> None:
    """Check that a command refuses to work, in one line that names the file or the key."""
    code = main([*arguments, "backup", "copy"])
    said = capsys.readouterr().err

    assert (code, said.count("\n")) == (EXIT_CONFIG, 1)
    assert said.startswith("simpatico: ")
    assert name in said


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "arguments"), [("config.toml", ()), ("c", ("--config", "c")), (".env", ())])
def test_a_file_of_a_strange_shape_is_one_line(shape, name, arguments, folder, capsys):
    SHAPES[shape](folder / name)

    told(capsys, name, *arguments)


@pytest.mark.parametrize("content", CONTENTS)
def test_a_configuration_of_strange_content_is_one_line(content, folder, capsys):
    (folder / "config.toml").write_bytes(CONTENTS[content])

    told(capsys, "data_dir" if b"data_dir" in CONTENTS[content] else "config.toml")


@pytest.mark.parametrize("given_", ["", ".", "x" * 300, "/proc/self/mem", "nowhere/config.toml"])
def test_a_path_that_leads_to_no_file_is_one_line(given_, capsys):
    told(capsys, Path(given_).name or ".", "--config", given_)


def test_a_locale_without_utf_8_is_one_line(folder):
    (folder / "config.toml").write_text('[storage]\ndata_dir = "dätä"', encoding="utf-8")
    environ = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    program = [sys.executable, "-m", "bot", "backup", "copy"]
    root = str(Path(__file__).parents[2])
    run = subprocess.run(program, env=environ | {"PYTHONPATH": root}, capture_output=True, check=False)

    assert (run.returncode, run.stderr.count(b"\n")) == (EXIT_CONFIG, 1)
    assert b"data_dir: this system's locale (ascii) cannot write such a path; set PYTHONUTF8=1" in run.stderr


TOML = st.text("[]{}=.,\"'\\#\n ab1-:e+_\x00é", max_size=60).map(lambda text: "[bot]\n" + text)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=60), TOML.map(str.encode)))
def test_whatever_the_file_holds_it_is_read_or_refused(tmp_path, content):
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    try:
        load_settings(path)
    except ConfigError as exc:
        assert all(line.startswith(str(path)) for line in str(exc).splitlines())


def test_control_a_check_for_existence_takes_a_broken_link_for_no_configuration(folder):
    (folder / "config.toml").symlink_to("nothing")

    assert not Path("config.toml").exists()
    assert config_path(None) == Path("config.toml")
