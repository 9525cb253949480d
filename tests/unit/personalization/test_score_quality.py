"""Metrics against scikit-learn, against counting by hand, and against a known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, precision_recall_fscore_support, roc_auc_score
from sklearn.metrics import log_loss as reference_log_loss

from personalization.score_quality import (
    accuracy,
    as_good_as_the_best,
    calibration_error,
    classification,
    clustered_mean,
    concordance,
    log_loss,
)


@pytest.mark.parametrize("seed", range(5))
def test_concordance_of_two_labels_is_the_area_under_the_roc_curve(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, labels = rng.integers(0, 6, 40), rng.integers(0, 2, 40)  # with ties

    assert concordance(scores, labels) == pytest.approx(roc_auc_score(labels, scores))


def test_concordance_of_graded_labels_counts_every_different_pair() -> None:
    # Pairs (0.5 > 0), (1 > 0), (1 > 0.5): right, tied, wrong.
    assert concordance([0.2, 0.3, 0.2], [0.0, 0.5, 1.0]) == pytest.approx((1 + 0.5 + 0) / 3)


def test_concordance_without_different_labels_is_unknown() -> None:
    assert math.isnan(concordance([1.0, 2.0], [0.5, 0.5]))


def test_accuracy_counts_ties_half() -> None:
    assert accuracy([0.5, -0.1, 0.0, 0.2], [1, 0, 1, 0]) == pytest.approx((1 + 1 + 0.5 + 0) / 4)


JUDGED = st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=2, max_size=40)
"""Probabilities in twentieths, so that ties and the threshold itself occur, with their outcomes."""


@given(JUDGED)
def test_classification_matches_scikit_learn(judged: list[tuple[int, bool]]) -> None:
    p, y = np.array([p for p, _ in judged]) / 20, np.array([y for _, y in judged])

    found = classification(p, y)

    precision, recall, f1, _ = precision_recall_fscore_support(
        y, p >= 0.5, average="binary", zero_division=np.nan
    )
    assert found["accuracy"] == pytest.approx(accuracy_score(y, p >= 0.5))
    assert found["precision"] == pytest.approx(precision, nan_ok=True)
    assert found["recall"] == pytest.approx(recall, nan_ok=True)
    assert found["f1"] == pytest.approx(f1, nan_ok=True)
    assert found["positives"] == pytest.approx(y.mean())


@given(JUDGED)
def test_the_auc_is_the_share_of_pairs_in_the_right_order(judged: list[tuple[int, bool]]) -> None:
    liked, not_liked = ([p for p, y in judged if y is answer] for answer in (True, False))

    found = classification([p / 20 for p, _ in judged], [y for _, y in judged])["auc"]

    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in liked for b in not_liked]
    assert found == pytest.approx(np.mean(pairs) if pairs else math.nan, nan_ok=True)


@given(JUDGED, st.sampled_from([np.square, np.sqrt, np.tanh, lambda p: 0.1 + p / 2, lambda p: p**7]))
def test_the_auc_does_not_change_under_a_growing_map(judged, grow) -> None:
    p, y = np.array([p for p, _ in judged]) / 20, [y for _, y in judged]

    before, after = (classification(one, y)["auc"] for one in (p, grow(p)))

    assert after == pytest.approx(before, nan_ok=True)
    assert classification(1 - p, y)["auc"] == pytest.approx(1 - before, nan_ok=True)


@given(
    st.floats(0, 1), st.lists(st.booleans(), min_size=2, max_size=40).filter(lambda y: 0 < sum(y) < len(y))
)
def test_a_constant_probability_knows_nothing(p: float, y: list[bool]) -> None:
    found = classification([p] * len(y), y)

    assert found["auc"] == 0.5
    assert found["accuracy"] == pytest.approx(np.mean(y) if p >= 0.5 else 1 - np.mean(y))


def test_a_figure_with_nothing_to_count_is_unknown() -> None:
    assert all(math.isnan(figure) for figure in classification([], []).values())
    unsaid = classification([0.1, 0.2], [1, 0])
    assert math.isnan(unsaid["precision"])
    assert (unsaid["recall"], unsaid["f1"]) == (0.0, 0.0)
    assert math.isnan(classification([0.1, 0.9], [0, 0])["recall"])


def test_log_loss_matches_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    p, y = rng.uniform(0.01, 0.99, 50), rng.integers(0, 2, 50)

    assert log_loss(p, y) == pytest.approx(reference_log_loss(y, p))


def test_log_loss_of_a_sure_error_is_finite() -> None:
    assert log_loss([0.0], [1]) == pytest.approx(-math.log(1e-12))


def test_calibration_error_is_the_mean_gap_over_bins() -> None:
    p, y = [0.11, 0.19, 0.95, 1.0], [0, 1, 1, 1]

    expected = abs(0.11 + 0.19 - 1) / 4 + abs(0.95 + 1.0 - 2) / 4
    assert calibration_error(p, y) == pytest.approx(expected)


def test_calibrated_probabilities_have_a_small_error_and_overconfident_ones_a_large_one() -> None:
    rng = np.random.default_rng(1)
    p = rng.uniform(size=20_000)
    y = rng.uniform(size=20_000) < p

    assert calibration_error(p, y) < 0.02  # 0.009 is chance at this size
    assert calibration_error(p**3 / (p**3 + (1 - p) ** 3), y) > 0.08


def test_clustered_mean_of_single_values_is_the_ordinary_standard_error() -> None:
    x = np.random.default_rng(2).normal(size=30)

    mean, error = clustered_mean(x, np.arange(30))

    assert (mean, error) == pytest.approx((x.mean(), x.std(ddof=1) / math.sqrt(30)))


def test_repeating_members_in_more_seeds_does_not_shrink_the_standard_error() -> None:
    x = np.random.default_rng(3).normal(size=30)
    mean, error = clustered_mean(x, np.arange(30))

    assert clustered_mean(np.tile(x, 3), np.tile(np.arange(30), 3)) == pytest.approx((mean, error))


def test_clustered_mean_leaves_unknown_values_out() -> None:
    assert clustered_mean([1.0, math.nan, 3.0], [0, 0, 1])[0] == 2.0
    assert math.isnan(clustered_mean([math.nan], [0])[0])
    assert math.isnan(clustered_mean([1.0], [0])[1])


def test_as_good_as_the_best_is_whoever_loses_to_it_by_no_more_than_a_standard_error() -> None:
    best = np.array([0.60, 0.62, 0.58, 0.60])
    as_good = best + np.array([0.02, -0.01, -0.02, 0.02])
    always_a_little_worse = best + 0.001

    found = as_good_as_the_best(np.stack([as_good, best, always_a_little_worse]))

    assert found.tolist() == [True, True, False]
    assert as_good_as_the_best(np.array([[0.5], [0.4], [0.4]])).tolist() == [False, True, False]
