"""Properties of the prior: what it learns from members, and what must not change it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from personalization.population import fit_prior as population
from personalization.population.fit_prior import RIDGES, fit_prior
from personalization.solving.training import Examples, solve_heads
from tests.conformance.members import (
    DIM,
    pool_of,
    some_members,
    some_prior,
)


def test_prior_finds_the_direction_in_which_members_differ() -> None:
    """From sixty members who differ in one direction only, the fit learns that direction."""
    rng = np.random.default_rng(3)
    taste = np.zeros(DIM)
    taste[2] = 1.0
    members = []
    for own in rng.choice([-3.0, 3.0], size=60):
        X = rng.normal(size=(30, DIM)).astype(np.float32)
        y = (rng.random(30) < 1 / (1 + np.exp(-own * (X @ taste)))).astype(np.float32)
        members.append((X, y, np.ones(30, np.float32)))

    prior = fit_prior(pool_of(members), some_prior(), member_cap=1e9, device="cpu")

    covariance = prior.factor[:-1] @ prior.factor[:-1].T
    found = np.linalg.eigh(covariance)[1][:, -1]
    assert abs(found @ taste) > 0.95
    others = np.delete(np.diag(covariance), 2)
    assert covariance[2, 2] > 10 * others.max()


def test_a_learnt_covariance_moves_a_head_where_members_differ() -> None:
    """A prior with one direction in which members differ moves a head along that direction only."""
    rng = np.random.default_rng(4)
    factor = np.zeros((DIM + 1, 1), np.float32)
    factor[2] = 2.0
    learnt = replace(some_prior(), variance=np.zeros(DIM, np.float32), factor=factor)
    X = rng.normal(size=(1, 4, DIM)).astype(np.float32)
    examples = Examples(X, np.ones((1, 4), np.float32), np.ones((1, 4), np.float32), np.ones((1, 4), bool))

    moved = solve_heads(examples, learnt, "cpu")[0].weights[0].astype(np.float32) - learnt.mean

    assert abs(moved[2]) > 0.05
    np.testing.assert_allclose(np.delete(moved, 2), 0.0, atol=2e-3)


def test_prior_does_not_depend_on_the_order_of_members() -> None:
    members = some_members(9)

    forwards, backwards = (
        fit_prior(pool_of(order), some_prior(), member_cap=3.0, device="cpu")
        for order in (members, members[::-1])
    )

    assert forwards.prior_id == backwards.prior_id


def test_no_member_weighs_more_than_the_cap_in_the_prior(monkeypatch) -> None:
    """A member who repeats the same labels a hundred times moves the prior no further than the cap allows.

    The penalty is given here. Else held-out members choose it, where each member counts once.
    """
    monkeypatch.setattr(population, "choose_ridge", lambda *_, **__: RIDGES[0])
    members = some_members(9)
    X, y, w = members[0]
    loud = [(np.repeat(X, 100, axis=0), np.repeat(y, 100), np.repeat(w, 100)), *members[1:]]
    cap = float(w.sum())

    fit = partial(fit_prior, starter=some_prior(), device="cpu", calibrated=False)
    capped = fit(pool_of(loud), member_cap=cap)

    others = [(X, y, w * min(1.0, cap / w.sum())) for X, y, w in members]
    np.testing.assert_allclose(capped.mean, fit(pool_of(others), member_cap=1e9).mean, atol=2e-3)
    uncapped = fit(pool_of(loud), member_cap=1e9)
    assert np.abs(uncapped.mean - capped.mean).max() > 0.02  # ten times the tolerance above
