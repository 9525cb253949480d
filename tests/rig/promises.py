"""``make promises``: runs the proofs of ``docs/promises.md`` and prints one line per promise.

    P3 proven
    P4 not proven: no control

A proof is a test in ``tests/promises`` with the marker ``@pytest.mark.promise("P3")``. Its control, a test
whose name starts with ``test_control_``, switches the safeguard off and expects the same check to fail. A
promise is proven if it has both and all its tests passed. The exit code is 0 if every promise that the page
calls proven is proven. Arguments: the promises to prove, all by default.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.rig.size import FULL

ROOT = Path(__file__).parents[2]
PROOFS = ROOT / "tests" / "promises"
PAGE = ROOT / "docs" / "promises.md"
CONTROL = "test_control_"
_ROW = re.compile(r"^\| (P\d+) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """One row of the table in ``docs/promises.md``."""

    name: str
    promise: str
    proven_by: str
    status: str

    @property
    def is_proven(self) -> bool:
        return self.status.startswith("proven")


def rows(text: str) -> list[Row]:
    """Parse the rows of the page's table, in order."""
    return [Row(*found) for found in _ROW.findall(text)]


@dataclass
class Evidence:
    """Outcomes of the tests of one promise: test id -> outcome, the worst of its phases."""

    proofs: dict[str, str] = field(default_factory=dict)
    controls: dict[str, str] = field(default_factory=dict)

    @property
    def why_not(self) -> str | None:
        """Return what is missing for a proof; None if the promise is proven."""
        bad = [f"{test} {said}" for test, said in (self.proofs | self.controls).items() if said != "passed"]
        if bad:
            return ", ".join(bad)
        if not self.proofs:
            return "no proof"
        return None if self.controls else "no control"


def verdict(name: str, evidence: Evidence) -> str:
    """Format the line that ``make promises`` prints."""
    why = evidence.why_not
    return f"{name} proven" if why is None else f"{name} not proven: {why}"


class Tally:
    """Pytest plugin that selects the tests of the wanted promises and collects their outcomes."""

    def __init__(self, wanted: Collection[str]) -> None:
        self.wanted = wanted
        self.found: defaultdict[str, Evidence] = defaultdict(Evidence)

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        kept = [item for item in items if self._promises(item)]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept

    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        item.user_properties.append(("promises", self._promises(item)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = report.nodeid.rsplit("::", 1)[-1]
        for name in dict(report.user_properties).get("promises", ()):
            evidence = self.found[str(name)]
            outcomes = evidence.controls if test.startswith(CONTROL) else evidence.proofs
            if outcomes.get(test, "passed") == "passed":
                outcomes[test] = "xfailed" if hasattr(report, "wasxfail") else report.outcome

    def _promises(self, item: pytest.Item) -> list[str]:
        named = [str(mark.args[0]) for mark in item.iter_markers("promise")]
        return [name for name in named if name in self.wanted]


def main(arguments: Sequence[str]) -> int:
    """Run the proofs, print the verdicts, return the exit code."""
    table = rows(PAGE.read_text("utf-8"))
    wanted = list(arguments) or [row.name for row in table]
    if unknown := set(wanted) - {row.name for row in table}:
        print(f"{PAGE.name} has no promise {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    tally = Tally(wanted)
    unhurried = ["--timeout=0", "-o", "faulthandler_timeout=0"] if FULL else []
    pytest.main([str(PROOFS), "-q", "--no-header", f"--rootdir={ROOT}", *unhurried], plugins=[tally])
    print()
    for name in wanted:
        print(verdict(name, tally.found[name]))
    broken = [row.name for row in table if row.name in wanted and row.is_proven]
    return int(any(tally.found[name].why_not for name in broken))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
