"""Explanations are exact: the parts sum to the score and name the features that differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from personalization.encoding.features import STYLE_FEATURES, FeatureMap
from personalization.heads.heads import starter_prior
from personalization.ranking.explain import (
    KEPT,
    OTHER,
    RELEVANCE,
    WORDING,
    Evidence,
    evidence_of,
    explain,
    reason_of,
)
from personalization.ranking.ranker import Ranker
from personalization.settings import LearningSettings
from storage.records import HeadRecord, MemberId
from tests.fakes import FixedClock, HashEncoder

SETTINGS = LearningSettings(policy="greedy", relevance_weight=1.5, personal_bound=2.0)
SHORT, LONG = "Yes.", "There is a lot to say about that, and most of it depends on where you start today."
ME = MemberId(b"m" * 16)


@pytest.fixture
def features():
    return FeatureMap(HashEncoder(16))


def head_of(features, **weights):
    """A head with weights on the named style features, and small weights on the embedding."""
    prior = starter_prior(features, SETTINGS).head()
    values = np.full(features.dim, 0.01, dtype=np.float16)
    for name, weight in weights.items():
        values[features.n_embedding + STYLE_FEATURES.index(name)] = weight
    return replace(prior, weights=values, bias=3.0)


async def ranked(features, head, candidates=(SHORT, LONG, "Perhaps tomorrow?")):
    async def load(_: MemberId) -> HeadRecord:
        return HeadRecord(version=4, n_labels=9, body=head.to_bytes(), trained_at=FixedClock()())

    ranker = Ranker(features, SETTINGS, load, starter_prior(features, SETTINGS), np.random.default_rng(0))
    try:
        return await ranker.rank(ME, "hello", list(candidates))
    finally:
        ranker.close()


def explained(ranking, head, candidate=None):
    return explain(
        ranking.features,
        ranking.relevance,
        head,
        ranking.chosen if candidate is None else candidate,
        relevance_weight=SETTINGS.relevance_weight,
        personal_bound=SETTINGS.personal_bound,
    )


@pytest.mark.parametrize("candidate", [0, 1, 2])
async def test_the_parts_sum_to_the_score_the_policy_saw(features, candidate):
    head = head_of(features, length_chars=-1.5, questions=0.7)
    ranking = await ranked(features, head)

    parts = explained(ranking, head, candidate)

    assert sum(part.amount for part in parts) == pytest.approx(ranking.scores[candidate], abs=1e-4)
    assert {part.name for part in parts} == {RELEVANCE, WORDING, *STYLE_FEATURES}


async def test_a_ranking_carries_the_parts_of_what_it_chose(features):
    head = head_of(features, length_chars=-1.5)
    ranking = await ranked(features, head)

    reason = reason_of(ranking.parts, uncertainty=ranking.uncertainty, n_labels=ranking.n_labels)

    assert ranking.parts == explained(ranking, head)
    assert ranking.n_labels == 9
    assert ranking.uncertainty > 0
    assert [name for name, _, _ in reason.parts][-1] == OTHER
    assert len(reason.parts) == KEPT + 1
    assert sum(amount for _, amount, _ in reason.parts) == pytest.approx(
        ranking.scores[ranking.chosen], abs=1e-2
    )


async def test_what_made_the_difference_comes_first_and_has_a_direction(features):
    head = head_of(features, length_chars=-2.0)
    ranking = await ranked(features, head)

    part = explained(ranking, head)[0]

    assert ranking.chosen == 0
    assert part.name == "length_chars"
    assert part.amount > 0 > part.difference


async def test_a_lone_candidate_owes_its_score_to_relevance_alone(features):
    head = head_of(features, length_chars=-2.0)
    ranking = await ranked(features, head, [SHORT])

    parts = {part.name: part.amount for part in explained(ranking, head)}

    assert parts.pop(RELEVANCE) == pytest.approx(ranking.scores[0], abs=1e-6)
    assert set(parts.values()) == {0.0}


async def test_a_head_of_other_features_is_refused(features):
    ranking = await ranked(features, head_of(features))

    with pytest.raises(ValueError, match=f"expected a head of {features.dim} features"):
        explained(ranking, head_of(FeatureMap(HashEncoder(8))))


def test_evidence_counts_likes_with_and_without(features):
    rows = features.features([SHORT, "No.", LONG, LONG + LONG])
    labels = np.array([1.0, 0.75, 0.0, 1.0])

    assert evidence_of("length_chars", rows, labels) == Evidence("length_chars", 1, 2, 2, 2)


def test_evidence_of_nothing_is_nothing(features):
    empty = np.zeros((0, features.dim), dtype=np.float32)

    assert evidence_of("emoji", empty, np.zeros(0)) == Evidence("emoji", 0, 0, 0, 0)


def test_evidence_of_an_unknown_feature_is_refused(features):
    with pytest.raises(ValueError, match="found 'charm'"):
        evidence_of("charm", features.features([SHORT]), np.ones(1))
