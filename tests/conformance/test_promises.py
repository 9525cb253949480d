"""``docs/promises.md`` agrees with the proofs: its table, the markers and the files."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.rig.promises import CONTROL, PAGE, PROOFS, ROOT, Evidence, Tally, rows, verdict

TABLE = rows(PAGE.read_text("utf-8"))


def promises_of(marked: ast.expr) -> list[str]:
    """Collect the names in ``pytest.mark.promise("P3")`` anywhere in an expression."""
    calls = [node for node in ast.walk(marked) if isinstance(node, ast.Call)]
    marks = [call for call in calls if ast.unparse(call.func) == "pytest.mark.promise"]
    return [ast.literal_eval(call.args[0]) for call in marks]


def marked_tests(path: Path) -> list[tuple[str, str]]:
    """Collect (promise, test) for every marked test of a file; ``pytestmark`` marks all of them."""
    tree = ast.parse(path.read_text("utf-8"))
    of_all = [
        name
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
        for name in promises_of(node.value)
    ]
    tests = [
        node
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")
    ]
    return [
        (name, test.name)
        for test in tests
        for name in of_all + [found for mark in test.decorator_list for found in promises_of(mark)]
    ]


def proof_files() -> dict[str, list[Path]]:
    """Map each promise to its files; more than one only if one file would be too long."""
    files: dict[str, list[Path]] = {}
    for path in sorted(PROOFS.glob("test_p[0-9][0-9]_*.py")):
        files.setdefault(f"P{int(path.name[6:8])}", []).append(path)
    return files


def test_the_table_has_every_promise_of_tiers_a_and_b_once():
    numbers = [int(row.name[1:]) for row in TABLE]

    assert numbers[:30] == list(range(1, 31))
    assert numbers == sorted(set(numbers))


def test_each_row_says_how_it_is_proven_or_that_it_is_not_yet():
    for row in TABLE:
        if row.proven_by == "not yet":
            assert row.status.startswith("not yet"), row
        else:
            assert row.proven_by == f"`make promises ONLY={row.name}`", row


def test_exactly_the_promises_with_a_proof_file_name_a_command():
    assert {row.name for row in TABLE if row.proven_by != "not yet"} == set(proof_files())


@pytest.mark.parametrize("name", proof_files())
def test_a_proof_file_proves_its_own_promise_and_has_a_control(name):
    tests = [marked for path in proof_files()[name] for marked in marked_tests(path)]

    assert {promise for promise, _ in tests} == {name}
    controls = [test for _, test in tests if test.startswith(CONTROL)]
    assert controls, f"{name} has no test named {CONTROL}..."
    assert len(controls) < len(tests), f"{name} has controls only"


def test_promises_are_proven_in_the_folder_for_them_and_nowhere_else():
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if path.parent != PROOFS]

    assert [path for path in files if marked_tests(path)] == []
    assert set(PROOFS.glob("test_*")) == {path for paths in proof_files().values() for path in paths}


@pytest.mark.parametrize(
    ("evidence", "line"),
    [
        (Evidence(), "P3 not proven: no proof"),
        (Evidence({"test_a": "passed"}), "P3 not proven: no control"),
        (Evidence({}, {"test_control_b": "passed"}), "P3 not proven: no proof"),
        (
            Evidence({"test_a": "passed"}, {"test_control_b": "failed"}),
            "P3 not proven: test_control_b failed",
        ),
        (Evidence({"test_a": "skipped"}, {"test_control_b": "passed"}), "P3 not proven: test_a skipped"),
        (Evidence({"test_a": "passed"}, {"test_control_b": "passed"}), "P3 proven"),
    ],
)
def test_a_verdict_takes_proof_and_control(evidence, line):
    assert verdict("P3", evidence) == line


def test_the_tally_keeps_the_worst_outcome_of_each_test(pytester_file, tmp_path):
    tally = Tally(["P3"])

    pytest.main(
        ["-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(pytester_file)], plugins=[tally]
    )

    assert tally.found == {
        "P3": Evidence(
            {"test_good": "passed", "test_bad_end": "failed", "test_left_out": "skipped"},
            {"test_control_of_it": "passed"},
        )
    }


@pytest.fixture
def pytester_file(tmp_path):
    """Write a small file of proofs into a folder with its own pytest.ini."""
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_default_fixture_loop_scope = function\nmarkers = promise(name): one\n"
    )
    path = tmp_path / "test_small.py"
    path.write_text(
        """
import pytest

@pytest.fixture
def ends_badly():
    yield
    assert False

@pytest.mark.promise("P3")
def test_good(): pass

@pytest.mark.promise("P3")
def test_bad_end(ends_badly): pass

@pytest.mark.promise("P3")
@pytest.mark.skip
def test_left_out(): pass

@pytest.mark.promise("P3")
def test_control_of_it(): pass

@pytest.mark.promise("P4")
def test_other(): assert False

def test_no_proof(): assert False
"""
    )
    return path
