"""The portfolio follows the head, keeps a floor for every style, and is even without data."""

from __future__ import annotations

import numpy as np
import pytest

from personalization.heads.heads import Head
from personalization.ranking.style_portfolio import FLOOR, LEAST_SEEN, StylePortfolio

NAMES = ("concise", "detailed", "playful", "warm")
D = 4


def head(*weights: float) -> Head:
    return Head(np.array(weights, dtype=np.float16), 0.5, "features", "prior")


def taught() -> StylePortfolio:
    """A portfolio in which the mean of each style is a different unit vector."""
    portfolio = StylePortfolio(NAMES)
    for _ in range(LEAST_SEEN):
        for axis, name in enumerate(NAMES):
            portfolio.observe(name, np.eye(D, dtype=np.float32)[axis])
    return portfolio


def test_a_head_that_tells_no_style_apart_gives_each_one_of_four_seats():
    assert taught().base(head(0, 0, 0, 0)) == pytest.approx(dict.fromkeys(NAMES, 0.25))


def test_before_every_style_is_known_the_seats_are_even():
    portfolio = StylePortfolio(NAMES)
    portfolio.observe("concise", np.ones(D, dtype=np.float32))

    assert portfolio.base(head(9, 0, 0, 0)) == dict.fromkeys(NAMES, 0.25)


def test_a_liked_style_gets_more_than_half():
    assert taught().base(head(2, 0, 0, 0))[NAMES[0]] > 0.5


def test_every_style_keeps_its_floor_however_strong_the_taste():
    shares = taught().shares(head(50, 0, 0, -50))

    assert shares.sum() == pytest.approx(1.0)
    assert shares.min() == pytest.approx(FLOOR / len(NAMES))


def test_a_wished_style_gets_half_of_the_seats_and_its_part_of_the_rest():
    assert taught().base(head(0, 0, 0, 0), wished=NAMES[:1])[NAMES[0]] == pytest.approx(0.5 + 0.5 / 4)


def test_a_common_intercept_changes_nothing():
    portfolio = taught()
    low, high = head(1, 0, 0, 0), Head(head(1, 0, 0, 0).weights, 9.0, "features", "prior")

    np.testing.assert_allclose(portfolio.shares(low), portfolio.shares(high), rtol=1e-6)


def test_clearing_forgets_what_styles_sound_like():
    portfolio = taught()
    portfolio.clear()

    assert portfolio.shares(head(9, 0, 0, 0)).tolist() == [0.25] * 4


def test_servers_know_nothing_of_one_another():
    assert taught().shares(head(9, 0, 0, 0), server=7).tolist() == [0.25] * 4


def test_other_features_start_anew():
    portfolio = taught()
    portfolio.observe("concise", np.ones(D + 1, dtype=np.float32))

    assert portfolio.shares(head(9, 0, 0, 0)).tolist() == [0.25] * 4
    portfolio.observe("unknown", np.ones(D, dtype=np.float32))
