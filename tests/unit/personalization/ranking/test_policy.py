"""Every policy turns scores and their covariance into a choice with exact propensities."""

from __future__ import annotations

import math

import numpy as np
import pytest

from personalization.ranking.policy import (
    Choice,
    Explore,
    Greedy,
    Policy,
    Thompson,
    UpperBound,
    choose,
    policy_of,
)
from personalization.settings import LearningSettings

SURE = np.zeros((4, 4))
EVERY = [
    Greedy(),
    Explore(Greedy(), 0.3),
    UpperBound(0.5),
    Explore(UpperBound(0.5), 0.1),
    Thompson(0.2),
    Thompson(1.0),
    Explore(Thompson(0.2), 0.02),
    Explore(Greedy(), 1.0),
]
NAMED = pytest.mark.parametrize("policy", EVERY, ids=lambda policy: policy.name)


def unsure(seed: int = 0, k: int = 4) -> np.ndarray:
    """A covariance with correlated candidates."""
    root = np.random.default_rng(seed).normal(size=(k, k))
    return root @ root.T


@pytest.mark.parametrize(
    ("exploration", "scores", "propensities"),
    [
        (0.0, [1.0, 3.0, 2.0], (0.0, 1.0, 0.0)),
        (1.0, [1.0, 3.0, 2.0, 0.0], (0.25, 0.25, 0.25, 0.25)),
        (0.1, [1.0, 3.0, 2.0, 0.0], (0.025, 0.925, 0.025, 0.025)),
        (0.2, [5.0, 5.0, 0.0, 5.0], (0.05 + 0.8 / 3, 0.05 + 0.8 / 3, 0.05, 0.05 + 0.8 / 3)),
        (0.3, [-2.0], (1.0,)),
    ],
)
def test_exploring_chances_are_exact_and_ties_share(exploration: float, scores, propensities) -> None:
    k = len(scores)

    choice = choose(Explore(Greedy(), exploration), scores, np.zeros((k, k)), np.random.default_rng(0))

    assert choice.propensities == pytest.approx(propensities, abs=1e-12)


def test_choice_puts_the_chosen_first_and_the_rest_by_score() -> None:
    choice = choose(Greedy(), [0.5, 3.0, 2.0, 2.0], SURE, np.random.default_rng(0))

    assert choice == Choice(order=(1, 2, 3, 0), propensities=(0.0, 1.0, 0.0, 0.0))


def test_explored_choice_keeps_the_others_by_score() -> None:
    policy, cov = Explore(Greedy(), 1.0), np.zeros((3, 3))

    orders = {choose(policy, [1.0, 3.0, 2.0], cov, np.random.default_rng(seed)).order for seed in range(50)}

    assert orders == {(0, 1, 2), (1, 2, 0), (2, 1, 0)}


@NAMED
def test_choice_is_a_function_of_scores_and_chance(policy: Policy) -> None:
    scores, cov = [1.0, 1.0, 0.0, 0.5], unsure()

    runs = [
        [choose(policy, scores, cov, rng) for _ in range(20)] for rng in map(np.random.default_rng, (7, 7))
    ]

    assert runs[0] == runs[1]


@NAMED
def test_posted_candidate_never_has_a_propensity_of_zero_and_all_sum_to_one(policy: Policy) -> None:
    for seed in range(300):
        rng = np.random.default_rng(seed)
        choice = choose(policy, rng.normal(size=4), unsure(seed), rng)

        assert choice.propensities[choice.order[0]] > 0
        assert sum(choice.propensities) == pytest.approx(1.0, abs=1e-12)
        assert sorted(choice.order) == [0, 1, 2, 3]


@NAMED
@pytest.mark.parametrize("scores", [[2.0, 1.0, 0.0, -1.0], [1.0, 1.0, 0.0, 0.0]])
def test_candidates_are_posted_as_often_as_their_propensity_says(policy: Policy, scores) -> None:
    rng, n, cov = np.random.default_rng(11), 4000, unsure(3)

    choices = [choose(policy, scores, cov, rng) for _ in range(n)]

    counts = np.bincount([choice.order[0] for choice in choices], minlength=4)
    expected = np.array(
        [choice.propensities for choice in choices]
    )  # Thompson's propensities differ between draws
    for i in range(4):  # five standard errors: a false alarm in a million
        p = expected[:, i]
        assert abs(counts[i] - p.sum()) <= 5 * math.sqrt((p * (1 - p)).sum()) + 1e-6, f"candidate {i}"


def test_thompson_of_two_gives_the_chance_that_the_second_is_better() -> None:
    """For two candidates there is a closed form: the normal CDF of the gap over its standard deviation."""
    cov = np.array([[1.0, 0.3], [0.3, 0.5]])
    exact = 0.5 * (1 + math.erf(-0.4 / math.sqrt(2 * (1.0 + 0.5 - 0.6))))

    found = Thompson(1.0, n_draws=40_000).propensities(np.array([0.4, 0.0]), cov, np.random.default_rng(0))

    assert found[1] == pytest.approx(exact, abs=0.012)


def test_less_scale_means_less_exploration() -> None:
    scores, cov = np.array([1.0, 0.5, 0.0, 0.0]), unsure(1)

    best = [
        Thompson(scale).propensities(scores, cov, np.random.default_rng(0))[0]
        for scale in (0.0, 0.2, 1.0, 5.0)
    ]

    assert best[0] == 1.0
    assert best == sorted(best, reverse=True)
    assert len(set(best)) > 2


def test_upper_bound_prefers_what_may_turn_out_better() -> None:
    scores, cov = np.array([1.0, 0.8]), np.diag([0.0, 1.0])

    found = [UpperBound(w).propensities(scores, cov, np.random.default_rng(0)).tolist() for w in (0.1, 0.3)]

    assert found == [[1.0, 0.0], [0.0, 1.0]]


def test_exploration_is_a_floor_under_every_chance() -> None:
    scores, cov = np.array([9.0, 0.0, 0.0, 0.0]), SURE

    found = Explore(Thompson(0.2), 0.02).propensities(scores, cov, np.random.default_rng(0))

    assert found.tolist() == pytest.approx([0.985, 0.005, 0.005, 0.005])


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (LearningSettings(), "thompson:0.1+0.02"),
        (LearningSettings(policy="greedy"), "greedy"),
        (LearningSettings(policy="epsilon", exploration=0.1), "greedy+0.1"),
        (LearningSettings(policy="ucb", ucb_width=0.5), "ucb:0.5+0.02"),
        (LearningSettings(policy="thompson", thompson_scale=1.0, exploration=0.0), "thompson:1+0"),
    ],
)
def test_the_settings_name_the_policy(settings: LearningSettings, name: str) -> None:
    assert policy_of(settings).name == name


@pytest.mark.parametrize(
    ("scores", "covariance"),
    [
        ([], np.zeros((0, 0))),
        ([1.0, math.nan], np.zeros((2, 2))),
        ([math.inf, 0.0], np.zeros((2, 2))),
        ([1.0, 0.0], np.full((2, 2), math.nan)),
        ([1.0, 0.0], np.zeros((3, 3))),
    ],
)
def test_scores_that_cannot_be_compared_are_refused(scores, covariance) -> None:
    with pytest.raises(ValueError, match="finite scores"):
        choose(Greedy(), scores, covariance, np.random.default_rng(0))


@pytest.mark.parametrize(
    "made", [lambda: Explore(Greedy(), 1.5), lambda: UpperBound(-1.0), lambda: Thompson(-0.1)]
)
def test_settings_out_of_range_are_refused(made) -> None:
    with pytest.raises(ValueError, match="expected"):
        made()
