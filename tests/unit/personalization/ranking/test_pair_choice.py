"""The pair that is shown has the most uncertain order, and is never a near-duplicate."""

from __future__ import annotations

import numpy as np

from personalization.ranking.pair_choice import Contrast, most_informative


def contrast(features, covariance) -> Contrast:
    """Candidates with two embedding features and one style feature."""
    return Contrast(np.array(features, np.float32), np.array(covariance, np.float64), "features", 2)


APART = [[1, 0, 0], [0, 1, 0], [-1, 0, 0]]


def test_the_pair_with_the_largest_variance_of_the_difference_is_shown() -> None:
    covariance = [
        [1.0, 0.9, 0.0],
        [0.9, 1.0, -0.5],
        [0.0, -0.5, 0.5],
    ]  # variances of the differences: 0.2, 1.5, 2.5

    shown = contrast(APART, covariance)

    assert most_informative(shown, ()) == (1, 2)
    assert most_informative(shown, [frozenset((1, 2))]) == (0, 2)
    assert most_informative(shown, [frozenset(pair) for pair in ((1, 2), (0, 2), (0, 1))]) is None


def test_two_that_say_the_same_in_the_same_manner_are_left_out() -> None:
    covariance = np.diag([9.0, 9.0, 1.0])
    alike = [[1, 0, 0], [1, 0.01, 0.1], [0, 1, 0]]
    other_style = [[1, 0, 0], [1, 0.01, 2.0], [0, 1, 0]]

    assert most_informative(contrast(alike, covariance), ()) == (0, 2)
    assert most_informative(contrast(other_style, covariance), ()) == (0, 1)


def test_what_is_known_for_sure_is_not_asked() -> None:
    assert most_informative(contrast(APART, np.zeros((3, 3))), ()) is None
