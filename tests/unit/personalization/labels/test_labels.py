"""Labels derived from reactions, ratings and choices."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from personalization.heads.heads import Prior
from personalization.labels.labels import (
    FADED_FLOOR,
    PUBLIC_TRUST,
    EmojiValence,
    Label,
    Meaning,
    Valence,
    emoji_key,
    faded,
    label_of,
    label_of_another,
    label_of_pair,
    without_skin_tone,
)
from personalization.score_quality import concordance
from personalization.settings import LabelWeights, LearningSettings
from personalization.solving.training import Examples, solve_heads

valence = EmojiValence()


@pytest.mark.parametrize(
    ("name", "custom_id", "spelling"),
    [
        ("👍", None, "👍"),
        ("👍🏽", None, "👍🏽"),
        ("❤️", None, "❤"),
        ("❤︎", None, "❤"),
        ("🤷🏽‍♀️", None, "🤷🏽‍♀"),
        ("❤️‍🔥", None, "❤‍🔥"),
        ("1️⃣", None, "1⃣"),
        ("kappa", 4242, ":4242"),
        ("renamed", 4242, ":4242"),
        (None, 4242, ":4242"),
        (None, None, ""),
    ],
)
def test_a_key_tells_reactions_apart_as_discord_does(
    name: str | None, custom_id: int | None, spelling: str
) -> None:
    assert emoji_key(name, custom_id) == spelling


@pytest.mark.parametrize(
    ("emoji", "plain"),
    [*((f"👍{tone}", "👍") for tone in "🏻🏼🏽🏾🏿"), ("🤷🏽‍♀", "🤷‍♀"), ("🏽", "🏽"), (":4242", ":4242")],
)
def test_a_skin_tone_changes_nothing_that_is_said(emoji: str, plain: str) -> None:
    assert without_skin_tone(emoji) == plain
    assert valence.valence(emoji) == valence.valence(plain)


def test_two_tones_of_one_thumb_are_one_opinion() -> None:
    assert label_of(["👍", "👍🏽", "👎"], None, valence) == label_of(["👍", "👎"], None, valence)


def test_thumbs_are_fixed_at_the_ends() -> None:
    assert (valence.valence("👍"), valence.valence("👎")) == (1.0, -1.0)


@pytest.mark.parametrize("emoji", ["💀", "😭", "🤣", "😂", "🔥", "❤", "🫡", "🎉", "❤‍🔥"])
def test_emoji_that_discord_uses_kindly_are_positive(emoji: str) -> None:
    assert (valence.valence(emoji) or 0) > 0.2


@pytest.mark.parametrize("emoji", ["🙄", "🤔", "🤡", "😡", "💩", "🥱", "🤦‍♂", "🤷‍♀"])
def test_emoji_that_discord_uses_unkindly_are_negative(emoji: str) -> None:
    assert (valence.valence(emoji) or 0) < -0.1


def test_public_table_stands_behind_with_little_trust() -> None:
    assert valence.reading_of("🌸") == Valence(pytest.approx(0.65, abs=0.05), PUBLIC_TRUST)


@pytest.mark.parametrize("emoji", ["🪿", ":4242", "", "not an emoji"])
def test_unknown_emoji_says_nothing(emoji: str) -> None:
    assert valence.valence(emoji) is None
    assert label_of([emoji], None, valence) is None


def test_configuration_overrides_the_tables() -> None:
    configured = EmojiValence({"👍🏽": -1.0, "kappa:4242": 0.5, "🤔": 1.0})

    assert [configured.valence(emoji) for emoji in ("👍", ":4242", "🤔")] == [-1.0, 0.5, 1.0]
    assert valence.valence("👍") == 1.0


def test_reading_the_public_table_leaves_the_root_logger_alone() -> None:
    before = (logging.getLogger().level, list(logging.getLogger().handlers))

    EmojiValence()

    assert (logging.getLogger().level, list(logging.getLogger().handlers)) == before


@pytest.mark.parametrize(
    ("reactions", "rating", "label"),
    [
        ([], None, None),
        (["👍"], None, Label(1.0, 1.0)),
        (["👎"], None, Label(0.0, 1.0)),
        (["👍", "👎"], None, Label(0.5, 1.0)),
        (["👍", "👍"], None, Label(1.0, 1.0)),
        (["👍", "🪿"], None, Label(1.0, 1.0)),
        ([], 1, Label(0.0, 2.0)),
        ([], 3, Label(0.5, 2.0)),
        ([], 5, Label(1.0, 2.0)),
        (["👍", "🔥"], 2, Label(0.25, 2.0)),
    ],
)
def test_label_of_feedback(reactions: list[str], rating: int | None, label: Label | None) -> None:
    assert label_of(reactions, rating, valence) == label


def test_reactions_average_by_trust() -> None:
    """A trusted thumb outweighs a face of little trust."""
    label = label_of(["👍", "🤔"], None, valence)

    assert label == Label(pytest.approx((1.0 * 1.0 + 0.3 * 0.4) / 1.3), 1.0)


def test_order_of_reactions_has_no_effect() -> None:
    assert label_of(["👍", "🤔", "🔥"], None, valence) == label_of(["🔥", "👍", "🤔"], None, valence)


def test_every_hand_made_spelling_is_normal() -> None:
    from personalization.labels.labels import _HAND

    assert [emoji for emoji in _HAND if without_skin_tone(emoji_key(emoji, None)) != emoji] == []


@pytest.mark.parametrize(
    ("reactions", "rating", "label"),
    [
        (["👍"], None, Label(1.0, 3.0)),
        (["🔥"], None, Label(0.95, 0.4)),
        (["👍", "🔥"], None, Label(pytest.approx((1.0 * 3.0 + 0.95 * 0.4) / 3.4), 3.0)),
        (["🔥"], 2, Label(0.95, 0.4)),
        ([], 2, None),
    ],
)
def test_each_kind_of_feedback_weighs_what_the_table_says(reactions, rating, label) -> None:
    """Thumbs count three times, emoji half, ratings not at all."""
    weights = LabelWeights(rating=0.0, thumb=3.0, emoji=0.5)

    assert label_of(reactions, rating, valence, weights) == label


def test_a_choice_between_two_replies_weighs_what_the_table_says() -> None:
    assert [label_of_pair(first) for first in (1, 0, 0.5)] == [Label(y, 1.0) for y in (1.0, 0.0, 0.5)]
    assert label_of_pair(True, LabelWeights(pair=0.5)) == Label(1.0, 0.5)
    assert label_of_pair(True, LabelWeights(pair=0.0)) is None
    assert label_of_pair(0.5, LabelWeights(pair=0.0), tap=True) == Label(0.5, 12.0)
    assert label_of_pair(0.5, LabelWeights(tap=0.0), tap=True) is None


def test_another_answer_says_something_only_where_it_was_liked_better() -> None:
    liked, disliked, better = Label(0.75, 1.0), Label(0.0, 1.0), Label(1.0, 2.0)
    unsure = Label(0.7, 0.25)

    assert label_of_another(None, liked) == Label(1.0, 1.0)
    assert label_of_another(liked, better) == Label(1.0, 1.0)
    assert label_of_another(disliked, unsure) == Label(1.0, 0.25)  # capped by the weaker label
    assert label_of_another(None, liked, LabelWeights(pair=0.5)) == Label(1.0, 0.5)
    for first, second in [(None, None), (liked, None), (None, disliked), (better, liked), (liked, liked)]:
        assert label_of_another(first, second) is None
    assert label_of_another(None, liked, LabelWeights(pair=0.0)) is None


NOON = datetime(2020, 1, 1, 12, tzinfo=UTC)
"""Long past, because times in the future count as now."""


def test_a_label_weighs_half_after_each_half_life() -> None:
    weight = np.array([2.0, 1.0, 1.0], np.float32)
    changed_at = [NOON - timedelta(days=60), NOON - timedelta(days=30), NOON]

    assert faded(weight, changed_at, 30.0).tolist() == [0.5, 0.5, 1.0]


def test_age_is_counted_from_the_newest_label_so_time_alone_changes_nothing() -> None:
    weight, days = np.ones(3, np.float32), [timedelta(days=day) for day in (0, 10, 400)]

    then = faded(weight, [NOON + day for day in days], 30.0)
    later = faded(weight, [NOON + timedelta(days=1000) + day for day in days], 30.0)

    assert then.tolist() == later.tolist()
    assert then[2] == 1.0


def test_a_very_old_label_keeps_a_trace_and_no_label_stays_none() -> None:
    ages = [NOON - timedelta(days=36500), NOON]

    assert faded(np.ones(2, np.float32), ages, 1.0).tolist() == [np.float32(FADED_FLOOR), 1.0]
    assert faded(np.zeros(0, np.float32), [], 1.0).shape == (0,)


def test_fading_follows_a_taste_that_turned_and_costs_a_steady_one_little() -> None:
    """Two years of labels; half of the members reverse their taste after the first year."""
    rng = np.random.default_rng(0)
    u, n, d = 80, 60, 8
    taste = rng.normal(size=(u, d))
    sign = np.ones((u, n))
    sign[: u // 2, : n // 2] = -1.0
    X = rng.normal(size=(u, n, d)).astype(np.float32)
    y = (rng.random((u, n)) < 1 / (1 + np.exp(-sign * np.einsum("und,ud->un", X, taste)))).astype(np.float32)
    asked = rng.normal(size=(u, 100, d)).astype(np.float32)
    liked = np.einsum("ukd,ud->uk", asked, taste) > 0
    prior = Prior(np.zeros(d, np.float32), np.ones(d, np.float32), 0.0, 1.0, "f" * 32)
    changed_at = [NOON + timedelta(days=730 * i / n) for i in range(n)]

    def found(half_life_days: float) -> tuple[float, float]:
        weight = np.tile(faded(np.ones(n, np.float32), changed_at, half_life_days), (u, 1))
        bank, _ = solve_heads(Examples(X, y, weight, np.ones((u, n), bool)), prior, "cpu")
        right = [concordance(s, w) for s, w in zip(bank.scores(asked), liked, strict=True)]
        return float(np.mean(right[: u // 2])), float(np.mean(right[u // 2 :]))

    turned, steady = found(LearningSettings().half_life_days)
    turned_without, steady_without = found(36500.0)

    assert turned > turned_without + 0.05
    assert steady > steady_without - 0.02


def test_what_a_server_says_of_its_emoji_holds_there_and_over_everything_learnt():
    learnt = valence.learnt({":1": Meaning(0.5, 0.8, 4.0), ":2": Meaning(0.5, 0.8, 4.0)})
    set_there = learnt.with_guilds({b"here": {":1": -1.0, ":2": 0.0, ":3": 1.0}})

    here, elsewhere = set_there.in_guild(b"here"), set_there.in_guild(b"elsewhere")

    assert [here.valence(emoji) for emoji in (":1", ":2", ":3", "👍")] == [-1.0, None, 1.0, 1.0]
    assert [elsewhere.valence(emoji) for emoji in (":1", ":2", ":3", "👍")] == [0.5, 0.5, None, 1.0]
    assert [here.is_fixed(emoji) for emoji in (":1", ":2", ":3", ":4")] == [True, True, True, False]
    assert label_of([":2"], None, here) is None
    assert label_of([":2", "👍"], None, here) == label_of(["👍"], None, here)
