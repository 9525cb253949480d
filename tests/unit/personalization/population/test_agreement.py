"""Agreement finds the members who contradict the others, if enough members agree."""

from __future__ import annotations

import numpy as np
import pytest

from personalization.arrays import FloatArray
from personalization.heads.heads import Prior
from personalization.population.agreement import Agreement, agreement_of
from personalization.population.pooled import Pool

D, N_LABELS = 12, 20
STARTER = Prior(np.zeros(D, np.float32), np.ones(D, np.float32), 0.0, 4.0, "test")


def population(tastes: FloatArray, *, seed: int = 0, threshold: float = 0.0) -> Pool:
    """Labels of one member for each taste, ``u x d``; all share one threshold."""
    rng = np.random.default_rng(seed)
    u = len(tastes)
    X = rng.normal(size=(u, N_LABELS, D)).astype(np.float32)
    logits = (X @ tastes[:, :, None])[:, :, 0] + threshold
    y = (rng.random((u, N_LABELS)) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    ones = np.ones(u * N_LABELS, np.float32)
    return Pool(X.reshape(-1, D), y.ravel(), ones, np.repeat(np.arange(u), N_LABELS))


def tastes(n: int, n_against: int, *, n_apart: int = 0, seed: int = 0) -> FloatArray:
    """Tastes of members who agree, then of members against them, then of members of unrelated tastes."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=D)
    side = np.repeat([1.0, -1.0, 0.0], [n, n_against, n_apart])[:, None]
    own = rng.normal(size=(len(side), D)) * np.where(side == 0, 0.8, 0.2)
    return side * common + own


def agreed(pool: Pool) -> Agreement:
    return agreement_of(pool, STARTER, member_cap=20.0, n_embedding=None)


def parts_of(found: Agreement, n: int) -> FloatArray:
    return np.array([found.by_member.get(i, 1.0) for i in range(n)])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("threshold", [0.0, 2.0])
@pytest.mark.parametrize("n_against", [4, 12, 20])
def test_members_against_the_others_hardly_count(n_against, threshold, seed):
    found = agreed(population(tastes(48, n_against, seed=seed), threshold=threshold, seed=seed))

    parts = parts_of(found, 48 + n_against)
    assert found.quorum
    assert parts[:48].mean() > 0.9
    assert parts[48:].mean() < 0.2


@pytest.mark.parametrize("seed", range(3))
def test_members_of_an_unrelated_taste_count_nearly_fully(seed):
    found = agreed(population(tastes(48, 0, n_apart=12, seed=seed), seed=seed))

    assert found.quorum
    assert parts_of(found, 60)[48:].mean() > 0.7


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n_against", [30, 80])
def test_without_two_thirds_all_count_alike_and_there_is_no_quorum(n_against, seed):
    found = agreed(population(tastes(48, n_against, seed=seed), seed=seed))

    assert not found.quorum
    assert not found.by_member


def test_where_nothing_is_shared_nobody_is_against():
    own = np.random.default_rng(0).normal(size=(60, D))

    assert parts_of(agreed(population(own)), 60).mean() > 0.9


def test_too_few_members_are_not_compared():
    assert agreed(population(tastes(30, 9))) == Agreement({}, quorum=True)


def test_the_order_of_members_has_no_effect():
    pool = population(tastes(48, 12))
    order = np.random.default_rng(1).permutation(60)
    rows = np.concatenate([np.flatnonzero(pool.member == member) for member in order])
    mixed = Pool(pool.X[rows], pool.y[rows], pool.weight[rows], pool.member[rows])

    assert agreed(mixed) == agreed(pool)


def test_members_with_labels_of_one_kind_count_fully():
    pool = population(tastes(48, 2))
    pool.y[pool.member >= 48] = 0.0

    assert parts_of(agreed(pool), 50)[48:].min() > 0.9
