"""Off-policy estimates against a known truth, and cases in which they must fail."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from personalization.insight.off_policy import (
    Estimate,
    Log,
    difference_of,
    mean_of,
    n_effective,
    quantile_95,
    value_of,
)

NAMES = ("ips", "snips", "dr")


def logged(n: int, seed: int, members: int | None = None):
    """A log with three candidates: (log, rewards, target, predicted, probability that each is liked)."""
    rng = np.random.default_rng(seed)
    likes = rng.uniform(size=(n, 3))
    logging = np.full((n, 3), 0.1) + 0.7 * np.eye(3)[rng.integers(0, 3, n)]
    chosen = np.array([rng.choice(3, p=p) for p in logging])
    rewards = (rng.uniform(size=n) < likes[np.arange(n), chosen]).astype(float)
    predicted = np.clip(likes + rng.normal(0.1, 0.1, size=likes.shape), 0, 1)  # biased on purpose
    member = np.arange(n) if members is None else np.arange(n) % members
    return Log(logging, chosen, member), rewards, np.eye(3)[likes.argmax(axis=1)], predicted, likes


def within(estimate: Estimate, truth: float) -> bool:
    return estimate.low <= truth <= estimate.high


def test_estimates_find_the_known_truth() -> None:
    log, rewards, target, predicted, likes = logged(20_000, 0)

    found = value_of(log, rewards, target, predicted)

    truth = likes.max(axis=1).mean()
    assert [getattr(found, name).value for name in NAMES] == pytest.approx([truth] * 3, abs=0.03)
    assert abs(mean_of(log, rewards).value - truth) > 0.1
    widths = [
        found.dr.high - found.dr.low,
        found.snips.high - found.snips.low,
        found.ips.high - found.ips.low,
    ]
    assert widths == sorted(widths)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    worst, best = np.eye(3)[[0] * 400], None
    covered = dict.fromkeys([*NAMES, "gain"], 0)
    for seed in range(200):
        log, rewards, best, predicted, _ = logged(400, seed, members=40)
        found = value_of(log, rewards, best, predicted)
        for name in NAMES:  # 0.75 is the mean of the largest of three uniform numbers
            covered[name] += within(getattr(found, name), 0.75)
        covered["gain"] += within(difference_of(log, rewards, best, worst, predicted).dr, 0.25)

    assert all(180 <= count <= 200 for count in covered.values()), covered


def test_control_wrong_propensities_miss_the_truth() -> None:
    """Control: with uniform propensities and no predictions the estimate must be wrong."""
    covered = {"true": dict.fromkeys(NAMES, 0), "even": dict.fromkeys(NAMES, 0)}
    for seed in range(50):
        log, rewards, _, _, _ = logged(400, seed, members=40)
        target = np.where(log.propensities > 0.5, 1.0, 0.0)  # mostly the posted candidate; its value is 0.5
        even = replace(log, propensities=np.full_like(log.propensities, 1 / 3))
        blind = np.zeros_like(log.propensities)
        for kind, given in (("true", log), ("even", even)):
            found = value_of(given, rewards, target, blind)
            for name in NAMES:
                covered[kind][name] += within(getattr(found, name), 0.5)

    assert all(count >= 42 for count in covered["true"].values()), covered
    # SNIPS happens to be right here, because what was posted does not depend on how good it is.
    assert covered["even"]["ips"] == covered["even"]["dr"] == 0


def test_a_difference_is_surer_than_its_parts_where_both_mostly_agree() -> None:
    log, rewards, target, predicted, _ = logged(2000, 1)
    other = target.copy()
    other[:100] = np.eye(3)[0]

    gain = difference_of(log, rewards, target, other, predicted)
    parts = [value_of(log, rewards, policy, predicted) for policy in (target, other)]

    for name in NAMES:
        one, two, both = (getattr(found, name) for found in (*parts, gain))
        assert both.value == pytest.approx(one.value - two.value)
        assert both.high - both.low < 0.5 * (one.high - one.low)
    assert difference_of(log, rewards, target, target, predicted).dr.value == 0.0


def test_members_are_what_chance_is_counted_over() -> None:
    """Ten copies of every reply give the same interval as one."""
    log, rewards, target, predicted, _ = logged(200, 2)
    copies = Log(
        *(
            np.tile(part, (10, 1) if part.ndim == 2 else 10)
            for part in (log.propensities, log.chosen, log.member)
        )
    )

    once = value_of(log, rewards, target, predicted).dr
    often = value_of(copies, np.tile(rewards, 10), np.tile(target, (10, 1)), np.tile(predicted, (10, 1))).dr

    assert (often.low, often.high) == pytest.approx((once.low, once.high))


def test_every_reply_carries_where_policies_agree_and_few_where_they_do_not() -> None:
    log, _, target, _, _ = logged(1000, 3)

    assert n_effective(log, log.propensities) == pytest.approx(1000)
    assert n_effective(log, target) < 500


def test_what_was_never_shown_cannot_be_estimated() -> None:
    chances = np.array([[1.0, 0.0], [0.5, 0.5]])
    with pytest.raises(ValueError, match="propensities > 0, found 0"):
        Log(chances, np.array([1, 1]), np.arange(2))
    log = Log(chances, np.array([0, 1]), np.arange(2))

    assert log.answers_for(np.array([[0.0, 1.0], [0.0, 1.0]])).tolist() == [False, True]
    assert log.answers_for(np.array([[1.0, 0.0], [0.0, 1.0]])).tolist() == [True, True]


def test_one_member_gives_a_value_and_no_interval() -> None:
    log = Log(np.full((3, 2), 0.5), np.zeros(3, np.int64), np.zeros(3, np.int64))

    found = mean_of(log, np.array([1.0, 0.0, 1.0]))

    assert found.value == pytest.approx(2 / 3)
    assert math.isnan(found.low) and math.isnan(found.high)


@pytest.mark.parametrize(("freedom", "t"), [(4, 2.776), (10, 2.228), (30, 2.042), (1000, 1.962)])
def test_few_members_widen_the_interval_as_students_t(freedom: int, t: float) -> None:
    assert quantile_95(freedom) == pytest.approx(t, abs=0.01)
