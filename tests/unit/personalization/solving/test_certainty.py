"""The certainty of the axes of style, against an enumeration of every set of loud features."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from personalization.encoding.features import STYLE_FEATURES
from personalization.encoding.style_axes import DIRECTIONS, axes_of, n_axes
from personalization.heads.heads import Prior
from personalization.heads.spread import certainty_of
from personalization.solving import loud_tastes
from personalization.solving.gate import learn_heads
from personalization.solving.training import Examples

DIM = len(STYLE_FEATURES) + 3
N = 9


def prior_of(*, loud: bool = True, factor: bool = True, mean: float = 0.3) -> Prior:
    """A prior whose average member has tastes, too."""
    rng = np.random.default_rng(3)
    may_be = np.zeros(DIM, np.float32)
    may_be[3:] = 4.0
    return Prior(
        (mean * rng.normal(size=DIM)).astype(np.float32),
        np.full(DIM, 0.05, np.float32),
        0.25,
        2.0,
        "f" * 32,
        (rng.normal(size=(DIM + 1, 4)) / 4).astype(np.float32) if factor else None,
        loud=may_be if loud else None,
    )


def labels(u: int, seed: int = 0) -> Examples:
    """Members who like what is above the average in one or two features, each another."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(u, N, DIM)).astype(np.float32)
    liked = X[:, :, 3] + X[:, :, 10] > 0
    y = liked.astype(np.float32)
    return Examples(X, y, np.ones_like(y), np.ones(y.shape, bool))


def by_hand(
    prior: Prior, X: np.ndarray, y: np.ndarray, at: np.ndarray, curvature: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the certainty of wanting more, and of wanting less, of each axis, set by set."""
    E, may_be = axes_of(DIM), prior.loud_features()
    p = 1 / (1 + np.exp(-at))
    gap = at + (y - p) / curvature - X @ prior.mean - prior.bias_mean
    A = prior.directions()
    logs, more, less = [], [], []
    for size, chance in enumerate((1 - sum(prior.loud_chances), *prior.loud_chances)):
        sets = list(itertools.combinations(may_be, size))
        for chosen in sets:
            covariance = np.diag(prior.variance.astype(np.float64)) + A[:-1] @ A[:-1].T
            covariance[list(chosen), list(chosen)] += 4.0
            S = X @ covariance @ X.T + prior.bias_variance + np.diag(1 / curvature)
            cross = X @ (A[:-1] @ A[-1])  # weights and intercept vary together, along the directions
            S += cross[:, None] + cross + (A[-1, :-1] ** 2).sum()
            k = E @ (covariance @ X.T + (A[:-1] @ A[-1])[:, None])
            mean = k @ np.linalg.solve(S, gap)
            sd = np.sqrt(np.diag(E @ covariance @ E.T - k @ np.linalg.solve(S, k.T)))
            logs.append(
                math.log(chance / len(sets)) - 0.5 * (np.linalg.slogdet(S)[1] + gap @ np.linalg.solve(S, gap))
            )
            usual = E @ prior.mean
            more.append([normal(t) for t in (mean - np.maximum(-usual, 0)) / sd])
            less.append([normal(t) for t in (-mean - np.maximum(usual, 0)) / sd])
    weights = np.exp(np.array(logs) - max(logs))
    weights /= weights.sum()
    return weights @ np.array(more), weights @ np.array(less)


def normal(t: float) -> float:
    return (1 + math.erf(t / math.sqrt(2))) / 2


@pytest.mark.parametrize("factor", [False, True])
@pytest.mark.parametrize("mean", [0.0, 0.3])
def test_the_certainty_equals_an_enumeration_of_all_hypotheses(factor: bool, mean: float, monkeypatch):
    prior, examples, steps = prior_of(factor=factor, mean=mean), labels(2), []
    real = loud_tastes._step
    monkeypatch.setattr(loud_tastes, "_step", lambda *a, **k: steps.append(k) or real(*a, **k))

    bank, _ = learn_heads(examples, prior, "cpu")

    assert bank.spreads is not None
    at, curvature = (steps[-1][name].numpy() for name in ("at", "curvature"))
    for u in range(2):
        found = certainty_of(prior, bank.spreads[u])
        more, less = by_hand(prior, examples.X[u].astype(np.float64), examples.y[u], at[u], curvature[u])
        assert found is not None
        np.testing.assert_allclose(found, np.where(found > 0, more, -less), atol=1e-3)
        assert (found > 0).any() and (found < 0).any()


@pytest.mark.parametrize("loud", [False, True])
def test_labels_make_sure_of_their_axis_alone(loud: bool):
    prior = prior_of(loud=loud, factor=False, mean=0.0)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1, 60, DIM)).astype(np.float32)
    y = (X[:, :, 3 + STYLE_FEATURES.index("emoji")] < 0).astype(np.float32)

    bank, _ = learn_heads(Examples(X, y, np.ones_like(y), np.ones(y.shape, bool)), prior, "cpu")

    found = certainty_of(prior, bank.head(0).spread)
    assert found is not None
    axes = [one.axis for one in DIRECTIONS]
    assert axes[int(np.abs(found).argmax())] == "emoji"
    assert found[axes.index("emoji")] < -0.95


def test_features_without_style_have_no_axes_and_earlier_heads_no_certainty():
    prior = prior_of()
    bank, _ = learn_heads(labels(1), prior, "cpu")
    spread = bank.head(0).spread

    assert spread is not None
    assert certainty_of(prior, spread) is not None
    assert certainty_of(prior, spread[: -len(DIRECTIONS)]) is None
    assert certainty_of(prior, None) is None
    assert n_axes(len(STYLE_FEATURES) - 1) == 0


def test_a_member_without_labels_has_no_certainty_in_any_axis():
    nothing = (np.zeros((0, DIM), np.float32), np.zeros(0, np.float32), np.zeros(0, np.float32))
    some = (labels(1).X[0], labels(1).y[0], np.ones(N, np.float32))

    bank, _ = learn_heads(Examples.pad([some, nothing]), replace(prior_of(), factor=None), "cpu")

    assert bank.spreads is not None
    assert not np.any(certainty_of(replace(prior_of(), factor=None), bank.spreads[1]))
