"""The evaluation protocol on a small synthetic set: reading, splitting, measuring, and its invariants."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from personalization.heads.heads import starter_prior
from personalization.lab.bandit_replay import POLICIES, make_world, replay, seen
from personalization.lab.datasets import (
    Dataset,
    DatasetBroken,
    dev_members,
    is_support,
    join,
    read_dataset,
    trust_in,
)
from personalization.lab.evaluate import evaluate
from personalization.lab.options import ROWS
from personalization.settings import LearningSettings, PriorSettings

D = 6


class Space:
    """Synthetic features: members differ in the first direction."""

    feature_id, dim, n_embedding = "made-up", D, D


def write(folder, *, users=40, items=60, kind="pointwise", seed=0):
    """Write a set whose members like or dislike the first feature of an item; returns the features."""
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    numbers = rng.normal(size=(items, D)).astype(np.float32)
    (folder / "dataset.json").write_text(json.dumps({"name": "made-up", "kind": kind}))
    rows = [{"item_id": f"i{i}", "reply": f"reply {i}", "group": f"g{i}"} for i in range(items)]
    labels = []
    for user in range(users):
        taste = 3.0 if user % 2 else -3.0
        for i in range(items):
            liked = rng.random() < 1 / (1 + np.exp(-taste * numbers[i, 0]))
            labels.append({"user_id": f"u{user}", "item_id": f"i{i}", "label": float(liked)})
    for name, lines in (("items", rows), ("labels", labels)):
        with gzip.open(folder / f"{name}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
    return numbers


def measured(folder, numbers, rows=("isotropic", "intercept", "simpatico"), **how):
    dataset = read_dataset(folder)
    starter = starter_prior(Space(), LearningSettings())
    tested = dev_members(dataset.users)
    return evaluate(dataset, numbers, tested, starter, seeds=1, ks=(0, 5, 20), device="cpu", rows=rows, **how)


def test_dev_members_are_the_ones_the_protocol_names():
    users = [f"u{i}" for i in range(200)]

    tested = dev_members(users)

    expected = [hashlib.sha256(f"{user}/dev".encode()).digest()[0] % 5 == 0 for user in users]
    assert tested.tolist() == expected
    assert 20 < sum(expected) < 60


def test_support_and_query_share_no_group(tmp_path):
    write(tmp_path / "set")
    dataset = read_dataset(tmp_path / "set")

    support = is_support(dataset, seed=1)

    groups = np.array(dataset.groups)[dataset.item[:, 0]]
    assert set(groups[support]) & set(groups[~support]) == set()
    expected = [hashlib.sha256(f"1/{group}".encode()).digest()[0] < 128 for group in groups]
    assert support.tolist() == expected


def test_heads_find_a_taste_that_the_global_head_cannot(tmp_path):
    numbers = write(tmp_path / "set")

    result = measured(tmp_path / "set", numbers, rows=ROWS)

    rows = result["rows"]
    assert set(rows) == set(ROWS)
    assert rows["global"]["20"]["gain"] == 0.0
    assert rows["simpatico"]["20"]["gain"] > 0.15
    assert rows["simpatico"]["20"]["metric"] > rows["isotropic"]["20"]["metric"]
    assert rows["intercept"]["20"]["metric"] == pytest.approx(rows["global"]["20"]["metric"], abs=1e-6)
    assert set(rows["simpatico"]["5"]) >= {"metric", "gain", "gain_se", "log_loss", "ece"}


def test_labels_that_mean_nothing_gain_nothing(tmp_path):
    """Control of the measurement: with features unrelated to the labels, no row may have a gain."""
    write(tmp_path / "set")
    numbers = np.random.default_rng(9).normal(size=(60, D)).astype(np.float32)  # unrelated features

    rows = measured(tmp_path / "set", numbers)["rows"]

    assert abs(rows["simpatico"]["20"]["gain"]) < 0.1  # eight members; the real features gain twice as much
    assert 0.4 < rows["simpatico"]["20"]["metric"] < 0.6


def test_the_same_run_gives_the_same_figures(tmp_path):
    numbers = write(tmp_path / "set")

    first, second = (measured(tmp_path / "set", numbers, rows=("simpatico",)) for _ in range(2))

    assert first["rows"] == second["rows"]


def test_other_members_are_tested_on_the_same_items(tmp_path):
    write(tmp_path / "population")
    write(tmp_path / "members", users=3)

    joined, tested = join(read_dataset(tmp_path / "population"), read_dataset(tmp_path / "members"))

    assert (len(joined.users), int(tested.sum())) == (43, 3)
    assert len(joined.y) == 43 * 60


def test_members_of_other_items_are_refused(tmp_path):
    write(tmp_path / "population", items=10)
    write(tmp_path / "members", items=20)

    with pytest.raises(DatasetBroken, match="found 10 others"):
        join(read_dataset(tmp_path / "population"), read_dataset(tmp_path / "members"))


def test_a_folder_without_a_set_is_told_in_one_line(tmp_path):
    with pytest.raises(
        DatasetBroken, match=r"expected dataset\.json, items\.jsonl\.gz and labels\.jsonl\.gz"
    ):
        read_dataset(tmp_path)


def test_the_configured_settings_of_the_prior_are_what_is_measured(tmp_path):
    numbers = write(tmp_path / "set")

    usual = measured(tmp_path / "set", numbers)["rows"]
    narrow = measured(tmp_path / "set", numbers, settings=PriorSettings(rank=1, start_variance=0.01))["rows"]

    assert narrow["simpatico"]["20"] != usual["simpatico"]["20"]
    assert {name: narrow[name] for name in ("global", "isotropic")} == {
        name: usual[name] for name in ("global", "isotropic")
    }


def judged(values: np.ndarray) -> Dataset:
    """A dense set from the labels of all members on all items, ``users x items``."""
    users, items = values.shape
    user, item = np.divmod(np.arange(values.size), items)
    names = tuple(f"i{i}" for i in range(items))
    return Dataset(
        "made-up", False, names, names, tuple(f"u{u}" for u in range(users)), user, item[:, None],
        values.ravel().astype(np.float32),
    )  # fmt: skip


def test_a_graded_label_is_worth_as_many_yes_or_no_as_it_scatters_less():
    rng = np.random.default_rng(0)
    means = rng.uniform(0.2, 0.8, size=(200, 1))
    a_third = np.sqrt(means * (1 - means) / 3) * rng.choice([-1.0, 1.0], size=(200, 60))
    graded, yes_or_no = judged(means + a_third), judged(rng.random((200, 60)) < means)

    assert trust_in(graded, np.arange(12_000)) == pytest.approx(3.0, rel=0.05)
    assert trust_in(yes_or_no, np.arange(12_000)) == 1.0
    assert trust_in(graded, np.arange(0)) == 1.0


def test_a_graded_label_is_weighed_by_those_who_are_not_tested_alone():
    rng = np.random.default_rng(1)
    values = np.concatenate([0.5 + rng.choice([-0.1, 0.1], size=(50, 40)), rng.integers(0, 2, (50, 40))])

    assert trust_in(judged(values), np.arange(2000)) == pytest.approx(25.0, rel=0.05)


def test_a_replay_of_graded_labels_shows_heads_what_a_label_is_worth():
    rng = np.random.default_rng(2)
    dataset = replace(judged(rng.random((4, 60))), trust=3.0)

    world = make_world(dataset, np.ones(4, bool), 0)
    examples = seen(world, np.zeros((4, 2), np.int64), np.ones((60, D), np.float32))

    np.testing.assert_array_equal(examples.weight, np.full((4, 2), 3.0, np.float32))


@pytest.mark.slow
def test_in_a_replay_the_oracle_wins_and_simpatico_beats_chance(tmp_path):
    numbers = write(tmp_path / "set", items=170)
    dataset = read_dataset(tmp_path / "set")

    played = replay(
        dataset,
        numbers,
        dev_members(dataset.users),
        starter_prior(Space(), LearningSettings()),
        seeds=1,
        device="cpu",
    )

    rates = {name: played[name]["like_rate"] for name in POLICIES}
    assert rates["oracle"] == max(rates.values())
    assert played["oracle"]["regret"] == 0.0
    assert rates["simpatico"] > rates["random"] + 0.1
    assert rates["simpatico"] > rates["global"]
