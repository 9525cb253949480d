"""``make release-check``: everything that a release needs, each with what is missing.

``python -m tests.rig.release --version`` prints the version alone.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("bot", "personalization", "storage")
PICTURES = re.compile(r"!\[[^\]]*\]\(([^)#]+\.(?:png|gif))\)")


def version() -> str:
    """Return the version of the project."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def tracked(*paths: str) -> list[str]:
    """Return the files of the repository below some paths."""
    found = subprocess.run(
        ["git", "ls-files", "-z", *paths], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [path for path in found.stdout.split("\0") if path]


def missing_from_wheel(wheel: Path) -> list[str]:
    """Return the files of the packages that a wheel lacks; tests and released data are no part of it."""
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    return sorted(set(tracked(*PACKAGES)) - names)


def missing_from_source(source: Path) -> list[str]:
    """Return the files of the repository that a source distribution lacks, but for hidden ones."""
    with tarfile.open(source) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    return sorted(path for path in tracked() if path not in names and not path.startswith("."))


def mistakes_in_changelog(text: str, found_version: str) -> Iterator[str]:
    """Yield what the changelog lacks for a release of this version."""
    heading = next((line for line in text.splitlines() if line.startswith("## ")), "")
    if not re.fullmatch(rf"## {re.escape(found_version)} \(\d{{4}}-\d{{2}}-\d{{2}}\)", heading):
        yield f"CHANGELOG.md: expected ## {found_version} (date) as the first heading, found {heading!r}"


def mistakes_in_pictures() -> Iterator[str]:
    """Yield the pictures that the pages show and that do not exist."""
    for page in [path for path in tracked() if path.endswith(".md")]:
        for shown in PICTURES.findall((ROOT / page).read_text()):
            if "://" not in shown and not ((ROOT / page).parent / shown).is_file():
                yield f"{page}: expected the picture {shown}, found no such file"


def mistakes_in_packages(dist: Path) -> Iterator[str]:
    """Yield what the built packages lack."""
    wheels, sources = sorted(dist.glob("*.whl")), sorted(dist.glob("*.tar.gz"))
    if len(wheels) != 1 or len(sources) != 1:
        yield f"{dist.name}/: expected one wheel and one source distribution; run make dist"
        return
    for path in (*wheels, *sources):
        if f"-{version()}" not in path.name:
            yield f"{path.name}: expected version {version()}"
    for name in missing_from_wheel(wheels[0]):
        yield f"{wheels[0].name}: lacks {name}"
    for name in missing_from_source(sources[0]):
        yield f"{sources[0].name}: lacks {name}"


def mistakes_in_proofs() -> Iterator[str]:
    """Yield which of the tests about migrations, promises, locks and pages fail."""
    tests = [
        f"tests/conformance/test_{name}.py" for name in ("migrations", "promises", "locks", "docs_links")
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--no-header", *tests],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        yield from (line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR")))


def mistakes() -> Iterator[str]:
    """Yield everything that a release still lacks."""
    yield from mistakes_in_changelog((ROOT / "CHANGELOG.md").read_text(), version())
    yield from mistakes_in_pictures()
    yield from mistakes_in_packages(ROOT / "dist")
    if not (ROOT / "build" / "simpatico.cdx.json").is_file():
        yield "build/simpatico.cdx.json: expected the bill of materials; run make sbom"
    yield from mistakes_in_proofs()
    if subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True).stdout:
        yield "the working tree: expected no change that is not committed"


def main() -> int:
    """Print what a release lacks; return 1 if it lacks anything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", action="store_true", help="print the version alone")
    if parser.parse_args().version:
        print(version())
        return 0
    found = list(mistakes())
    print("\n".join(found) or f"Version {version()} can be released.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
