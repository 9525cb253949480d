"""Zero-shot evaluation of a prior, with figures that can be computed by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from personalization.heads.heads import starter_prior
from personalization.lab.datasets import Dataset
from personalization.lab.first_replies import first_replies
from personalization.settings import LearningSettings


class Space:
    feature_id, dim, n_embedding = "made-up", 1, 1


PRIOR = replace(starter_prior(Space(), LearningSettings()), mean=np.ones(1, np.float32))
FEATURES = np.array([[0.0], [1.0], [2.0], [3.0]], np.float32)


def thumbs(*labels):
    """A set of four replies with labels (user, item, label); the prior prefers longer replies."""
    user, item, y = (np.array(part) for part in zip(*labels, strict=True))
    names = tuple(f"u{i}" for i in range(user.max() + 1))
    texts = ("aaaa", "aaa", "aa", "a")
    groups = tuple("abcd")
    return Dataset("made-up", False, texts, groups, names, user, item[:, None], y.astype(np.float32))


def test_only_members_of_both_answers_count():
    data = thumbs((0, 0, 0), (0, 3, 1), (1, 0, 1), (1, 3, 0), (2, 1, 1), (2, 2, 1))

    found = first_replies(data, FEATURES, PRIOR)

    assert (found["metric"], found["members"]) == ("concordance", 2)
    assert found["rows"]["starter"]["mean"] == 0.5  # one member agrees with the prior, the other does not
    assert found["rows"]["starter"]["se"] == pytest.approx(0.5)
    assert found["rows"]["longer"]["mean"] == 0.5


def test_rows_are_the_prior_and_the_longer_reply():
    data = thumbs((0, 0, 0), (0, 3, 1), (1, 1, 0), (1, 2, 1))

    rows = first_replies(data, FEATURES, PRIOR)["rows"]

    assert {name: row["mean"] for name, row in rows.items()} == {"starter": 1.0, "longer": 0.0}
    assert rows["starter"]["se_texts"] == 0.0


def test_the_error_over_texts_is_large_where_many_people_judge_few_texts():
    rng = np.random.default_rng(0)
    labels = [
        (user, item, [0, 0, 1, 0][item]) for user in range(200) for item in rng.permutation(4)[:3].tolist()
    ]

    row = first_replies(thumbs(*labels), FEATURES, PRIOR)["rows"]["starter"]

    assert row["se_texts"] > 3 * row["se"]


def test_pairs_are_measured_by_accuracy():
    data = replace(
        thumbs((0, 0, 1), (1, 0, 0)), pairwise=True, item=np.array([[3, 0], [1, 2]]), users=("u0", "u1")
    )

    found = first_replies(data, FEATURES, PRIOR)

    assert (found["metric"], found["members"]) == ("accuracy", 2)
    assert found["rows"]["starter"]["mean"] == 1.0


def test_nobody_to_ask_gives_no_figure():
    found = first_replies(thumbs((0, 0, 1), (0, 1, 1)), FEATURES, PRIOR)

    assert found["members"] == 0
    assert found["rows"]["starter"] == {"mean": None, "se": None, "se_texts": None}
