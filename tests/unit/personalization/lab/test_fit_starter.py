"""The fit of the starter prior chooses by leaving out chatbots, on a synthetic set with a known truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from personalization.errors import DatasetBroken
from personalization.heads.heads import starter_prior
from personalization.lab.datasets import Dataset
from personalization.lab.fit_starter import _largest, fit_starter
from personalization.settings import LearningSettings

D = 8
BOTS = ("alpha", "beta", "gamma")


class Space:
    feature_id, dim, n_embedding = "made-up", D + 1, D


PLAIN = starter_prior(Space(), LearningSettings())


def judged(*, bots=BOTS, users=32, seed=0):
    """People like the first feature of a reply; the effect of one style feature depends on the bot."""
    rng = np.random.default_rng(seed)
    groups = [f"{bot}/dev/{bot}{i // 4}" for bot in bots for i in range(24)]
    n = len(groups)
    X = rng.normal(size=(n, D + 1)).astype(np.float32) / np.sqrt(D)
    good = 4 * X[:, 0]
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
    return data, X.astype(np.float32)


def fitted(data, X):
    return fit_starter(data, X, PLAIN, n_embedding=D, device="cpu")


@pytest.fixture(scope="module")
def starter():
    return fitted(*judged())


def test_the_mean_finds_what_is_liked_and_carries_no_style(starter):
    mean = starter.prior.mean

    assert mean[0] == mean[:D].max()
    assert mean[0] > 2 * np.abs(mean[1:D]).max()
    assert mean[D] == 0.0


def test_how_easily_people_are_pleased_is_not_carried_over(starter):
    data, X = judged()
    scores = X[data.item[:, 0]] @ starter.prior.mean + starter.prior.bias_mean

    assert scores.mean() == pytest.approx(0.0, abs=0.01)
    assert starter.prior.bias_variance == PLAIN.bias_variance
    assert (starter.prior.calibration[:, 2] == 0).all()


def test_the_mean_is_calibrated_on_bots_that_were_left_out(starter):
    assert starter.prior.calibration[0, 1] == 1.0
    assert 0 < starter.scale <= 2


def test_the_same_set_gives_the_same_bytes_in_whatever_order(starter):
    data, X = judged()
    order = np.random.default_rng(3).permutation(len(data.y))
    shuffled = replace(data, user=data.user[order], item=data.item[order], y=data.y[order])

    again = fitted(shuffled, X)

    assert fitted(data, X).prior.to_bytes() == starter.prior.to_bytes()
    np.testing.assert_allclose(again.prior.mean, starter.prior.mean, atol=1e-3)


def test_too_few_chatbots_are_refused():
    with pytest.raises(DatasetBroken, match=r"at least 3 chatbots.*found 2"):
        fitted(*judged(bots=BOTS[:2]))


def test_pairs_are_refused():
    data, X = judged()

    with pytest.raises(DatasetBroken, match="found pairs"):
        fitted(replace(data, pairwise=True, item=np.repeat(data.item, 2, axis=1)), X)


def test_the_largest_within_one_standard_error_is_chosen():
    best = np.array([0.60, 0.62, 0.58, 0.60])
    as_good = best + np.array([-0.02, 0.01, 0.02, -0.02])
    worse = best - 0.01

    chosen, means = _largest({1.0: best, 10.0: as_good, 100.0: worse})

    assert chosen == 10.0
    assert means == pytest.approx({1.0: 0.60, 10.0: 0.5975, 100.0: 0.59})
