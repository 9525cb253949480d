"""Candidates of an earlier ranking are ranked for another member, or with a newer head, without encoding."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from personalization.encoding.features import STYLE_FEATURES, FeatureMap
from personalization.heads.heads import Head, starter_prior
from personalization.ranking.ranker import Ranker
from personalization.settings import LearningSettings
from storage.records import HeadRecord, MemberId
from tests.fakes import HashEncoder

ALICE, BOB = MemberId(b"a" * 16), MemberId(b"b" * 16)
CANDIDATES = ["Yes.", "Yes, and let me tell you why: it has to do with the weather.", "No idea!", "Hm?"]


@pytest.fixture
def encoder() -> HashEncoder:
    return HashEncoder(16)


@pytest.fixture
def ranker(encoder):
    """Alice likes long replies; Bob has no head."""
    features, settings = FeatureMap(encoder), LearningSettings()
    weights = np.zeros(features.dim, np.float16)
    weights[features.n_embedding + STYLE_FEATURES.index("length_chars")] = 4.0
    head = Head(weights, 0.0, features.feature_id, "p" * 32)
    record = HeadRecord(3, 20, head.to_bytes(), datetime(2026, 1, 1, tzinfo=UTC))

    async def load(member_id):
        return record if member_id == ALICE else None

    ranker = Ranker(features, settings, load, starter_prior(features, settings), np.random.default_rng(0))
    yield ranker
    ranker.close()


def same_draws() -> np.random.Generator:
    return np.random.default_rng(0)


async def test_it_gives_the_scores_of_a_ranking_of_the_same_texts(ranker) -> None:
    alice, nobody = [await ranker.rank(who, "Hi", CANDIDATES) for who in (ALICE, None)]

    again = [
        await ranker.rank_again(who, earlier, rng=same_draws())
        for who, earlier in ((ALICE, nobody), (BOB, alice), (None, alice))
    ]

    assert [one.scores for one in again] == [alice.scores, nobody.scores, nobody.scores]
    assert [one.head_version for one in again] == [3, 0, 0]
    assert again[0].propensities[1] > 0.9 > again[1].propensities[1]


async def test_what_is_published_is_told_with_its_version(ranker) -> None:
    (head, *numbers), nobody = await ranker.published(ALICE), await ranker.published(BOB)

    assert head is not None and head.weights.any()
    assert (numbers, nobody) == ([3, 20], (None, 0, 0))


async def test_nothing_is_encoded_and_real_choices_keep_their_chance(ranker, encoder) -> None:
    first = await ranker.rank(None, "Hi", CANDIDATES)
    n_texts, state = encoder.n_texts, ranker._rng.bit_generator.state

    numbers = [(await ranker.rank_again(ALICE, first, rng=same_draws())).propensities for _ in range(2)]

    assert numbers[0] == numbers[1]
    assert (encoder.n_texts, ranker._rng.bit_generator.state) == (n_texts, state)
