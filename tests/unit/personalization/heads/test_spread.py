"""The packed posterior covariance, against the full one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from personalization.encoding.style_axes import n_axes
from personalization.heads.heads import Prior
from personalization.heads.spread import LEADING, leading, score_covariance
from personalization.solving.gate import learn_heads
from personalization.solving.posterior import exact_score_covariance
from personalization.solving.training import Examples, solve_heads

DIM, K = 60, 4


def prior_of(rank: int, *, variance: float = 0.0) -> Prior:
    """A prior with directions of falling variance."""
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(DIM + 1, rank)) * 0.7 ** np.arange(rank)
    return Prior(
        rng.normal(size=DIM).astype(np.float32) / 8,
        np.full(DIM, variance, np.float32),
        0.25,
        2.0,
        "f" * 32,
        (factor / 4).astype(np.float32),
    )


def labels(u: int, n: int) -> Examples:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(u, n, DIM)).astype(np.float32)
    y = rng.choice([0.0, 0.5, 1.0], size=(u, n)).astype(np.float32)
    return Examples(X, y, np.ones((u, n), np.float32), np.ones((u, n), bool))


def centred(covariance: np.ndarray) -> np.ndarray:
    """Covariance of the differences from the candidates' mean."""
    off = np.eye(K) - 1 / K
    return off @ covariance @ off


def kept_and_exact(prior: Prior, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Candidates' covariance of five members, from the packed and from the full posterior."""
    examples = labels(5, n)
    candidates = np.random.default_rng(2).normal(size=(5, K, DIM)).astype(np.float32)
    bank, _ = learn_heads(examples, prior, "cpu")
    assert bank.spreads is not None
    kept = [score_covariance(own, prior, bank.spreads[u]) for u, own in enumerate(candidates)]
    exact = exact_score_covariance(examples, candidates, prior, "cpu")
    return np.stack(kept), np.stack([centred(cov) for cov in exact])


@pytest.mark.parametrize("n", [1, 6, 40])
def test_with_few_directions_nothing_is_lost(n: int) -> None:
    kept, exact = kept_and_exact(prior_of(10), n)

    np.testing.assert_allclose(kept, exact, atol=4e-3 * exact.max())


@pytest.mark.parametrize("n", [6, 40])
def test_with_many_directions_the_telling_ones_are_kept(n: int) -> None:
    """The standard deviation by which a policy explores is off by a few percent."""
    kept, exact = kept_and_exact(prior_of(40), n)

    sd_kept, sd_exact = (np.sqrt(np.diagonal(cov, axis1=1, axis2=2)) for cov in (kept, exact))
    np.testing.assert_allclose(sd_kept, sd_exact, rtol=0.1)


def test_labels_narrow_what_is_open() -> None:
    prior = prior_of(10)

    traces = [np.trace(kept_and_exact(prior, n)[0], axis1=1, axis2=2).mean() for n in (1, 6, 40)]

    assert traces == sorted(traces, reverse=True)
    assert traces[-1] < 0.5 * traces[0]


def test_a_member_without_labels_has_the_covariance_of_the_prior() -> None:
    prior = prior_of(40, variance=0.1)
    candidates = np.random.default_rng(2).normal(size=(1, K, DIM)).astype(np.float32)

    open_ = score_covariance(candidates[0], prior, None)

    nothing = Examples.pad(
        [(np.zeros((0, DIM), np.float32), np.zeros(0, np.float32), np.zeros(0, np.float32))]
    )
    exact = centred(exact_score_covariance(nothing, candidates, prior, "cpu")[0])
    np.testing.assert_allclose(open_, exact, rtol=1e-5, atol=1e-6)


def test_beside_its_directions_a_prior_stays_as_open_as_it_was() -> None:
    """The diagonal part keeps its prior variance, in addition to the packed covariance."""
    flat = replace(prior_of(10), variance=np.full(DIM, 0.02, np.float32))

    kept, exact = kept_and_exact(flat, 20)

    assert (np.diagonal(kept, axis1=1, axis2=2) >= 0.95 * np.diagonal(exact, axis1=1, axis2=2)).all()


def test_what_all_candidates_share_has_no_effect() -> None:
    prior = prior_of(10, variance=0.1)
    candidates = np.random.default_rng(2).normal(size=(K, DIM)).astype(np.float32)

    moved = score_covariance(candidates + 5, prior, None)

    np.testing.assert_allclose(moved, score_covariance(candidates, prior, None), atol=1e-4)


def test_leading_directions_are_the_largest_in_whatever_order_they_come() -> None:
    prior = prior_of(40)
    assert prior.factor is not None
    turned = replace(prior, factor=np.ascontiguousarray(prior.factor[:, ::-1]))

    assert len(leading(prior)) == LEADING
    assert leading(turned).tolist() == (39 - leading(prior)).tolist()
    assert set(leading(prior)) <= set(range(LEADING + 8))


def test_a_prior_that_learnt_no_direction_keeps_nothing_of_it() -> None:
    plain = replace(prior_of(10, variance=0.1), factor=None)
    examples = labels(2, 6)

    bank, _ = learn_heads(examples, plain, "cpu")

    assert bank.spreads is not None
    assert bank.spreads[:, 0].tolist() == [1.0, 1.0]
    assert bank.spreads.shape == (2, 1 + n_axes(DIM))
    assert bank.head(0).weights.tolist() != solve_heads(examples, plain, "cpu")[0].head(1).weights.tolist()
