"""``simpatico evaluate`` from a folder to the table, the JSON and the picture, on the sets in tests/data."""

from __future__ import annotations

import math

import pytest

from bot.__main__ import main
from personalization.lab.datasets import read_dataset
from personalization.lab.options import ROWS
from personalization.settings import LearningSettings
from tests.fakes import HashEncoder
from tests.judgement_sets import DATA, copy_of, evaluate, strictly

CLASSIFIED = {"accuracy", "precision", "recall", "f1", "auc", "positives"}
CELL = {"metric", "gain", "gain_se", "log_loss", "ece", "members"} | CLASSIFIED


@pytest.mark.parametrize("name", ["dbdc3", "ukpconvarg1", "made_up_jokes"])
def test_a_set_becomes_a_table_json_and_a_picture(tmp_path, capsys, name):
    evaluate(
        DATA / name,
        "--dev",
        *("--seeds", "1", "--k", "0,5,20"),
        *("--json", str(tmp_path / "out.json"), "--plot", str(tmp_path / "out.png")),
    )

    result = strictly(tmp_path / "out.json")
    assert set(result) == {"dataset", "metric", "seeds", "members", "threshold", "rows"}
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
    assert all(table.count(f"| {row} |") == 2 for row in ROWS)
    assert "predicted from a probability of 0.5 on" in table
    assert f"{result['rows']['global']['0']['positives']:.0%} of the query labels are positive" in table
    for cell in (cell for row in result["rows"].values() for cell in row.values()):
        assert all(cell[name] is None or 0 <= cell[name] <= 1 for name in CLASSIFIED)


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
    """Without enough labels for the protocol, the shipped prior is measured on members with both thumbs."""
    path = tmp_path / "out.json"

    code = main(["evaluate", str(DATA / "made_up_thumbs"), "--dev", "--seeds", "1", "--json", str(path)])

    result = strictly(path)
    assert code == 0
    assert result["members"] == 0
    assert result["rows"] == {row: {} for row in ROWS}
    assert "expected members with 20 support and 10 query labels, found none" in result["note"]
    rows = result["starter"]["rows"]
    assert set(rows) == {"starter", "taste", "relevance", "longer"}
    assert result["starter"]["relevance_weight"] == LearningSettings().relevance_weight
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


def test_the_last_line_before_a_reply_makes_its_relevance(tmp_path):
    """Liked replies repeat the message, disliked ones answer another: relevance alone orders them all."""
    data = read_dataset(DATA / "made_up_thumbs")
    liked = {data.texts[i] for i in data.item[data.y > 0.5, 0]}
    folder = copy_of(
        "made_up_thumbs",
        tmp_path / "with messages",
        items=lambda rows: [
            row | {"context": ["Hello", row["reply"] if row["reply"] in liked else "Trains leave at nine."]}
            for row in rows
        ],
    )
    options = ["--dev", "--seeds", "1", "--k", "0", "--rows", "global", "--json", str(tmp_path / "out.json")]

    assert main(["evaluate", str(folder), *options]) == 0

    rows = strictly(tmp_path / "out.json")["starter"]["rows"]
    assert rows["relevance"]["mean"] == 1.0
    assert rows["starter"]["mean"] > rows["taste"]["mean"]


def test_encodings_are_kept_between_runs(tmp_path, capsys):
    options = ["--dev", "--seeds", "1", "--k", "0", "--rows", "global", "--cache", str(tmp_path / "kept")]
    encoders = [HashEncoder(), HashEncoder()]

    for encoder in encoders:
        evaluate(DATA / "made_up_jokes", *options, encoder=encoder)

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
