"""Learnt wishes and examples: found for members of a known taste, and not for members who toss coins."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from bot.replies.offers import Offers, table_of
from personalization.encoding.features import STYLE_FEATURES, FeatureMap
from personalization.encoding.style_axes import AXIS_OF, DIRECTIONS, MEANING_OF, axes_of
from personalization.heads.heads import Head, starter_prior
from personalization.insight.learnt_wishes import LEAST, MOST, SURE, LearntWish, learnt_wishes
from personalization.insight.liked_examples import best_liked
from personalization.settings import LearningSettings
from personalization.solving.gate import learn_heads
from personalization.solving.training import Examples
from tests.fakes import HashEncoder
from tests.rig.size import sized

FEATURES = FeatureMap(HashEncoder())
PRIOR = starter_prior(FEATURES, LearningSettings())
WORDS = "the river of a small town is what people like to see in every kind of weather or season".split()


def some_text(rng: random.Random) -> str:
    """Write a text of random length, with signs, questions and emoji by chance."""
    sentences = []
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        words = rng.choices(WORDS, k=rng.randint(2, 14))
        sentences.append(" ".join(words).capitalize() + rng.choice((".", ".", ".", "!", "?")))
    return " ".join(sentences) + rng.choice(("", "", "", " 😀"))


LIKES = {
    "shorter": lambda text: len(text) < 80,
    "longer": lambda text: len(text) > 80,
    "asks-back": lambda text: text.rstrip(" 😀").endswith("?"),
    "emoji": lambda text: "😀" in text,
    "no-emoji": lambda text: "😀" not in text,
}


def taught(likes, n: int, n_members: int, seed: int = 1):
    """Return heads of members with ``n`` labels each, one label in ten wrong, and their examples."""
    rng, rows = random.Random(seed), []
    for _ in range(n_members):
        texts = [some_text(rng) for _ in range(n)]
        values = [float(likes(text) != (rng.random() < 0.1)) for text in texts]
        rows.append((FEATURES.features(texts), np.array(values, np.float32), np.ones(n, np.float32)))
    bank, _ = learn_heads(Examples.pad(rows), PRIOR, "cpu")
    return [bank.head(u) for u in range(n_members)], rows


def wishes_of(head: Head) -> list[str]:
    return [wish.name for wish in learnt_wishes(head, PRIOR)]


@pytest.mark.parametrize("name", LIKES)
def test_a_clear_taste_becomes_its_wish_and_not_the_opposite(name):
    heads, _ = taught(LIKES[name], 40, 10)

    found = [wishes_of(head) for head in heads]
    opposite = next(
        one.less if one.more == name else one.more for one in DIRECTIONS if name in (one.more, one.less)
    )

    assert sum(name in wishes for wishes in found) >= 6
    assert not any(opposite in wishes for wishes in found)


@pytest.mark.parametrize("n", [5, 20, 40])
def test_no_wish_is_sure_for_a_coin_tosser_and_nothing_is_shown_as_an_example(n):
    toss = random.Random(n)
    n_members = sized(ci=75, full=1000)
    heads, rows = taught(lambda _: toss.random() < 0.5, n, n_members, seed=n)

    shares = [sum(table_of(Offers(learnt_wishes(head, PRIOR)), ()).wishes.values()) for head in heads]
    told = sum(any(one.is_sure for one in learnt_wishes(head, PRIOR)) for head in heads)
    shown = [
        best_liked(X, list(y), head, PRIOR.head(), n_embedding=FEATURES.n_embedding)
        for head, (X, y, _) in zip(heads, rows, strict=True)
    ]

    assert told <= 0.04 * n_members
    assert np.mean(shares) <= 0.1, "candidates with a wish"
    assert sum(map(bool, shown)) <= 0.08 * n_members


def drawn(n: int, n_members: int) -> tuple[np.ndarray, Examples]:
    """Draw members from the prior, and their labels; return their weights along the axes, and the labels."""
    rng = np.random.default_rng(n)
    X = FEATURES.features([some_text(random.Random(seed)) for seed in range(300)])
    may_be, (one, two) = PRIOR.loud_features(), PRIOR.loud_chances
    weights = rng.normal(size=(n_members, PRIOR.dim)) * np.sqrt(PRIOR.variance)
    for own, size in zip(weights, rng.choice(3, n_members, p=[1 - one - two, one, two]), strict=True):
        loud = rng.choice(may_be, size, replace=False)
        own[loud] += rng.normal(size=size) * np.sqrt(PRIOR.loud[loud])
    shown = X[rng.integers(len(X), size=(n_members, n))]  # (u, n, d)
    thresholds = rng.normal(size=(n_members, 1)) * PRIOR.bias_variance**0.5
    scores = (shown * weights[:, None]).sum(axis=2) + thresholds
    y = (rng.random(scores.shape) < 1 / (1 + np.exp(-scores))).astype(np.float32)
    return weights @ axes_of(PRIOR.dim).T, Examples(shown, y, np.ones_like(y), np.ones(y.shape, bool))


def assert_as_often_right_as_stated(*, weight: float = 1.0) -> None:
    """Compare the certainties of wishes with how often they are right, over members of known tastes."""
    axes = [one.axis for one in DIRECTIONS]
    stated, right = [], []
    for n in (5, 15, 40):
        truth, examples = drawn(n, sized(ci=300, full=2000))
        bank, _ = learn_heads(replace(examples, weight=weight * examples.weight), PRIOR, "cpu")
        for u, own in enumerate(truth):
            for wish in learnt_wishes(bank.head(u), PRIOR):
                along = axes.index(wish.axis)
                stated.append((wish.certainty, wish.is_sure))
                right.append((own[along] > 0) == (wish.name == DIRECTIONS[along].more))
    known, found = np.array(stated), np.array(right)
    told = known[:, 1] > 0
    for some in (~told & (known[:, 0] < SURE), ~told, told, told & (known[:, 0] >= 0.9)):
        assert some.sum() >= 30
        assert found[some].mean() == pytest.approx(known[some, 0].mean(), abs=0.08)


def test_what_is_stated_is_right_as_often_as_stated():
    assert_as_often_right_as_stated()


def test_control_a_head_that_counts_each_label_five_times_is_too_sure():
    with pytest.raises(AssertionError, match="comparison failed"):
        assert_as_often_right_as_stated(weight=5.0)


def test_the_figure_that_is_told_is_the_one_by_which_the_bot_judges():
    for share, certainty in product((0.3, 0.65, 0.9, 1.0), (0.8, 0.9, 0.97)):
        wish = LearntWish("shorter", certainty, share)
        assert abs(wish.percent - 100 * wish.weight) <= 2.5 or wish.percent == 95
        assert wish.percent >= 80 if wish.is_sure else wish.percent <= 80


def test_a_certainty_is_told_in_steps_of_five_and_never_as_100_percent():
    told = [LearntWish("shorter", certainty).percent for certainty in (0.8, 0.829, 0.87, 0.96, 1.0)]

    assert told == [80, 85, 85, 95, 95]
    assert [LearntWish("shorter", one).is_sure for one in (SURE - 0.01, SURE)] == [False, True]


def test_a_head_without_labels_of_its_own_or_of_an_earlier_prior_has_no_wish():
    (head,), _ = taught(LIKES["emoji"], 40, 1)

    assert wishes_of(head)
    assert wishes_of(PRIOR.head()) == []
    assert wishes_of(replace(head, prior_id="another")) == []
    assert wishes_of(replace(head, spread=None)) == []


def test_the_surest_wish_stands_first_and_no_two_are_of_one_axis():
    for name in LIKES:
        for head in taught(LIKES[name], 40, 3)[0]:
            found = learnt_wishes(head, PRIOR)
            weights = [wish.weight for wish in found]
            assert weights == sorted(weights, reverse=True)
            assert all(LEAST <= one <= wish.certainty for one, wish in zip(weights, found, strict=True))
            assert len({wish.axis for wish in found}) == len(found) <= MOST


def test_every_direction_has_two_names_and_known_features():
    assert len(AXIS_OF) == 2 * len(DIRECTIONS) == len(MEANING_OF)
    assert {name for one in DIRECTIONS for name in one.features} <= set(STYLE_FEATURES)


def test_examples_are_liked_diverse_and_none_without_a_dislike():
    heads, rows = taught(LIKES["emoji"], 30, 5)
    for head, (X, y, _) in zip(heads, rows, strict=True):
        chosen = best_liked(X, list(y), head, PRIOR.head(), n_embedding=FEATURES.n_embedding)
        assert chosen
        assert all(y[i] > 0.5 for i in chosen)
        twice = np.vstack([X[chosen[:1]], X])
        again = best_liked(twice, [1.0, *y], head, PRIOR.head(), n_embedding=FEATURES.n_embedding)
        assert sum(np.array_equal(twice[i], X[chosen[0]]) for i in again) == 1
        everything = best_liked(X, [1.0] * len(y), head, PRIOR.head(), n_embedding=FEATURES.n_embedding)
        assert everything == []
