"""The pooled fit of the mean: balancing likes and dislikes does not bias it."""

from __future__ import annotations

import numpy as np
import pytest

from personalization.population.fit_prior import best_or_next_smaller
from personalization.population.pooled import Pool, Pooled, teachers

DIM = 6


def mostly_liked(n: int, u: int = 200, seed: int = 0) -> tuple[Pool, np.ndarray, float]:
    """Members who like nearly everything, slightly less in one direction: pool, taste, intercept."""
    rng = np.random.default_rng(seed)
    taste, intercept = rng.normal(size=DIM), 3.0
    X = rng.normal(size=(n, DIM)).astype(np.float32)
    y = (rng.random(n) < 1 / (1 + np.exp(-(X @ taste + intercept)))).astype(np.float32)
    return Pool(X, y, np.ones(n, np.float32), rng.integers(0, u, n)), taste, intercept


def fitted(pool: Pool, balance: float, ridge: float) -> np.ndarray:
    pooled = Pooled.of(pool, teachers(pool, 1e9), "cpu", balance=balance)
    precision = np.append(np.full(DIM, ridge), 0.01)
    return pooled.solve(np.zeros(DIM + 1), precision)


@pytest.mark.parametrize("balance", [0.5, 1.0])
def test_balancing_leaves_weights_and_intercept_what_they_mean(balance: float) -> None:
    """With enough labels both fits find the truth: a smaller weight of likes is not taken for dislike."""
    pool, taste, intercept = mostly_liked(40_000)

    found = fitted(pool, balance, 0.01)

    np.testing.assert_allclose(found, np.append(taste, intercept), atol=0.12)


def test_balancing_keeps_a_penalty_from_drowning_the_few_dislikes() -> None:
    pool, taste, _ = mostly_liked(2000)

    plain, balanced = (fitted(pool, balance, 100.0)[:-1] for balance in (0.0, 0.5))

    assert np.linalg.norm(balanced - taste) < 0.9 * np.linalg.norm(plain - taste)


def test_a_balanced_population_is_left_alone() -> None:
    pool, _, _ = mostly_liked(500)
    half = Pool(pool.X, np.tile([0.0, 1.0], 250).astype(np.float32), pool.weight, pool.member)

    np.testing.assert_allclose(fitted(half, 1.0, 1.0), fitted(half, 0.0, 1.0), atol=1e-7)


def test_pairs_and_a_population_that_likes_everything_are_left_alone() -> None:
    pool, _, _ = mostly_liked(500)
    pairs = Pool(pool.X, pool.y, pool.weight, pool.member, np.ones(500, bool))
    pleased = Pool(pool.X, np.ones(500, np.float32), pool.weight, pool.member)

    for same in (pairs, pleased):
        np.testing.assert_array_equal(fitted(same, 1.0, 1.0), fitted(same, 0.0, 1.0))


def test_nobody_weighs_more_in_the_balanced_fit_than_the_cap_lets_them() -> None:
    """A member who dislikes everything, among members who like everything, weighs no more than one member."""
    pool, _, _ = mostly_liked(400, u=40)
    y = np.where(pool.member == 7, 0.0, 1.0).astype(np.float32)
    grumpy = Pool(pool.X, y, pool.weight, pool.member)
    members = teachers(grumpy, 5.0)

    pooled = Pooled.of(grumpy, members, "cpu", balance=1.0)

    owner = np.repeat(np.arange(len(members)), [len(member.rows) for member in members])
    totals = np.bincount(owner, weights=pooled.balanced.numpy())
    assert totals.max() <= 5.0 + 1e-6
    assert totals.max() == pytest.approx(5.0)


def test_the_mean_does_not_depend_on_where_its_fit_begins() -> None:
    pool, taste, intercept = mostly_liked(500)
    pooled, precision = Pooled.of(pool, teachers(pool, 1e9), "cpu"), np.full(DIM + 1, 3.0)

    cold = pooled.solve(np.zeros(DIM + 1), precision)
    warm = pooled.solve(np.zeros(DIM + 1), precision, begin=np.append(taste, intercept))

    np.testing.assert_allclose(warm, cold, atol=1e-7)


@pytest.mark.parametrize(
    ("penalty", "losses"),
    [
        (1, [[0.69, 0.70], [0.66, 0.68], [0.67, 0.66], [0.68, 0.69]]),  # 2 is best, 1 level with it
        (
            2,
            [[0.69, 0.70], [0.67, 0.67], [0.66, 0.66], [0.68, 0.69]],
        ),  # 1 is worse by more than a standard error
        (2, [[0.70, 0.70], [0.70, 0.70], [0.70, 0.70], [0.69, 0.70]]),  # all are equal: only one step down
        (0, [[0.66, 0.66], [0.67, 0.67], [0.67, 0.67], [0.67, 0.67]]),  # nothing is smaller
        (1, [[0.66], [0.65], [0.67], [0.67]]),  # one fold has no standard error
    ],
)
def test_of_penalties_that_rank_alike_the_smaller_neighbour_of_the_best_is_taken(
    penalty: int, losses: list[list[float]]
) -> None:
    assert best_or_next_smaller(np.array(losses)) == penalty
