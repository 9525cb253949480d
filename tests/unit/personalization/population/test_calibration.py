"""The variance of members' thresholds is chosen by the log loss of held-out yes and no."""

from __future__ import annotations

import numpy as np
import pytest

from personalization.heads.heads import starter_prior
from personalization.population.fit_prior import fit_prior
from personalization.population.pooled import Pool
from personalization.settings import LearningSettings

DIM, MEMBERS, LABELS = 6, 80, 30


class Space:
    """Features that consist of an embedding only."""

    feature_id, dim, n_embedding = "plain", DIM, DIM


def population(*, graded: bool) -> Pool:
    """Members with thresholds of their own, who give graded labels, or only yes or no."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(MEMBERS * LABELS, DIM)).astype(np.float32)
    member = np.repeat(np.arange(MEMBERS), LABELS)
    score = X @ rng.normal(size=DIM) / 2 + rng.normal(size=MEMBERS)[member] / 2
    p = 1 / (1 + np.exp(-score))
    y = p if graded else rng.random(len(p)) < p
    outcome = y > np.median(y) if graded else y
    ones = np.ones(len(y), np.float32)
    return Pool(X, y.astype(np.float32), ones, member, None, None, outcome.astype(np.float32))


@pytest.mark.parametrize("graded", [False, True])
def test_thresholds_are_wide_where_labels_scatter_less_than_a_yes_or_no(graded: bool) -> None:
    """For equal members, only graded labels make a likelihood of yes and no underestimate the variance."""
    starter = starter_prior(Space(), LearningSettings())

    prior = fit_prior(population(graded=graded), starter, member_cap=1e9, device="cpu")

    assert (prior.bias_variance == starter.bias_variance) is graded
    assert prior.calibration is not None
    if not graded:
        assert prior.bias_variance < 1  # the truth is 0.25, and the starter's 4 counts like five members
