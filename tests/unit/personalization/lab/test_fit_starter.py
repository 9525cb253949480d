"""The fit of the starter prior chooses by leaving out chatbots and sources, on sets with a known truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from personalization.errors import DatasetBroken
from personalization.heads.heads import starter_prior
from personalization.lab.datasets import Dataset
from personalization.lab.fit_starter import _largest, fit_starter
from personalization.lab.preference_moments import Source
from personalization.settings import LearningSettings

D = 8
BOTS = ("alpha", "beta", "gamma")


class Space:
    feature_id, dim, n_embedding = "made-up", D + 1, D


PLAIN = starter_prior(Space(), LearningSettings())


def judged(*, bots=BOTS, users=32, seed=0):
    """People like the first feature of a reply, and relevance; the style feature depends on the bot."""
    rng = np.random.default_rng(seed)
    groups = [f"{bot}/dev/{bot}{i // 4}" for bot in bots for i in range(24)]
    n = len(groups)
    X = rng.normal(size=(n, D + 2)) / np.sqrt(D)
    good = 4 * X[:, 0] + 4 * X[:, -1]
    sign = np.array([1.0 if group.startswith("alpha") else -1.0 for group in groups])
    X[:, D] = sign * np.sign(good) + 0.1 * rng.normal(size=n)
    user, item, y = [], [], []
    for who in range(users):
        for i in rng.permutation(n)[: n // 2]:
            user.append(who)
            item.append([i])
            y.append(float(rng.random() < 1 / (1 + np.exp(-good[i]))))
    texts = tuple(f"reply {i}" for i in range(n))
    names = tuple(f"u{i}" for i in range(users))
    data = Dataset(
        "made-up", False, texts, tuple(groups), names, np.array(user), np.array(item), np.array(y, np.float32)
    )
    return Source(data, X)


def fitted(*sources):
    return fit_starter(sources, PLAIN, n_embedding=D, device="cpu")


@pytest.fixture(scope="module")
def starter():
    return fitted(judged())


def test_the_mean_finds_what_is_liked(starter):
    mean = starter.prior.mean

    assert mean[0] == mean[:D].max()
    assert mean[0] > 2 * np.abs(mean[1:D]).max()


def test_the_weight_of_relevance_is_found_beside_the_mean(starter):
    assert starter.relevance_weight == pytest.approx(starter.prior.mean[0], rel=0.5)
    assert len(starter.prior.mean) == D + 1


def test_how_easily_people_are_pleased_is_not_carried_over(starter):
    source = judged()
    X = source.X[source.dataset.item[:, 0], :-1].astype(np.float32)
    scores = X @ starter.prior.mean + starter.prior.bias_mean

    assert scores.mean() == pytest.approx(0.0, abs=0.01)
    assert starter.prior.bias_variance == PLAIN.bias_variance
    assert (starter.prior.calibration[:, 2] == 0).all()


def test_each_chatbot_is_measured_while_it_is_left_out(starter):
    assert list(starter.by_chatbot) == list(BOTS)
    assert all(0.5 < found < 1 for found in starter.by_chatbot.values())


def test_the_mean_is_calibrated(starter):
    assert starter.prior.calibration[0, 1] == 1.0
    assert starter.scale > 0


def test_the_same_set_gives_the_same_bytes_in_whatever_order(starter):
    source = judged()
    data = source.dataset
    order = np.random.default_rng(3).permutation(len(data.y))
    shuffled = replace(data, user=data.user[order], item=data.item[order], y=data.y[order])

    again = fitted(Source(shuffled, source.X))

    assert fitted(source).prior.to_bytes() == starter.prior.to_bytes()
    np.testing.assert_allclose(again.prior.mean, starter.prior.mean, atol=1e-3)


def test_too_few_chatbots_are_refused():
    with pytest.raises(DatasetBroken, match=r"at least 3 chatbots.*found 2"):
        fitted(judged(bots=BOTS[:2]))


def test_pairs_cannot_teach_how_people_differ():
    source = judged()
    pairs = replace(source.dataset, pairwise=True, item=np.repeat(source.dataset.item, 2, axis=1))

    with pytest.raises(DatasetBroken, match="found pairs"):
        fitted(Source(pairs, source.X))


def test_the_largest_within_one_standard_error_is_chosen():
    best = np.array([0.60, 0.62, 0.58, 0.60])
    as_good = best + np.array([-0.02, 0.01, 0.02, -0.02])
    worse = best - 0.01

    chosen, means = _largest({1.0: best, 10.0: as_good, 100.0: worse})

    assert chosen == 10.0
    assert means == pytest.approx({1.0: 0.60, 10.0: 0.5975, 100.0: 0.59})
