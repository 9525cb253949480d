"""``simpatico evaluate`` from a folder to the table, the JSON and the picture, on the sets in tests/data."""

from __future__ import annotations

import argparse
import gzip
import json
import math
from pathlib import Path

import pytest

from bot.__main__ import main
from bot.commands.evaluate import add_arguments, run_evaluation
from bot.commands.fit_starter import add_fitting_arguments, run_fitting
from bot.commands.main import EXIT_CONFIG
from bot.config import ConfigError, Settings
from personalization.lab.baselines import ROWS
from personalization.lab.datasets import DatasetBroken
from tests.fakes import HashEncoder

DATA = Path(__file__).parents[1] / "data"
CELL = {"metric", "gain", "gain_se", "log_loss", "ece", "members"}


def evaluate(folder: Path, *options: str) -> None:
    """Run the command with the small encoder."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    run_evaluation(parser.parse_args([str(folder), *options]), Settings(), encoder=HashEncoder())


def strictly(path: Path) -> dict:
    """Read JSON that every reader takes: no NaN, no infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def copy_of(name: str, folder: Path, *, about=None, items=None, labels=None) -> Path:
    """Copy a set, with its parts changed by functions."""
    folder.mkdir()
    (folder / "dataset.json").write_text(
        json.dumps((about or (lambda same: same))(json.loads((DATA / name / "dataset.json").read_text())))
    )
    for part, change in (("items", items), ("labels", labels)):
        with gzip.open(DATA / name / f"{part}.jsonl.gz", "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        with gzip.open(folder / f"{part}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in (change(rows) if change else rows))
    return folder


@pytest.mark.parametrize("name", ["dbdc3", "ukpconvarg1", "made_up_jokes"])
def test_a_set_becomes_a_table_json_and_a_picture(tmp_path, capsys, name):
    evaluate(
        DATA / name,
        "--dev",
        *("--seeds", "1", "--k", "0,5,20"),
        *("--json", str(tmp_path / "out.json"), "--plot", str(tmp_path / "out.png")),
    )

    result = strictly(tmp_path / "out.json")
    assert set(result) == {"dataset", "metric", "seeds", "members", "rows"}
    assert (result["dataset"], result["seeds"]) == (name, 1)
    assert result["metric"] == ("accuracy" if name == "ukpconvarg1" else "concordance")
    assert result["members"] > 0
    assert set(result["rows"]) == set(ROWS)
    for row in result["rows"].values():
        assert set(row) == {"0", "5", "20"}
        assert all(set(cell) == CELL and 0 <= cell["metric"] <= 1 for cell in row.values())
    assert result["rows"]["global"]["5"]["gain"] == 0.0
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    table = capsys.readouterr().out
    assert all(f"| {row} |" in table for row in ROWS)


def test_a_dense_set_can_be_played(tmp_path, capsys):
    evaluate(
        DATA / "made_up_jokes",
        "--dev",
        *("--seeds", "1", "--k", "0", "--rows", "global", "--bandit", "--json", str(tmp_path / "out.json")),
    )

    played = strictly(tmp_path / "out.json")["bandit"]
    assert {"random", "global", "independent", "simpatico", "oracle"} <= set(played)
    assert played["oracle"]["regret"] == 0.0
    assert played["random"]["like_rate"] < played["oracle"]["like_rate"]
    assert "bandit oracle: like-rate" in capsys.readouterr().out


def test_the_packaged_encoder_measures_what_ships_on_sparse_thumbs(tmp_path, capsys):
    """Nobody gave enough for the protocol: the prior that ships is measured, on who gave both thumbs."""
    path = tmp_path / "out.json"

    code = main(["evaluate", str(DATA / "made_up_thumbs"), "--dev", "--seeds", "1", "--json", str(path)])

    result = strictly(path)
    assert code == 0
    assert result["members"] == 0
    assert result["rows"] == {row: {} for row in ROWS}
    assert "expected members with 20 support and 10 query labels, found none" in result["note"]
    rows = result["starter"]["rows"]
    assert set(rows) == {"starter", "longer"}
    assert rows["starter"]["mean"] > 0.5
    assert rows["starter"]["se"] > 0
    printed = capsys.readouterr().out
    assert result["note"] in printed
    assert f"over {result['starter']['members']} members" in printed


def test_the_starter_is_measured_as_on_a_new_server(tmp_path, capsys):
    path = tmp_path / "out.json"

    options = ["--dev", "--starter", "--seeds", "1", "--k", "0,10", "--rows", "global"]
    code = main(["evaluate", str(DATA / "dbdc3"), *options, "--json", str(path)])

    result = strictly(path)
    assert code == 0
    assert set(result["rows"]) == {"global", "plain", "starter"}
    assert result["rows"]["plain"]["0"]["metric"] == 0.5
    assert result["starter"]["note"] == "the prior that ships was fitted on this very set"
    assert result["starter"]["note"] in capsys.readouterr().out


def test_encodings_are_kept_between_runs(tmp_path, capsys):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = ["--dev", "--seeds", "1", "--k", "0", "--rows", "global", "--cache", str(tmp_path / "kept")]
    arguments = parser.parse_args([str(DATA / "made_up_jokes"), *options])
    encoders = [HashEncoder(), HashEncoder()]

    for encoder in encoders:
        run_evaluation(arguments, Settings(), encoder=encoder)

    assert [encoder.n_texts for encoder in encoders] == [54, 0]
    first, second = capsys.readouterr().out.split("made_up_jokes: ")[1:]
    assert first == second


# --- other members on the same items ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dbdc3", "ukpconvarg1"])
def test_other_members_are_tested_on_the_same_items(tmp_path, name):
    members = copy_of(
        name,
        tmp_path / "members",
        labels=lambda rows: [row | {"user_id": "other " + row["user_id"]} for row in rows],
    )

    evaluate(
        DATA / name,
        *("--members", str(members), "--seeds", "1", "--k", "0,20", "--rows", "isotropic"),
        *("--json", str(tmp_path / "out.json")),
    )

    result = strictly(tmp_path / "out.json")
    assert result["members"] > 5
    assert set(result["rows"]) == {"global", "isotropic"}


def test_members_may_bring_only_the_items_they_judged(tmp_path):
    judged = {f"j{i}" for i in range(50)}
    members = copy_of(
        "made_up_jokes",
        tmp_path / "members",
        items=lambda rows: [row for row in rows if row["item_id"] in judged],
        labels=lambda rows: [row for row in rows if row["item_id"] in judged],
    )

    evaluate(
        DATA / "made_up_jokes",
        *("--members", str(members), "--seeds", "1", "--k", "0", "--rows", "global"),
        *("--json", str(tmp_path / "out.json")),
    )

    assert strictly(tmp_path / "out.json")["members"] > 0


def test_members_of_one_answer_have_no_rank_but_a_likelihood(tmp_path, capsys):
    members = copy_of(
        "made_up_jokes",
        tmp_path / "members",
        labels=lambda rows: [row | {"label": 1.0} for row in rows],
    )

    options = ("--seeds", "1", "--k", "0,20", "--rows", "isotropic", "--plot", str(tmp_path / "out.png"))
    evaluate(
        DATA / "made_up_jokes", "--members", str(members), *options, "--json", str(tmp_path / "out.json")
    )

    cell = strictly(tmp_path / "out.json")["rows"]["isotropic"]["20"]
    assert (cell["metric"], cell["gain"], cell["gain_se"]) == (None, None, None)
    assert cell["log_loss"] < math.log(2)
    assert "nan" not in capsys.readouterr().out


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
    from personalization.lab.datasets import dev_members

    return bool(dev_members([user])[0])


# --- what could only fail at the end is told at the start ------------------------------------------------


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
    with pytest.raises(ConfigError, match="--bandit cannot be played on made_up_thumbs"):
        evaluate(DATA / "made_up_thumbs", "--dev", "--bandit", "--seeds", "1")


def test_the_starter_of_another_encoder_cannot_be_measured():
    with pytest.raises(ConfigError, match="the starter prior cannot be measured"):
        evaluate(DATA / "dbdc3", "--dev", "--starter")


def test_the_command_ends_with_one_line_and_a_code(capsys, tmp_path):
    assert main(["evaluate", str(tmp_path), "--dev"]) == EXIT_CONFIG

    assert capsys.readouterr().err.startswith("simpatico: expected dataset.json")


# --- fit-starter -----------------------------------------------------------------------------------------


def fit(folder: Path, out: Path) -> None:
    parser = argparse.ArgumentParser()
    add_fitting_arguments(parser)
    run_fitting(parser.parse_args([str(folder), "--out", str(out)]), Settings(), encoder=HashEncoder())


def bots(folder: Path, n: int) -> Path:
    """The excerpt of dbdc3 with its dialogues dealt to so many bots."""
    return copy_of(
        "dbdc3",
        folder / f"{n} bots",
        items=lambda rows: [
            row | {"group": f"bot{int(row['group'][-2:]) % n}/{row['group']}"} for row in rows
        ],
    )


def test_the_starter_is_fitted_from_a_folder_to_the_same_bytes(tmp_path, capsys):
    folder = bots(tmp_path, 3)

    for name in ("one", "two"):
        fit(folder, tmp_path / name)

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    printed = capsys.readouterr().out
    assert printed.count("chosen") == 4
    assert "SHA-256" in printed


def test_a_starter_of_one_bot_is_refused(tmp_path):
    with pytest.raises(DatasetBroken, match="at least 3 chatbots"):
        fit(bots(tmp_path, 1), tmp_path / "out")


def test_a_place_that_is_not_there_is_told_before_anything_is_fitted(tmp_path):
    with pytest.raises(ConfigError, match="expected a folder"):
        fit(tmp_path / "no such set", tmp_path / "nowhere" / "out")
