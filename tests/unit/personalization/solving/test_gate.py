"""The gate: the share of a head depends on how well it predicts its own labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from personalization.arrays import DoubleArray
from personalization.heads.heads import HeadBank, Prior
from personalization.solving.gate import learn_heads
from personalization.solving.posterior import look_back
from personalization.solving.training import Examples, solve_heads

DIM, RANK = 30, 8


def some_prior(*, pull: float = 1.0) -> Prior:
    rng = np.random.default_rng(0)
    factor = np.zeros((DIM + 1, RANK))
    factor[:RANK] = np.eye(RANK) * pull
    mean = rng.normal(size=DIM) / 4
    return Prior(
        mean.astype(np.float16).astype(np.float32),
        np.zeros(DIM, np.float32),
        0.25,
        1.0,
        "f" * 32,
        factor.astype(np.float32),
    )


def judged(u: int, n: int, prior: Prior, *, own: float, seed: int) -> tuple[DoubleArray, DoubleArray]:
    """Replies, and labels of members whose taste differs ``own`` times as much as the prior expects."""
    rng = np.random.default_rng(seed)
    A = prior.directions()
    theta = np.append(prior.mean, prior.bias_mean) + own * rng.normal(size=(u, RANK + 1)) @ A.T  # (u, d + 1)
    X = rng.normal(size=(u, n, DIM)).astype(np.float32)
    p = 1 / (1 + np.exp(-(np.einsum("und,ud->un", X, theta[:, :-1]) + theta[:, -1:])))
    return X, (rng.random((u, n)) < p).astype(np.float32)


def examples(X: DoubleArray, y: DoubleArray, **changes) -> Examples:
    return replace(Examples(X, y, np.ones_like(y), np.ones(y.shape, bool)), **changes)


def evidence(given: Examples, prior: Prior) -> DoubleArray:
    own = solve_heads(given, prior, "cpu")[0]
    return look_back(given, prior, own, solve_heads(given, indifferent(prior), "cpu")[0], "cpu").evidence


def indifferent(prior: Prior) -> Prior:
    return replace(prior, factor=None)


def loss(bank: HeadBank, X: DoubleArray, y: DoubleArray) -> DoubleArray:
    """Mean log loss of each member, ``u``."""
    f = bank.scores(X)
    return (np.logaddexp(0, f) - y * f).mean(axis=1)


def bodies(bank: HeadBank) -> list[bytes]:
    return [bank.head(u).to_bytes() for u in range(len(bank))]


# --- the closed form --------------------------------------------------------------------------------------


def honest(X: DoubleArray, y: DoubleArray, prior: Prior, *, in_order: bool) -> DoubleArray:
    """Evidence from a head for every single label, solved from the labels before it, or from all others."""
    u, n = y.shape
    total = np.zeros(u)
    for j in range(1 if in_order else 0, n):
        others = np.arange(n) < j if in_order else np.arange(n) != j
        given = examples(X[:, others], y[:, others])
        both = [solve_heads(given, p, "cpu")[0].scores(X[:, [j]])[:, 0] for p in (indifferent(prior), prior)]
        plain, own = (np.logaddexp(0, f) - y[:, j] * f for f in both)
        total += plain - own
    return total


@pytest.mark.parametrize("own", [0.0, 1.0])
def test_the_closed_form_agrees_with_leaving_labels_out_one_by_one(own: float) -> None:
    prior = some_prior(pull=0.6)
    X, y = judged(40, 16, prior, own=own, seed=1)

    found = evidence(examples(X, y), prior)

    exact = honest(X, y, prior, in_order=False)
    assert np.corrcoef(found, exact)[0, 1] > 0.99
    assert abs((found - exact).mean()) < 0.1


def test_the_closed_form_agrees_with_predicting_each_label_before_it_is_learnt() -> None:
    prior = some_prior(pull=0.6)
    X, y = judged(60, 20, prior, own=1.0, seed=2)

    found = evidence(examples(X, y), prior)

    in_order = honest(X, y, prior, in_order=True)
    assert np.corrcoef(found, in_order)[0, 1] > 0.9
    assert found.mean() > in_order.mean() > 0  # in order, the first labels are predicted from few others


# --- share and roll-back ----------------------------------------------------------------------------------


def test_members_with_a_taste_of_their_own_keep_it() -> None:
    prior = some_prior()
    X, y = judged(100, 60, prior, own=1.5, seed=3)
    given, asked = slice(0, 30), slice(30, 60)

    bank, _ = learn_heads(examples(X[:, given], y[:, given]), prior, "cpu")
    ungated = solve_heads(examples(X[:, given], y[:, given]), prior, "cpu")[0]

    assert bank.shares is not None
    assert np.median(bank.shares) > 0.95
    gained = [loss(heads, X[:, asked], y[:, asked]).mean() for heads in (bank, ungated)]
    assert gained[0] == pytest.approx(gained[1], abs=0.02)


@pytest.mark.parametrize("n", [10, 30, 100])
def test_members_whose_labels_are_noise_end_near_the_prior(n: int) -> None:
    """With random labels, the gate removes most of the harm, measured against members' true taste."""
    prior = some_prior()
    X, y = judged(300, n + 60, prior, own=0.0, seed=4)
    coins = np.random.default_rng(5).integers(0, 2, size=(300, n)).astype(np.float32)
    given, asked = examples(X[:, :n], coins), (X[:, n:], y[:, n:])

    bank, _ = learn_heads(given, prior, "cpu")

    plain = loss(solve_heads(given, indifferent(prior), "cpu")[0], *asked).mean()
    harm, ungated = (
        loss(bank, *asked).mean() - plain,
        loss(solve_heads(given, prior, "cpu")[0], *asked).mean() - plain,
    )
    assert ungated > 0.05
    assert harm < 0.5 * ungated
    assert bank.shares is not None
    assert (bank.shares == 0).mean() > 0.4


def test_a_head_that_fails_its_own_labels_is_rolled_back_to_the_prior() -> None:
    """Labels whose second one in each direction always contradicts the first."""
    prior = some_prior(pull=2.0)
    X = np.zeros((1, 4 * RANK, DIM), np.float32)
    for j in range(4 * RANK):
        X[0, j, j // 4] = 2.0
    y = np.tile([1.0, 0.0], 2 * RANK)[None].astype(np.float32)
    asked = np.random.default_rng(0).normal(size=(5, DIM)).astype(np.float32)

    bank, _ = learn_heads(examples(X, y), prior, "cpu")

    head = bank.head(0)
    assert (head.share, head.spread) == (0.0, None)
    assert head.weights.tolist() == prior.head().weights.tolist()
    np.testing.assert_allclose(np.diff(head.score(asked)), np.diff(prior.head().score(asked)), atol=1e-5)
    assert head.bias == solve_heads(examples(X, y), indifferent(prior), "cpu")[0].head(0).bias


def test_a_head_that_was_rolled_back_returns_when_labels_speak_for_it_again() -> None:
    prior = some_prior(pull=2.0)
    X, y = judged(1, 60, prior, own=1.5, seed=8)
    denied = (
        np.concatenate([X[:, :20], X[:, :20]], axis=1),
        np.concatenate([y[:, :20], 1 - y[:, :20]], axis=1),
    )
    regained = np.concatenate([denied[0], X], axis=1), np.concatenate([denied[1], y], axis=1)

    shares = [learn_heads(examples(*labels), prior, "cpu")[0].head(0).share for labels in (denied, regained)]

    assert shares[0] == 0.0
    assert shares[1] > 0.5


def test_trust_of_the_population_comes_on_top() -> None:
    prior = some_prior()
    half = np.tile(np.array([0.5, 1.0, 0.0], np.float32), (7, 1))
    X, y = judged(20, 20, prior, own=1.5, seed=9)

    full, _ = learn_heads(examples(X, y), prior, "cpu")
    damped, _ = learn_heads(examples(X, y), replace(prior, calibration=half), "cpu")

    assert full.shares is not None
    np.testing.assert_allclose(damped.shares, full.shares / 2, atol=1e-3)
    moved = [bank.weights.astype(float) - prior.mean for bank in (damped, full)]
    np.testing.assert_allclose(moved[0], moved[1] / 2, atol=4e-3)


def test_pairs_are_judged_without_a_threshold() -> None:
    """The threshold cancels in a pair, so its variance does not affect the evidence."""
    prior = some_prior()
    X, y = judged(10, 20, prior, own=1.5, seed=10)
    pairs = examples(X, y, pairwise=np.ones(y.shape, bool))

    found = [evidence(pairs, replace(prior, bias_variance=variance)) for variance in (0.1, 9.0)]

    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    assert np.abs(found[0] - evidence(examples(X, y), prior)).max() > 0.1


# --- a pure function of prior and labels ------------------------------------------------------------------


@pytest.mark.parametrize("variance", [0.0, 0.05])
def test_company_and_padding_have_no_effect(variance: float) -> None:
    prior = replace(some_prior(), variance=np.full(DIM, variance, np.float32))
    X, y = judged(7, 24, prior, own=1.0, seed=11)
    sizes = [1, 3, 24, 9, 17, 2, 12]
    members = [(X[i, :n], y[i, :n], np.ones(n, np.float32)) for i, n in enumerate(sizes)]

    together, _ = learn_heads(Examples.pad(members), prior, "cpu")
    alone = [learn_heads(Examples.pad([member]), prior, "cpu")[0] for member in members]

    assert bodies(together) == [bodies(bank)[0] for bank in alone]
    assert together.shares is not None
    assert len(set(together.shares.tolist())) > 3


def test_forgetting_a_label_is_exact() -> None:
    prior = some_prior()
    X, y = judged(1, 20, prior, own=1.0, seed=12)
    without = bodies(learn_heads(examples(X[:, :19], y[:, :19]), prior, "cpu")[0])

    with_it = bodies(learn_heads(examples(X, y), prior, "cpu")[0])

    assert with_it != without
    assert bodies(learn_heads(examples(X[:, :19], y[:, :19]), prior, "cpu")[0]) == without


def test_member_without_labels_gets_the_prior() -> None:
    prior = some_prior()
    nothing = (np.zeros((0, DIM), np.float32), np.zeros(0, np.float32), np.zeros(0, np.float32))

    head = learn_heads(Examples.pad([nothing]), prior, "cpu")[0].head(0)

    assert (head.weights.tolist(), head.bias) == (prior.head().weights.tolist(), prior.head().bias)
