"""The taste shown to a member agrees with their own labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from personalization.encoding.features import STYLE_FEATURES, FeatureMap
from personalization.heads.heads import starter_prior
from personalization.insight.taste import leanings_of, replayed, split
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


def chooser(wanted: float, n: int = 6) -> Labelled:
    """Choices between answers that differ in emoji; the one with more of it stands first or second."""
    X = np.zeros((n, FEATURES.dim), dtype=np.float32)
    X[:, EMOJI] = np.where(np.arange(n) % 2, 3.0, -3.0)
    X[:, EMOJI - 1] = 0.5  # a small difference in another feature
    y = np.where(X[:, EMOJI] > 0, wanted, 1 - wanted).astype(np.float32)
    return Labelled(MemberId(b"m" * 16), X, y, np.full(n, 4, dtype=np.float32), n_pairs=n)


def learnt_from(choices: Labelled):
    examples = Examples.pad([(choices.X, choices.y, choices.weight)])
    bank, _ = learn_heads(replace(examples, pairwise=np.ones_like(examples.mask)), prior(), "cpu")
    return bank.head(0)


def test_choices_alone_show_a_leaning_its_direction_and_how_often_it_was_chosen():
    for wanted, sign in ((1.0, 1), (0.0, -1)):
        choices = chooser(wanted)
        replies, same = split(choices)

        (leaning,) = leanings_of(replies, learnt_from(choices), prior().head(), same)

        assert (leaning.name, np.sign(leaning.amount), leaning.chosen) == ("emoji", sign, (6, 6))
        assert (len(replies.y), same.n_pairs) == (0, 6)


def test_choices_without_a_preference_or_against_the_head_show_nothing():
    (replies, undecided), head = split(chooser(0.5)), learnt_from(chooser(1.0))

    assert leanings_of(replies, learnt_from(undecided), prior().head(), undecided) == ()
    assert leanings_of(replies, head, prior().head(), undecided) == ()
    assert leanings_of(replies, head, prior().head(), chooser(0.0)) == ()
