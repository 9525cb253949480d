"""Newton's method converges, from any start and in each of its forms, to the optimum of the reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from personalization.population.pooled import Pooled, teachers
from personalization.solving import newton
from personalization.solving.newton import newton_dual, newton_primal
from personalization.solving.training import Examples, solve_heads
from tests.conformance.members import (
    DEVICES,
    DIM,
    pool_of,
    some_members,
    some_prior,
)
from tests.reference import map_head


def test_newton_converges_to_the_reference_to_nine_digits() -> None:
    (X, y, weight), prior = some_members(1, seed=5)[0], some_prior()
    w, b = map_head(X, y, weight, prior.mean, prior.variance, prior.bias_mean, prior.bias_variance)
    rows = torch.from_numpy(X).double()
    K = ((rows * torch.from_numpy(prior.variance)) @ rows.T + prior.bias_variance)[None]
    m = (rows @ torch.from_numpy(prior.mean).double() + prior.bias_mean)[None]

    a, _, unsolved = newton_dual(
        K, m, torch.from_numpy(y).double()[None], torch.from_numpy(weight).double()[None]
    )

    solved = prior.mean + prior.variance * (a[0].numpy() @ X.astype(float))
    np.testing.assert_allclose(solved, w, atol=1e-9)
    np.testing.assert_allclose(prior.bias_mean + prior.bias_variance * a.sum().item(), b, atol=1e-9)
    assert unsolved == 0


@pytest.mark.parametrize("scale", [1.0, 10.0, 30.0])
def test_newton_always_converges(scale: float) -> None:
    """With contradictory labels, large features and a wrong start, undamped Newton steps would overshoot."""
    rng = np.random.default_rng(3)
    X = (scale * rng.normal(size=(3, 25, DIM))).astype(np.float32)
    y = rng.integers(0, 2, size=(3, 25)).astype(np.float32)
    examples = Examples(X, y, np.full((3, 25), 5, np.float32), np.ones((3, 25), bool))
    prior = replace(some_prior(), mean=np.full(DIM, 20, np.float32))

    _, report = solve_heads(examples, prior, "cpu")

    assert report.n_unsolved == 0
    assert report.n_steps < newton.MAX_STEPS


@DEVICES
def test_the_dual_and_the_primal_solve_agree(device: str) -> None:
    rng = np.random.default_rng(5)
    C = torch.from_numpy(rng.normal(size=(7, 9, 4))).to(device)
    m, y = (
        torch.from_numpy(rng.normal(size=(7, 9))).to(device),
        torch.from_numpy(rng.random((7, 9))).to(device),
    )
    w = torch.from_numpy(rng.uniform(0.1, 2.0, size=(7, 9))).to(device)

    a, _, unsolved_dual = newton_dual(C @ C.transpose(1, 2), m, y, w)
    z, _, unsolved_primal = newton_primal(C, m, y, w)

    assert unsolved_dual == unsolved_primal == 0
    torch.testing.assert_close((C.transpose(1, 2) @ a[:, :, None])[:, :, 0], z, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("tolerance", [None, 1e-5])
def test_where_a_solve_begins_changes_its_steps_and_not_its_solution(tolerance: float | None) -> None:
    rng = np.random.default_rng(5)
    C, start = (torch.from_numpy(rng.normal(size=shape)) for shape in ((7, 9, 4), (7, 4)))
    m, y, w = (torch.from_numpy(rng.random((7, 9))) for _ in range(3))
    P = torch.from_numpy(np.diag([0.5, 1.0, 2.0, 4.0]))
    z, cold, _ = newton_primal(C, m, y, w, precision=P)

    for begin in (start, z):
        found, steps, unsolved = newton_primal(C, m, y, w, precision=P, start=begin, tolerance=tolerance)
        torch.testing.assert_close(found, z, atol=1e-4 if tolerance else 1e-9, rtol=0)
        assert unsolved == 0
    assert steps < cold


@DEVICES
def test_the_pooled_mean_matches_reference(device: str) -> None:
    """The prior's first step, one regression over all members, equals the slow reference."""
    members, starter = some_members(9), some_prior()
    pool = pool_of(members)
    pooled = Pooled.of(pool, teachers(pool, 1e9), device, balance=0.0)
    variance = np.append(starter.variance, starter.bias_variance).astype(np.float64)

    theta = pooled.solve(np.append(starter.mean, starter.bias_mean).astype(np.float64), 1 / variance)

    w, b = map_head(
        pool.X, pool.y, pool.weight, starter.mean, starter.variance, starter.bias_mean, starter.bias_variance
    )
    np.testing.assert_allclose(theta, np.append(w, b), atol=1e-5)
