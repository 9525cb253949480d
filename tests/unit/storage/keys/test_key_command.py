"""The program that prints the master key: real small programs, good and bad ones."""

import base64
import os
import time

import pytest

from storage.errors import KeyUnreadable
from storage.keys.key_command import KeyCommand
from storage.keys.master_key import KEY_FILE, source_of
from tests.unit.storage.given import settings_in

KEY, NEXT = bytes(range(32)), b"n" * 32
LINE, NEXT_LINE = (base64.b64encode(key).decode() for key in (KEY, NEXT))
SECRET = "hunter2"


@pytest.fixture
def program(tmp_path):
    """Write a shell script and return its path."""

    def write(script: str) -> str:
        path = tmp_path / "print-key"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        return str(path)

    return write


def source(tmp_path, *command):
    return source_of(settings_in(tmp_path, master_key_command=command))


@pytest.mark.parametrize(
    "script",
    [f"echo {LINE}", f"printf {LINE}", f"printf '{LINE}\\r\\n'", f"printf '\\n  {LINE}  \\n\\n'"],
    ids=["line", "no line end", "windows", "blanks"],
)
def test_the_output_is_the_key(tmp_path, program, script):
    assert source(tmp_path, program(script)).keys() == (KEY, None)


def test_arguments_reach_the_program_without_a_shell(tmp_path, program):
    key_source = source(tmp_path, program('[ "$1" = "a b; exit 9" ] && echo $2'), "a b; exit 9", LINE)

    assert key_source.keys() == (KEY, None)


def test_a_program_is_found_on_the_path(tmp_path):
    assert source(tmp_path, "echo", LINE).keys() == (KEY, None)


def test_a_second_line_is_the_next_key(tmp_path, program):
    assert source(tmp_path, program(f"echo {LINE}; echo {NEXT_LINE}")).keys() == (KEY, NEXT)


def test_the_program_goes_before_variable_and_file(tmp_path, program, monkeypatch):
    settings = settings_in(tmp_path, master_key_command=(program(f"echo {LINE}"),))
    monkeypatch.setenv(settings.master_key_env, base64.b64encode(b"e" * 32).decode())
    settings.key_dir.mkdir()
    (settings.key_dir / KEY_FILE).write_text(base64.b64encode(b"f" * 32).decode())

    assert source_of(settings).keys() == (KEY, None)


BAD = {
    "fails": (f"echo {LINE}; echo {SECRET} >&2; exit 3", "it ended with exit status 3"),
    "is killed": (f"echo {LINE}; kill -9 $$", "it ended with signal 9"),
    "prints nothing": ("true", "found 0"),
    "prints a word": (f"echo {SECRET}", "found something else"),
    "prints too short a key": ("echo aHVudGVyMg==", "found 7"),
    "prints three lines": (f"echo {LINE}; echo {LINE}; echo {LINE}", "found 3"),
    "prints bytes": (r"printf '\377\376hunter2'", "found something else"),
    "prints without end": (f"while :; do echo {SECRET}; done", "it printed more than 4,096 bytes"),
}


@pytest.mark.parametrize("how", BAD)
def test_a_bad_program_is_named_and_what_it_printed_is_not_shown(tmp_path, program, how, capfd):
    script, message = BAD[how]
    path = program(script)

    with pytest.raises(KeyUnreadable, match=message) as caught:
        source(tmp_path, path, f"--token={SECRET}").keys()

    shown = "".join(capfd.readouterr())
    cause = caught.value
    while cause is not None:
        shown += repr(cause)
        cause = cause.__cause__ or cause.__context__
    assert path in str(caught.value)
    assert SECRET not in shown
    assert LINE not in shown


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("/nowhere/print-key", "cannot be started (No such file or directory)"),
        ("/etc/passwd", "cannot be started (Permission denied)"),
        ("./print-key", "expected a name on PATH or an absolute path"),
        ("no-such-program-anywhere", "cannot be started"),
        ("nul\0byte", "cannot be started (bad argument)"),
        ("", "cannot be started"),
    ],
)
def test_a_program_that_cannot_be_started_is_named(tmp_path, command, message):
    with pytest.raises(KeyUnreadable) as caught:
        source(tmp_path, command).keys()

    assert message in str(caught.value)


@pytest.mark.parametrize(
    "script",
    ["sleep 60", "trap '' TERM; sleep 60", "sleep 60 & sleep 60", "exec 1>&-; sleep 60", "sleep 60 &"],
    ids=["sleeps", "ignores signals", "starts another", "closes its output", "leaves another"],
)
def test_a_program_that_does_not_end_is_ended_in_time_with_all_it_started(program, script, tmp_path):
    command = KeyCommand([program(f"echo $$ > {tmp_path}/group; {script}")], limit_s=0.3)
    began = time.monotonic()

    with pytest.raises(KeyUnreadable, match="it did not end within"):
        command.lines()

    assert time.monotonic() - began < 5
    group = int((tmp_path / "group").read_text())
    with pytest.raises(ProcessLookupError):
        for _ in range(100):  # a killed process is reaped a moment later
            os.killpg(group, 0)
            time.sleep(0.02)
