"""The sparse part of the prior: an average over all sets of at most two loud features, in closed form."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from personalization.errors import HeadDamaged
from personalization.heads.heads import Prior
from personalization.solving import loud_tastes
from personalization.solving.gate import learn_heads
from personalization.solving.newton import newton_dual
from personalization.solving.posterior import look_back
from personalization.solving.training import Examples, solve_heads
from tests.conformance.members import bodies, some_members, some_prior

S = 5
"""Features that may be loud in these tests: the last ones."""
ONE, TWO = 0.3, 0.6


def slab_of(one: float, two: float) -> loud_tastes.Slab:
    return loud_tastes.Slab(torch.full((S,), 4.0, dtype=torch.float64), one, two)


def loud_prior(*, dim: int = 12, variance: float = 0.05, slab: float = 4.0) -> Prior:
    """A prior with small variances, of which the last features may be loud."""
    loud = np.zeros(dim, np.float32)
    loud[-S:] = slab
    small = np.full(dim, variance, np.float32)
    return replace(some_prior(dim=dim), mean=np.zeros(dim, np.float32), variance=small, loud=loud)


def by_hand(G: np.ndarray, J: np.ndarray, variance: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Enumerate the hypotheses of one member: mean, covariance and chance of each loud weight."""
    s = len(G)
    logs, means, squares, sets = [], [], [], []
    for size in (0, 1, 2):
        prior = (1 - ONE - TWO, ONE, TWO)[size]
        every = list(itertools.combinations(range(s), size))
        for chosen in every:
            some = np.array(chosen, dtype=int)
            Q = np.eye(size) / variance + J[np.ix_(some, some)]
            mean, square = np.zeros(s), np.zeros((s, s))
            mean[some] = np.linalg.solve(Q, G[some])
            square[np.ix_(some, some)] = np.linalg.inv(Q)
            evidence = 0.5 * G[some] @ mean[some] - 0.5 * np.linalg.slogdet(variance * Q)[1]
            logs.append(math.log(prior / len(every)) + evidence)
            means.append(mean)
            squares.append(square + np.outer(mean, mean))
            sets.append(np.isin(np.arange(s), some))
    chances = np.exp(np.array(logs) - max(logs))
    chances /= chances.sum()
    mean = chances @ np.array(means)
    return mean, np.tensordot(chances, np.array(squares), 1) - np.outer(mean, mean), chances @ np.array(sets)


def test_the_average_equals_an_enumeration_of_all_hypotheses():
    rng = np.random.default_rng(0)
    G = rng.normal(size=(7, S)) * 3
    A = rng.normal(size=(7, S, 9))
    J = A @ A.transpose(0, 2, 1) / 4

    found = loud_tastes.average(torch.from_numpy(G), torch.from_numpy(J), slab_of(ONE, TWO))

    for u in range(7):
        mean, covariance, chance = by_hand(G[u], J[u], 4.0)
        np.testing.assert_allclose(found.mean[u].numpy(), mean, atol=1e-9)
        np.testing.assert_allclose(found.covariance[u].numpy(), covariance, atol=1e-9)
        np.testing.assert_allclose(found.chance[u].numpy(), chance, atol=1e-9)


def test_without_loud_features_the_solution_is_that_of_newtons_method(monkeypatch):
    monkeypatch.setattr(loud_tastes, "STEPS", 200)
    rng = np.random.default_rng(1)
    C = torch.from_numpy(rng.normal(size=(3, 8, 4)))
    K, m = C @ C.transpose(1, 2), torch.from_numpy(rng.normal(size=(3, 8)))
    y, w = torch.from_numpy(rng.random((3, 8))), torch.from_numpy(rng.uniform(0.5, 2, (3, 8)))
    X = torch.from_numpy(rng.normal(size=(3, 8, S)))

    found = loud_tastes.solve(C, K, m, X, slab_of(1e-300, 1e-300), y, w)

    exact, _, _ = newton_dual(K, m, y, w)
    torch.testing.assert_close(found.a, exact, atol=1e-6, rtol=0)


def taught(n: int, column: int, *, seed: int = 0, dim: int = 12, flipped: float = 0.0) -> Examples:
    """One member who likes what is above the average in one feature."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(1, n, dim)).astype(np.float32)
    y = ((X[:, :, column] > 0) != (rng.random((1, n)) < flipped)).astype(np.float32)
    return Examples(X, y, np.ones_like(y), np.ones(y.shape, bool))


@pytest.mark.parametrize("column", range(12 - S, 12))
def test_a_loud_taste_is_found_among_few_labels_with_some_wrong(column):
    prior = loud_prior()

    examples = taught(40, column, flipped=0.1)

    found = look_back(examples, prior, None, solve_heads(examples, prior, "cpu")[0], "cpu")

    assert found.loud is not None
    assert found.loud.chance[0].argmax() == column - (12 - S)
    assert found.loud.chance[0].max() > 0.9
    assert found.loud.mean[0, column - (12 - S)] > 1


def test_a_loud_taste_is_learnt_faster_than_under_the_gaussian_part_alone():
    prior = loud_prior()
    column = 12 - S

    sparse, plain = (learn_heads(taught(10, column), p, "cpu")[0] for p in (prior, replace(prior, loud=None)))

    assert sparse.weights[0, column] > 2 * plain.weights[0, column]


def test_on_labels_of_noise_the_loud_weights_stay_small():
    prior, sizes = loud_prior(), []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(1, 20, 12)).astype(np.float32)
        y = rng.integers(0, 2, (1, 20)).astype(np.float32)
        noise = Examples(X, y, np.ones_like(y), np.ones(y.shape, bool))
        bank, _ = learn_heads(noise, prior, "cpu")
        sizes.append(float(np.abs(bank.weights[0, -S:]).max()))

    taste = learn_heads(taught(20, 11), prior, "cpu")[0].weights[0, 11]
    assert np.median(sizes) < 0.35 * taste


@pytest.mark.parametrize("u", [1, 2, 7])
@pytest.mark.parametrize("factor", [False, True])
def test_company_order_and_padding_have_no_effect(u, factor):
    prior = loud_prior()
    if factor:
        drawn = np.random.default_rng(5).normal(size=(13, 3)).astype(np.float32) / 4
        prior = replace(prior, factor=drawn, variance=np.zeros(12, np.float32))
    members = some_members(u)
    together = bodies(learn_heads(Examples.pad(members), prior, "cpu")[0])

    alone = [bodies(learn_heads(Examples.pad([one]), prior, "cpu")[0])[0] for one in members]
    backwards = bodies(learn_heads(Examples.pad(members[::-1]), prior, "cpu")[0])[::-1]

    assert together == alone == backwards


def test_a_member_without_labels_gets_the_prior():
    prior = loud_prior()
    nothing = (np.zeros((0, 12), np.float32), np.zeros(0, np.float32), np.zeros(0, np.float32))

    bank, _ = learn_heads(Examples.pad([*some_members(2), nothing]), prior, "cpu")

    np.testing.assert_array_equal(bank.weights[2], prior.head().weights)
    assert float(bank.biases[2]) == prior.head().bias


def test_the_prior_keeps_what_may_be_loud_in_its_bytes_and_in_every_server():
    prior = loud_prior()

    read = Prior.from_bytes(prior.to_bytes(), feature_id=prior.feature_id, dim=prior.dim)

    np.testing.assert_array_equal(read.loud, prior.loud)
    assert read.prior_id == prior.prior_id != replace(prior, loud=None).prior_id
    np.testing.assert_array_equal(prior.around(b"a server").loud, prior.loud)


@pytest.mark.parametrize(("one", "two"), [(0.0, 0.5), (0.5, 0.5), (0.5, -0.1)])
def test_a_prior_whose_chances_are_no_probabilities_is_refused(one: float, two: float):
    body = replace(loud_prior(), loud_chances=(one, two)).to_bytes()

    with pytest.raises(HeadDamaged, match="probabilities of loud features"):
        Prior.from_bytes(body, feature_id=loud_prior().feature_id, dim=12)


def test_chances_are_read_back_and_change_the_head():
    rare = replace(loud_prior(), loud_chances=(0.2, 0.1))
    read = Prior.from_bytes(rare.to_bytes(), feature_id=rare.feature_id, dim=12)

    assert read.loud_chances == (0.2, 0.1)
    examples = taught(8, 11)
    often, seldom = (learn_heads(examples, prior, "cpu")[0].weights[0, 11] for prior in (loud_prior(), read))
    assert 0 < seldom < often


def contradicting(n: int) -> tuple[torch.Tensor, ...]:
    """A member whose labels contradict each other about nearly the same replies, with large features."""
    rng = np.random.default_rng(2)
    X = np.repeat(6 * rng.normal(size=(1, n // 2, S)), 2, axis=1) + 0.3 * rng.normal(size=(1, n, S))
    y = np.tile([0.0, 1.0], n // 2)[None]
    y[0, : n // 2] = X[0, : n // 2, 0] > 0
    C = 0.1 * rng.normal(size=(1, n, 4))
    return tuple(torch.from_numpy(part) for part in (C, C @ C.transpose(0, 2, 1), X, y))


@pytest.mark.parametrize("n", [4, 8, 12, 20])
def test_contradicting_labels_do_not_make_the_solution_diverge(n: int, monkeypatch):
    C, K, X, y = contradicting(n)
    m, w = torch.zeros_like(y), torch.ones_like(y)

    few = loud_tastes.solve(C, K, m, X, slab_of(ONE, TWO), y, w)
    monkeypatch.setattr(loud_tastes, "STEPS", 60)
    many = loud_tastes.solve(C, K, m, X, slab_of(ONE, TWO), y, w)

    assert (few.scores - many.scores).abs().max() < 0.5
