"""``simpatico evaluate`` refuses broken sets and unusable arguments with one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.__main__ import main
from bot.commands.main import EXIT_CONFIG
from bot.config import ConfigError
from personalization.errors import DatasetBroken
from personalization.lab.datasets import dev_members
from tests.judgement_sets import DATA, copy_of, evaluate, strictly

BREAKS = {
    "an unknown item": (
        {"labels": lambda rows: [*rows, rows[0] | {"item_id": "nowhere"}]},
        "found 'nowhere', and 1 labels in all, which are not",
    ),
    "no labels": ({"labels": lambda rows: []}, "found no labels"),
    "no items": ({"items": lambda rows: []}, "which are not in items.jsonl.gz"),
    "a label out of range": (
        {"labels": lambda rows: [rows[0] | {"label": 7}, *rows]},
        r"labels in \[0, 1\].*found 7",
    ),
    "a label that is no number": (
        {"labels": lambda rows: [rows[0] | {"label": "much"}, *rows]},
        "found ValueError",
    ),
    "a label that is nothing": ({"labels": lambda rows: [rows[0] | {"label": None}]}, "found"),
    "one item twice": ({"items": lambda rows: [*rows, rows[0]]}, "duplicates"),
    "an unknown kind": (
        {"about": lambda about: about | {"kind": "listwise"}},
        "pointwise or pairwise.*found 'listwise'",
    ),
    "no reply": (
        {"items": lambda rows: [{"item_id": row["item_id"], "group": "g"} for row in rows]},
        "KeyError: 'reply'",
    ),
    "a context that is no list": (
        {"items": lambda rows: [*rows, rows[0] | {"item_id": "new", "context": "Hello"}]},
        "expected a list of texts as the context of 'new'",
    ),
    "a context with a number": (
        {"items": lambda rows: [*rows, rows[0] | {"item_id": "new", "context": ["Hello", 3]}]},
        "expected a list of texts as the context of 'new'",
    ),
    "a list for a line": ({"labels": lambda rows: [[1, 2]]}, "found TypeError"),
}


@pytest.mark.parametrize("name", BREAKS)
@pytest.mark.parametrize("role", ["population", "members"])
def test_a_broken_set_is_told_in_one_line(tmp_path, name, role):
    changes, message = BREAKS[name]
    broken = copy_of("made_up_thumbs", tmp_path / "broken", **changes)
    folders = (broken, DATA / "made_up_thumbs") if role == "population" else (DATA / "made_up_thumbs", broken)

    with pytest.raises(DatasetBroken, match=message) as caught:
        evaluate(folders[0], "--members", str(folders[1]))

    assert "\n" not in str(caught.value)
    assert str(broken) in str(caught.value)


def test_an_empty_file_is_told(tmp_path):
    folder = copy_of("made_up_thumbs", tmp_path / "broken")
    (folder / "labels.jsonl.gz").write_bytes(b"")

    with pytest.raises(DatasetBroken, match="found no labels"):
        evaluate(folder, "--dev")


def test_half_a_file_is_told(tmp_path):
    folder = copy_of("made_up_thumbs", tmp_path / "broken")
    path = folder / "items.jsonl.gz"
    path.write_bytes(path.read_bytes()[:100])

    with pytest.raises(DatasetBroken, match="found EOFError"):
        evaluate(folder, "--dev")


def test_pairs_of_equal_arguments_alone_are_told(tmp_path):
    folder = copy_of(
        "ukpconvarg1", tmp_path / "ties", labels=lambda rows: [row | {"label": 0.5} for row in rows]
    )

    with pytest.raises(DatasetBroken, match=r"found no labels.*equal pairs are left out"):
        evaluate(folder, "--dev")


def test_a_population_without_labels_beside_the_tested_is_told(tmp_path):
    lonely = copy_of(
        "made_up_jokes", tmp_path / "lonely", labels=lambda rows: [row | {"user_id": "u9"} for row in rows]
    )
    options = ("--dev", "--seeds", "1", "--k", "0", "--rows", "global")
    tested = next(user for user in map(str, range(100)) if is_dev(user))
    lonely_dev = copy_of(
        "made_up_jokes", tmp_path / "dev", labels=lambda rows: [row | {"user_id": tested} for row in rows]
    )

    with pytest.raises(DatasetBroken, match="expected labels of a population"):
        evaluate(lonely_dev, *options)
    evaluate(lonely, *options, "--json", str(tmp_path / "out.json"))

    assert strictly(tmp_path / "out.json")["members"] == 0


def is_dev(user: str) -> bool:
    return bool(dev_members([user])[0])


# --- mistakes in the arguments are reported before anything is measured ----------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rows", "simpatico,magic"), "--rows magic: expected some of"),
        (("--seeds", "0"), "--seeds 0: expected 1 or more"),
        (("--k", "5,-1"), "expected numbers from 0 on"),
        (("--json", "nowhere/out.json"), "expected a folder nowhere, found none"),
        (("--plot", "nowhere/out.png"), "expected a folder nowhere, found none"),
    ],
)
def test_an_argument_that_cannot_be_used_is_told_before_anything_is_measured(options, message):
    with pytest.raises(ConfigError, match=message):
        evaluate(Path("no such set"), "--dev", *options)


def test_pairs_cannot_be_played():
    with pytest.raises(ConfigError, match="--bandit needs single labels"):
        evaluate(DATA / "ukpconvarg1", "--dev", "--bandit")


def test_a_sparse_set_cannot_be_played():
    with pytest.raises(ConfigError, match="--bandit does not work on made_up_thumbs"):
        evaluate(DATA / "made_up_thumbs", "--dev", "--bandit", "--seeds", "1")


def test_the_starter_of_another_encoder_cannot_be_measured():
    with pytest.raises(ConfigError, match="the starter prior cannot be measured"):
        evaluate(DATA / "dbdc3", "--dev", "--starter")


def test_the_command_ends_with_one_line_and_a_code(capsys, tmp_path):
    assert main(["evaluate", str(tmp_path), "--dev"]) == EXIT_CONFIG

    assert capsys.readouterr().err.startswith("simpatico: expected dataset.json")
