"""Zero-shot evaluation of a prior, with figures that can be computed by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest

from personalization.encoding.features import FeatureMap
from personalization.heads.heads import starter_prior
from personalization.lab.datasets import Dataset
from personalization.lab.first_replies import first_replies
from personalization.ranking.ranker import Ranker
from personalization.settings import LearningSettings
from tests.fakes import HashEncoder


async def no_head(_):
    """Load no head: every member is a newcomer."""
    return None


class Space:
    feature_id, dim, n_embedding = "made-up", 1, 1


PRIOR = replace(starter_prior(Space(), LearningSettings()), mean=np.ones(1, np.float32))
FEATURES = np.array([[0.0], [1.0], [2.0], [3.0]], np.float32)
NO_MESSAGES = np.zeros(4, np.float32)


def measured(data, relevance: npt.ArrayLike = NO_MESSAGES, *, relevance_weight=1.0, personal_bound=3.0):
    how = {"relevance_weight": relevance_weight, "personal_bound": personal_bound}
    return first_replies(data, FEATURES, np.asarray(relevance, np.float32), PRIOR, **how)


def thumbs(*labels):
    """A set of four replies with labels (user, item, label); the prior prefers longer replies."""
    user, item, y = (np.array(part) for part in zip(*labels, strict=True))
    names = tuple(f"u{i}" for i in range(user.max() + 1))
    texts = ("aaaa", "aaa", "aa", "a")
    groups = tuple("abcd")
    return Dataset("made-up", False, texts, groups, names, user, item[:, None], y.astype(np.float32))


def test_only_members_of_both_answers_count():
    data = thumbs((0, 0, 0), (0, 3, 1), (1, 0, 1), (1, 3, 0), (2, 1, 1), (2, 2, 1))

    found = measured(data)

    assert (found["metric"], found["members"]) == ("concordance", 2)
    assert found["rows"]["starter"]["mean"] == 0.5  # one member agrees with the prior, the other does not
    assert found["rows"]["starter"]["se"] == pytest.approx(0.5)
    assert found["rows"]["longer"]["mean"] == 0.5


def test_rows_are_the_prior_its_parts_and_the_longer_reply():
    data = thumbs((0, 0, 0), (0, 3, 1), (1, 1, 0), (1, 2, 1))

    rows = measured(data)["rows"]

    means = {name: row["mean"] for name, row in rows.items()}
    assert means == {"starter": 1.0, "taste": 1.0, "relevance": 0.5, "longer": 0.0}
    assert rows["starter"]["se_texts"] == 0.0


def test_the_error_over_texts_is_large_where_many_people_judge_few_texts():
    rng = np.random.default_rng(0)
    labels = [
        (user, item, [0, 0, 1, 0][item]) for user in range(200) for item in rng.permutation(4)[:3].tolist()
    ]

    row = measured(thumbs(*labels))["rows"]["starter"]

    assert row["se_texts"] > 3 * row["se"]


def test_pairs_are_measured_by_accuracy():
    data = replace(
        thumbs((0, 0, 1), (1, 0, 0)), pairwise=True, item=np.array([[3, 0], [1, 2]]), users=("u0", "u1")
    )

    found = measured(data)

    assert (found["metric"], found["members"]) == ("accuracy", 2)
    assert found["rows"]["starter"]["mean"] == 1.0


def test_nobody_to_ask_gives_no_figure():
    found = measured(thumbs((0, 0, 1), (0, 1, 1)))

    assert found["members"] == 0
    assert found["rows"]["starter"] == {"mean": None, "se": None, "se_texts": None}


def test_relevance_counts_by_its_weight():
    """The prior prefers the second reply by 1 logit, the message the first one by a cosine of 0.4."""
    data, relevance = thumbs((0, 0, 1), (0, 1, 0)), [0.5, 0.1, 0.0, 0.0]

    by_weight = {
        weight: measured(data, relevance, relevance_weight=weight)["rows"] for weight in (0.0, 1.0, 4.0)
    }

    assert [rows["starter"]["mean"] for rows in by_weight.values()] == [0.0, 0.0, 1.0]
    assert {(rows["taste"]["mean"], rows["relevance"]["mean"]) for rows in by_weight.values()} == {(0.0, 1.0)}


async def test_a_newcomer_s_two_replies_are_ordered_as_by_the_running_bot():
    """The ranker and the measurement agree on pairs in which taste, its bound or relevance decides."""
    replies = ["Yes.", "I like that! Tell me more?", "Trains leave at nine.", "Haha, good joke about trains!"]
    messages = ["Do you like trains?", "When do trains leave?", "Tell me a joke", " "]
    features = FeatureMap(HashEncoder())
    weights = np.random.default_rng(0).normal(size=features.dim).astype(np.float32)
    prior = replace(starter_prior(features, LearningSettings()), mean=weights)
    differing = set()
    for settings in (
        LearningSettings(policy="greedy", relevance_weight=weight, personal_bound=bound)
        for weight in (0.0, 1.0, 10.0)
        for bound in (0.1, 3.0)
    ):
        ranker = Ranker(features, settings, no_head, prior, np.random.default_rng(0))
        for message in messages:
            for a, b in combinations(range(4), 2):
                first, second = (await ranker.rank(None, message, [replies[a], replies[b]])).order
                better, worse = ((a, b)[first], (a, b)[second])
                data = Dataset(
                    "made-up",
                    True,
                    tuple(replies),
                    tuple("abcd"),
                    ("newcomer",),
                    np.zeros(1, np.int64),
                    np.array([[better, worse]]),
                    np.ones(1, np.float32),
                )
                found = first_replies(
                    data,
                    features.features(replies),
                    features.encode(message, replies).relevance,
                    prior,
                    relevance_weight=settings.relevance_weight,
                    personal_bound=settings.personal_bound,
                )["rows"]
                assert found["starter"]["mean"] == 1.0
                differing |= {name for name in ("taste", "relevance") if found[name]["mean"] == 0.0}
        ranker.close()
    assert differing == {"taste", "relevance"}  # so neither part alone would have passed
