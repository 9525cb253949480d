"""The taste shown to a member agrees with their own labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from personalization.encoding.features import STYLE_FEATURES, FeatureMap
from personalization.heads.heads import starter_prior
from personalization.insight.taste import leanings_of, replayed
from personalization.ranking.explain import Evidence
from personalization.rounds.examples import Labelled
from personalization.settings import LearningSettings
from personalization.solving.gate import learn_heads
from personalization.solving.training import Examples
from storage.records import MemberId
from tests.fakes import HashEncoder

FEATURES = FeatureMap(HashEncoder(8))
EMOJI = FEATURES.n_embedding + STYLE_FEATURES.index("emoji")


def emoji_lover(n: int, *, likes: bool = True) -> Labelled:
    """Labels of a member who likes (or dislikes) exactly the replies with emoji."""
    X = np.zeros((n, FEATURES.dim), dtype=np.float32)
    X[::2, EMOJI] = 2.0
    y = (X[:, EMOJI] > 0) == likes
    return Labelled(MemberId(b"m" * 16), X, y.astype(np.float32), np.ones(n, dtype=np.float32))


def head_of(known: Labelled, prior):
    bank, _ = learn_heads(Examples.pad([(known.X, known.y, known.weight)]), prior, "cpu")
    return bank.head(0)


def prior():
    return starter_prior(FEATURES, LearningSettings())


def test_a_leaning_has_its_direction_and_the_counts_behind_it():
    known = emoji_lover(20)

    (leaning,) = leanings_of(known, head_of(known, prior()), prior().head())

    assert (leaning.name, leaning.amount > 0) == ("emoji", True)
    assert leaning.evidence == Evidence("emoji", liked_with=10, n_with=10, liked_without=0, n_without=10)


def test_a_dislike_leans_the_other_way():
    known = emoji_lover(20, likes=False)

    (leaning,) = leanings_of(known, head_of(known, prior()), prior().head())

    assert (leaning.name, leaning.amount < 0) == ("emoji", True)


def test_what_the_own_labels_contradict_is_not_told():
    head = head_of(emoji_lover(20), prior())

    assert leanings_of(emoji_lover(20, likes=False), head, prior().head()) == ()


def test_the_average_head_leans_nowhere():
    assert leanings_of(emoji_lover(20), prior().head(), prior().head()) == ()


def test_a_replay_learns_as_labels_come_and_never_looks_ahead():
    known = emoji_lover(30)

    whole = replayed(known, prior())
    changed = replace(known, y=np.concatenate([known.y[:20], 1 - known.y[20:]]))

    assert whole is not None and len(whole.own) == 29
    assert whole.own[5:].mean() > whole.average[5:].mean()
    assert (replayed(changed, prior()).own[:19] == whole.own[:19]).all()


def test_five_labels_are_too_few_for_a_replay():
    assert replayed(emoji_lover(5), prior()) is None
    assert replayed(emoji_lover(6), prior()) is not None
