"""Shares of arms: a worse arm loses them, chance moves little, floors hold, and levels nest."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from personalization.ranking import arms
from personalization.ranking.arms import FLOOR, NO_LABELS, Tally, shares

STYLES = dict.fromkeys("abcd", 0.25)
PAIR = {"": 0.5, "new": 0.5}


def after(
    rates: Mapping[str, float], n: int, rng: np.random.Generator, *, plain: str | None = None
) -> tuple[dict[str, float], float]:
    """Let a member with these rates of likes react to ``n`` dealt replies.

    Returns:
        The shares after them, and the mean rate of what was dealt.
    """
    tally, dealt = dict.fromkeys(rates, NO_LABELS), 0.0
    for _ in range(n):
        share = shares(dict.fromkeys(rates, 1.0), [tally], plain=plain)
        arm = str(rng.choice(list(share), p=list(share.values())))
        likes = rng.random() < rates[arm]
        tally[arm] = Tally(tally[arm].liked + likes, tally[arm].disliked + (not likes))
        dealt += rates[arm] / n
    return shares(dict.fromkeys(rates, 1.0), [tally], plain=plain), dealt


@pytest.mark.parametrize("base", [STYLES, PAIR, {"a": 3.0, "b": 1.0}, {"only": 0.2}])
def test_without_labels_every_arm_has_its_base_share(base):
    whole = sum(base.values())

    assert shares(base, [{}, {}, {}]) == pytest.approx({arm: part / whole for arm, part in base.items()})


@pytest.mark.parametrize("seed", range(20))
def test_shares_are_a_distribution_above_their_floors_whatever_the_labels(seed):
    rng = np.random.default_rng(seed)
    names = [f"arm{i}" for i in range(rng.integers(1, 7))]
    base = dict(zip(names, rng.uniform(0.05, 1, len(names)).tolist(), strict=True))
    levels = [
        {
            name: Tally(*rng.exponential(10.0 ** rng.integers(-2, 4), 2))
            for name in names
            if rng.random() < 0.8
        }
        for _ in range(rng.integers(0, 4))
    ]

    share = shares(base, levels, plain=names[0] if rng.random() < 0.5 else None)

    assert sum(share.values()) == pytest.approx(1)
    assert all(share[name] >= FLOOR * part / sum(base.values()) - 1e-9 for name, part in base.items())


def test_the_order_of_arms_has_no_effect():
    level = {"a": Tally(5, 1), "b": Tally(1, 4), "c": Tally(2, 2)}

    one = shares({"a": 1, "b": 1, "c": 1}, [level])
    other = shares({"c": 1, "b": 1, "a": 1}, [level])

    assert one == pytest.approx(other)


def test_the_probability_to_be_the_largest_agrees_with_draws():
    liked, disliked = np.array([9.0, 6.0, 2.5]), np.array([3.0, 5.0, 2.5])
    drawn = np.random.default_rng(1).beta(liked, disliked, (200_000, 3)).argmax(axis=1)

    found = arms._largest(liked, disliked)

    np.testing.assert_allclose(found, np.bincount(drawn, minlength=3) / len(drawn), atol=0.004)


def test_an_arm_that_is_liked_less_than_the_plain_one_loses_its_seats():
    ends = [after({"": 0.7, "new": 0.2}, 25, np.random.default_rng(seed), plain="") for seed in range(15)]

    assert np.mean([share["new"] for share, _ in ends]) < 0.15
    assert shares(PAIR, [{"": Tally(9, 3), "new": Tally(0, 5)}], plain="")["new"] < 0.08


def test_an_arm_that_is_liked_more_wins_seats():
    ends = [after({"": 0.4, "new": 0.85}, 25, np.random.default_rng(seed), plain="") for seed in range(15)]

    assert np.mean([share["new"] for share, _ in ends]) > 0.65


def test_regret_shrinks_and_is_less_than_that_of_even_shares():
    rates = {"a": 0.9, "b": 0.5, "c": 0.4, "d": 0.4}
    early, late = (
        np.mean([after(rates, n, np.random.default_rng(seed))[1] for seed in range(12)]) for n in (8, 60)
    )

    assert early < late
    assert late > 0.65  # even shares: .55


def test_a_coin_tosser_keeps_the_candidates_that_they_had():
    ends = [after(dict.fromkeys("abcd", 0.5), 40, np.random.default_rng(seed))[0] for seed in range(24)]
    moved = [max(abs(part - 0.25) for part in share.values()) for share in ends]

    assert np.median(moved) < 0.06
    assert np.mean(moved) < 0.1


def test_control_without_the_spike_chance_moves_a_coin_tosser_far(monkeypatch):
    monkeypatch.setattr(arms, "DIFFERS", 1 - 1e-9)

    ends = [after(dict.fromkeys("abcd", 0.5), 40, np.random.default_rng(seed))[0] for seed in range(10)]

    assert np.mean([max(abs(part - 0.25) for part in share.values()) for share in ends]) > 0.15


def test_a_server_moves_its_newcomers_and_a_member_moves_away_from_it():
    server = {"a": Tally(90, 10), "b": Tally(40, 60)}
    own = {"a": Tally(1, 9), "b": Tally(9, 1)}

    newcomer, contrary = (
        shares({"a": 1, "b": 1}, [{}, server, {}]),
        shares({"a": 1, "b": 1}, [{}, server, own]),
    )

    assert newcomer["a"] > 0.7
    assert contrary["b"] > 0.7


def test_many_labels_of_others_count_no_more_than_a_few():
    few, many = {"a": Tally(18, 12), "b": Tally(12, 18)}, {"a": Tally(18e4, 12e4), "b": Tally(12e4, 18e4)}

    assert shares({"a": 1, "b": 1}, [few, {}]) == pytest.approx(shares({"a": 1, "b": 1}, [many, {}]))
    assert shares({"a": 1, "b": 1}, [many, {}])["b"] > 0.1


def test_a_member_who_likes_everything_says_nothing_about_an_arm():
    share = shares(STYLES, [{arm: Tally(10, 0) for arm in STYLES}])

    assert share == pytest.approx(STYLES)
