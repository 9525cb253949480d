"""Expected information of a question: what is decided, or does not count, teaches little."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from personalization.solving.open_questions import expected_information
from personalization.solving.training import Examples
from tests.unit.personalization.solving.test_loud_tastes import S, loud_prior

DIM = 12
PAIRS = np.zeros((S, DIM), np.float32)
PAIRS[np.arange(S), DIM - S + np.arange(S)] = 3
"""Each pair differs in one feature that may be loud."""


def answered(*answers: tuple[int, float], weight: float = 12.0) -> Examples:
    """Return the labels of a member who answered pairs: 1 for more, 0 for less, 0.5 for no matter."""
    X = PAIRS[[pair for pair, _ in answers]]
    y = np.array([value for _, value in answers], np.float32)
    examples = Examples.pad([(X, y, np.full(len(y), weight, np.float32))])
    return replace(examples, pairwise=np.ones_like(examples.mask))


@pytest.mark.parametrize("loud", [True, False])
def test_an_answered_pair_teaches_least_and_equal_pairs_teach_alike(loud):
    prior = loud_prior() if loud else replace(loud_prior(), loud=None, variance=np.full(DIM, 1.0, np.float32))

    before = expected_information(answered(), PAIRS, prior)
    after = {value: expected_information(answered((2, value)), PAIRS, prior) for value in (0.0, 0.5, 1.0)}

    np.testing.assert_allclose(before, before[0], rtol=1e-6)
    assert before[0] > 0
    for information in after.values():
        assert information.argmin() == 2
        assert information[2] < 0.7 * before[2]


def test_mirrored_answers_teach_the_same_and_nearly_equal_texts_nothing():
    prior = loud_prior()
    more = expected_information(answered((0, 1.0), (1, 0.5)), PAIRS, prior)
    less = expected_information(answered((0, 0.0), (1, 0.5)), -PAIRS, prior)
    nothing = expected_information(answered((0, 1.0)), 0 * PAIRS, prior)

    np.testing.assert_allclose(more, less, rtol=1e-6)
    np.testing.assert_allclose(nothing, 0, atol=1e-9)
