"""Rows of the evaluation: the methods for solving heads that are compared.

``global`` (one head for all members), ``intercept`` (the global head with a threshold per member),
``independent`` (scikit-learn's LogisticRegression per member), ``isotropic`` (hierarchical, with the same
variance in every direction), ``simpatico`` (the model of :mod:`personalization.population.fit_prior`). For a
new server without a learnt prior: ``plain`` (mean zero, the same variance in every direction) and ``starter``
(the packaged prior). Used by :mod:`personalization.lab.evaluate` and
:mod:`personalization.lab.bandit_replay`; imports no storage.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from personalization.arrays import FloatArray, IntArray
from personalization.heads.heads import HeadBank, Prior
from personalization.lab.datasets import Dataset, binary_labels
from personalization.lab.options import NEW_SERVER_ROWS, ROWS
from personalization.population.calibration import calibrate, folds, held_out
from personalization.population.fit_prior import choose_ridge, fit_prior, mean_precision
from personalization.population.outcomes import platt, together
from personalization.population.pooled import Pool, Pooled, Teacher, teachers
from personalization.settings import Device, PriorSettings
from personalization.solving.gate import LearnHeads, learn_heads
from personalization.solving.training import Examples, solve_heads

MEMBER_CAP = 1e9
"""No cap: in these sets all members were asked for a similar number of labels."""
ISOTROPIC_VARIANCE = 0.3

Solver = Callable[[Examples], HeadBank]
Vary = Callable[[Prior], Prior]


@dataclass(frozen=True, eq=False, slots=True)
class Row:
    """A method for solving heads, and the calibration of their scores by the number of labels k."""

    solve: Solver
    probability: Callable[[FloatArray, int], FloatArray]


def features_of(dataset: Dataset, features: FloatArray, labels: IntArray) -> FloatArray:
    """Select the features of labels, ``n x d``: of the reply, or the difference of the two compared."""
    first = features[dataset.item[labels, 0]]
    return first - features[dataset.item[labels, 1]] if dataset.pairwise else first


def pool_of(dataset: Dataset, features: FloatArray, labels: IntArray) -> Pool:
    """Pool the population's labels. Binarized labels are the outcome of calibration, groups the exchanges."""
    group = np.unique(np.array(dataset.groups)[dataset.item[labels, 0]], return_inverse=True)[1]
    return Pool(
        features_of(dataset, features, labels),
        dataset.y[labels],
        np.full(len(labels), dataset.trust, np.float32),
        dataset.user[labels],
        np.full(len(labels), dataset.pairwise),
        group.astype(np.int64),
        binary_labels(dataset.y[labels], dataset.y[labels]),
    )


def pooled_prior(
    pool: Pool,
    starter: Prior,
    *,
    device: Device,
    n_embedding: int | None,
    ridge: float | None = None,
    vary: Vary | None = None,
) -> Prior:
    """Fit one head for all members, with simpatico's features and choice of penalty, as a prior.

    Args:
        pool: The population's labels.
        starter: Centre of the penalty.
        device: Device on which to solve.
        n_embedding: Number of features that are the embedding.
        ridge: Penalty; None chooses it here.
        vary: Adds variance between members to the prior; None adds none.
    """
    members = teachers(pool, MEMBER_CAP)
    if ridge is None:
        ridge = choose_ridge(pool, members, starter, device=device, n_embedding=n_embedding)

    def learn(some: Sequence[Teacher]) -> Prior:
        centre = np.append(starter.mean, starter.bias_mean).astype(np.float64)
        theta = Pooled.of(pool, some, device).solve(centre, mean_precision(starter, n_embedding, ridge))
        mean = theta[:-1].astype(np.float32)
        prior = Prior(mean, np.zeros_like(mean), float(theta[-1]), 1e-6, starter.feature_id)
        return prior if vary is None else vary(prior)

    return replace(learn(members), calibration=calibrate(pool, members, learn, device, solve_heads))


def make_rows(
    pool: Pool,
    starter: Prior,
    *,
    shipped: Prior | None = None,
    device: Device,
    n_embedding: int | None,
    rows: Sequence[str],
    settings: PriorSettings,
    progress: Callable[[str], None],
) -> dict[str, Row]:
    """Fit every row on the population's support labels.

    Args:
        pool: The population's support labels.
        starter: Centre of the fit of the population prior, and the prior of the row ``plain``.
        shipped: Prior of the row ``starter``; None skips both :data:`NEW_SERVER_ROWS`.
        device: Device on which to solve.
        n_embedding: Number of features that are the embedding.
        rows: Rows of :data:`ROWS` to fit; ``global`` is always fitted.
        settings: Settings of the fit of the row ``simpatico``.
        progress: Called with a line of text after each row.

    Returns:
        The rows by name, in their fixed order.
    """

    def intercept(prior: Prior) -> Prior:
        return replace(prior, bias_variance=starter.bias_variance)

    def isotropic(prior: Prior) -> Prior:
        spread = np.full(starter.dim, ISOTROPIC_VARIANCE, np.float32)
        spread[starter.dim if n_embedding is None else n_embedding :] *= 0.1
        return replace(intercept(prior), variance=spread)

    made: dict[str, Row] = {}
    members = teachers(pool, MEMBER_CAP)
    ridge = choose_ridge(pool, members, starter, device=device, n_embedding=n_embedding)
    for name, vary in {"global": None, "intercept": intercept, "isotropic": isotropic}.items():
        if name in rows or name == "global":
            prior = pooled_prior(
                pool, starter, device=device, n_embedding=n_embedding, ridge=ridge, vary=vary
            )
            made[name] = _row(prior, device)
            progress(f"fitted {name}")
    if "simpatico" in rows:
        prior = fit_prior(
            pool,
            starter,
            member_cap=MEMBER_CAP,
            device=device,
            n_embedding=n_embedding,
            settings=settings,
        )
        made["simpatico"] = _row(prior, device, learn_heads)
        progress("fitted simpatico")
    if "independent" in rows:
        made["independent"] = _independent(pool, members)
        progress("fitted independent")
    if shipped is not None:
        made["plain"], made["starter"] = (_row(prior, device, learn_heads) for prior in (starter, shipped))
        progress("took the starter")
    return {name: made[name] for name in (*ROWS, *NEW_SERVER_ROWS) if name in made}


def _row(prior: Prior, device: Device, heads: LearnHeads = solve_heads) -> Row:
    return Row(lambda given: heads(given, prior, device)[0], prior.probability)


def _independent(pool: Pool, members: Sequence[Teacher]) -> Row:
    """Solve each member alone with scikit-learn's defaults; calibrate slope and shift on held-out members."""
    slopes: dict[int, tuple[float, float]] = {}

    def probability(scores: FloatArray, k: int) -> FloatArray:
        if k not in slopes:
            parts = [held_out(pool, fold, _solve_alone, k) for fold in folds(pool, members)[:1]]
            outcome = together([part for part in parts if part is not None])
            slopes[k] = (
                (1.0, 0.0)
                if outcome is None
                else platt(outcome.own + outcome.biases, outcome.outcome, shift=not outcome.pairwise.all())
            )
        slope, shift = slopes[k]
        return (1 / (1 + np.exp(-(slope * scores + shift)))).astype(np.float32)

    return Row(_solve_alone, probability)


def _solve_alone(given: Examples) -> HeadBank:
    # An optional dependency for this baseline only; it has no type stubs.
    from sklearn.linear_model import LogisticRegression  # pyright: ignore

    u, n, d = given.X.shape
    weights, biases = np.zeros((u, d), np.float16), np.zeros(u, np.float16)
    pairs = given.pairwise is not None and bool(given.pairwise.all())
    for i in range(u):
        # A graded label counts as a positive and a negative example, weighted by its value.
        both = np.concatenate([given.X[i], given.X[i]])
        y = np.repeat([1, 0], n)
        weight = np.concatenate([given.y[i], 1 - given.y[i]])
        kept = weight > 0
        if len(set(y[kept])) < 2:  # one class only
            if pairs and n:  # a reversed pair is an example of the other class
                both, y, weight = (
                    np.concatenate([both, -both]),
                    np.concatenate([y, 1 - y]),
                    np.tile(weight, 2),
                )
                kept = weight > 0
            else:
                biases[i] = 0.0 if not n else np.sign(given.y[i].mean() - 0.5) * np.log1p(n)
                continue
        model: Any = LogisticRegression(fit_intercept=not pairs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # convergence warnings of the baseline
            model.fit(both[kept], y[kept], weight[kept])
        weights[i], biases[i] = model.coef_[0], float(np.ravel(model.intercept_)[0])
    return HeadBank(weights, biases, "", "")
