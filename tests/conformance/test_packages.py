"""The wheel and the source distribution are whole, and run from any folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.rig import release

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    """Both packages, built from the tracked files alone."""
    copy, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in release.tracked():
        if (release.ROOT / name).is_file():  # a deleted file may still be tracked
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((release.ROOT / name).read_bytes())
    for made in ("sdist", "wheel"):  # each in a process of its own: a build leaves state behind
        build = f"import setuptools.build_meta as b, sys; b.build_{made}(sys.argv[1])"
        subprocess.run([sys.executable, "-c", build, str(built)], cwd=copy, check=True, capture_output=True)
    return built


def test_both_packages_hold_every_file_and_carry_the_version(dist):
    assert list(release.mistakes_in_packages(dist)) == []


def test_a_package_that_lacks_a_file_is_found(dist, tmp_path):
    import zipfile

    (wheel,) = dist.glob("*.whl")
    poorer = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(poorer, "w") as file:
        for name in whole.namelist():
            if not name.endswith("de.po"):
                file.writestr(name, whole.read(name))
    assert release.missing_from_wheel(poorer) == ["bot/locales/de.po"]


@pytest.fixture(scope="module")
def installed(dist, tmp_path_factory) -> Path:
    """The wheel in an environment of its own, which has the other packages of this one."""
    place = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    (wheel,) = dist.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True, capture_output=True)
    site = next((place / "lib").glob("python*/site-packages"))
    # Behind its own packages, and only as a folder: the editable install of this checkout stays out.
    (site / "others.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return place / "bin" / "simpatico"


def ran(command: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
    return subprocess.run(
        [str(command), *arguments], cwd=folder, env=variables, capture_output=True, text=True, timeout=240
    )


def test_the_installed_command_runs_from_an_empty_folder(installed, tmp_path):
    assert release.version() in ran(installed, tmp_path, "--version").stdout

    example = ran(installed, tmp_path, "example-config").stdout
    assert example == (release.ROOT / "config.example.toml").read_text()
    (tmp_path / "config.toml").write_text(example)

    checked = ran(installed, tmp_path, "upgrade-check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "the data stay as they are" in checked.stdout
    assert list(tmp_path.iterdir()) == [tmp_path / "config.toml"]


def test_the_installed_package_is_the_one_that_runs(installed, tmp_path):
    where = "import bot, personalization, storage; print(bot.__file__, storage.__file__)"
    found = ran(installed.with_name("python"), tmp_path, "-c", where).stdout
    assert found.count(str(installed.parents[1])) == 2


@pytest.mark.parametrize(
    ("text", "is_ready"),
    [
        ("# Changelog\n\n## 0.1.0 (2026-12-01)\n\n* Words.\n", True),
        ("# Changelog\n\n## 0.1.0 (unreleased)\n", False),
        ("# Changelog\n\n## 0.2.0 (2026-12-01)\n## 0.1.0 (2026-11-01)\n", False),
        ("", False),
    ],
)
def test_a_changelog_is_ready_with_a_dated_heading_of_this_version(text, is_ready):
    assert (list(release.mistakes_in_changelog(text, "0.1.0")) == []) is is_ready


def test_every_picture_of_the_pages_exists():
    assert list(release.mistakes_in_pictures()) == []
