"""A broken package is one line, and every command that does not need the package works without it.

The commands are taken from the argument parser. Each runs in a child process in which the package lies broken
on the path: its import raises what broken installations raise. Control: the same child cannot import the
package, and the commands that need it do fail.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.bot.commands.test_command_line import ARGUMENTS, commands

ROOT = Path(__file__).parents[4]

NEED_TORCH = {"run", "playground", "evaluate", "adapt-encoder", "compress-encoder", "tune", "fit-starter"}
NEED_NUMPY = NEED_TORCH | {"report"}
NEED_DISCORD = {"run", "playground", "report"}
# `train` needs PostgreSQL; tests/integration/test_training.py runs it.
EXPERIMENTS = {"models", "evaluate", "adapt-encoder", "compress-encoder", "tune", "fit-starter"}
"""Commands that take long where torch is sound."""
NEED_FCNTL = {"run", "playground", "report", "restore", "restore-keys", "rotate-key", "forget", "audit"}

CHILD = """
import contextlib, io, json, sys
from bot.__main__ import main
done = {}
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(words)
        except SystemExit as exc:
            code = exc.code
        except BaseException as exc:
            code = f"{type(exc).__name__}: {exc}"
    done[words[0]] = [code, out.getvalue(), err.getvalue()]
print(json.dumps(done))
"""


def broken(package: str, error: str, folder: Path) -> Path:
    """Write a package whose import raises an error."""
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").write_text(f"raise {error}\n")
    return folder


def child(code: str, *arguments: str, path: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "DISCORD_TOKEN"}
    env |= {"PYTHONPATH": f"{path}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=250,
    )


def run_all(words: list[tuple[str, ...]], *, path: Path, cwd: Path) -> dict[str, tuple[object, str, str]]:
    """Run commands one after the other: command -> exit code, output, errors."""
    done = child(CHILD, json.dumps(words), path=path, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def folder(tmp_path, empty_store):
    """A folder with a store; the language model is a server that is not there, so nothing large loads."""
    empty_store(tmp_path / "work")
    (tmp_path / "work" / "config.toml").write_text(
        '[storage]\ndata_dir = "data"\nkey_dir = "keys"\n'
        '[generator]\nkind = "openai"\nmodel = "x"\nbase_url = "http://127.0.0.1:9/v1"\nretries = 0\n'
    )
    return tmp_path / "work"


def test_every_command_has_its_line():
    assert set(ARGUMENTS) == set(commands())


@pytest.mark.parametrize(
    ("package", "error", "need", "said"),
    [
        ("torch", "OSError('libcudart.so.12: cannot open shared object file')", NEED_TORCH, "libcudart"),
        ("torch", "ImportError('undefined symbol: _ZN3c10')", NEED_TORCH, "undefined symbol"),
        ("torch", "ModuleNotFoundError(\"No module named 'torch'\", name='torch')", NEED_TORCH, "No module"),
        ("numpy", "RuntimeError('CPU dispatcher tracer already initialized')", NEED_NUMPY, "dispatcher"),
        ("discord", "AttributeError('no attribute audioop')", NEED_DISCORD, "audioop"),
        ("fcntl", "ModuleNotFoundError(\"No module named 'fcntl'\", name='fcntl')", NEED_FCNTL, "WSL"),
    ],
    ids=["torch-library", "torch-symbol", "torch-missing", "numpy", "discord", "fcntl"],
)
def test_a_broken_package_is_one_line_and_other_commands_work(package, error, need, said, folder, tmp_path):
    path = broken(package, error, tmp_path / "broken")
    left_out = {"doctor", "upgrade-check", "train"} | (set() if need >= NEED_TORCH else EXPERIMENTS)
    words = [(name, *given) for name, given in ARGUMENTS.items() if name not in left_out]

    done = run_all([*words, ("--version",), ("--help",)], path=path, cwd=folder)

    assert done["--version"][0] == done["--help"][0] == 0
    failing = {name for name, (code, _, _) in done.items() if code != 0}
    assert failing == need, {name: done[name] for name in failing ^ need}
    for name in need:
        code, _, errors = done[name]
        (line,) = [line for line in errors.splitlines() if line.startswith("simpatico: ")]
        assert code in (3, 4) and said in line and package in line, (name, done[name])
        assert "Traceback" not in errors


def test_the_doctor_reports_a_broken_package_once_and_goes_on(folder, tmp_path):
    package = "torch"
    path = broken(package, f"ModuleNotFoundError('broken here', name='{package}')", tmp_path / "broken")

    code, out, errors = run_all([("doctor",)], path=path, cwd=folder)["doctor"]

    lines = [line for line in out.splitlines() if "broken here" in line or "WSL" in line]
    assert code == 1 and len(lines) == 1, (code, out, errors)
    assert lines[0].startswith("failed") and package in lines[0]
    assert "disk" in out and "port" in out and "Traceback" not in errors


def test_control_the_child_cannot_import_what_is_broken(tmp_path):
    path = broken("torch", "OSError('libcudart')", tmp_path / "broken")

    done = child("import personalization.devices", path=path, cwd=tmp_path)

    assert done.returncode == 1 and "OSError: libcudart" in done.stderr


def test_nothing_heavy_is_imported_for_the_version():
    heavy = {"torch", "transformers", "numpy", "matplotlib", "discord", "openai", "huggingface_hub"}
    heavy |= {"sqlalchemy", "alembic", "pydantic", "shtab"}
    code = "import sys, bot.commands.main as m; m.command_parser(); print(*sorted(sys.modules))"

    done = child(code, path=ROOT, cwd=ROOT)

    assert heavy & set(done.stdout.split()) == set()
