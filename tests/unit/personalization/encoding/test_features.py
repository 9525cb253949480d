"""Features of a reply's text: values, speed and what they must not depend on."""

from __future__ import annotations

import math
import random
import re

import numpy as np
import pytest

from personalization.encoding import features as features_module
from personalization.encoding.features import CLIP, STYLE, STYLE_FEATURES, FeatureMap, style_features
from personalization.encoding.languages import english
from tests.fakes import HashEncoder
from tests.timing import assert_cost_is_about_linear

TEXTS = [
    "Short.",
    "A longer reply, with a comma? Yes!",
    "",
    "😄" * 40,
    "- one\n- two\n`code` https://a.example",
]


def style(text: str) -> dict[str, float]:
    return dict(zip(STYLE_FEATURES, style_features(text).tolist(), strict=True))


@pytest.mark.parametrize(
    ("name", "less", "more"),
    [
        (
            "length_chars",
            "Sure.",
            "Sure, that is a very good question and I am happy to answer it at length.",
        ),
        (
            "length_words",
            "Sure.",
            "Sure, that is a very good question and I am happy to answer it at length.",
        ),
        ("sentences", "I see it.", "I see. It is. So be it."),
        ("sentence_words", "I see. It is. So be it.", "I see it is so be it"),
        ("word_length", "I am so in it", "Incomprehensible considerations"),
        ("different_words", "no no no no", "no one ever knows"),
        ("lines", "one two", "one\ntwo"),
        ("emoji", "Nice", "Nice 😄👍🏽"),
        ("emoji", "Nice", "Nice <:kappa:4242>"),
        ("questions", "You do.", "You do?"),
        ("ends_with_question", "Why? Because.", "Because. Why? "),
        ("exclamations", "Great.", "Great!"),
        ("ellipses", "Well.", "Well..."),
        ("commas", "red green blue", "red, green, blue"),
        ("list_items", "tea or milk", "- tea\n2. milk"),
        ("code", "run it", "run `it`"),
        ("markdown", "Look here", "**Look** here"),
        ("links", "see there", "see https://example.org"),
        ("digits", "two of four", "2 of 4"),
        ("upper_case", "stop it", "STOP it"),
        ("first_person", "They went home", "I went home"),
        ("second_person", "They went home", "You’re home now"),
        ("hedges", "It works", "Maybe it works"),
        ("greeting", "So there", "Hello there"),
        ("courtesy", "Do it", "Please do it"),
        ("positive_tone", "A day", "A wonderful day"),
        ("negative_tone", "A day", "A terrible day"),
        ("humour", "It fell", "It fell lol"),
    ],
)
def test_style_feature_measures_what_its_name_says(name: str, less: str, more: str) -> None:
    assert style(less)[name] < style(more)[name]


def test_every_style_feature_is_named_once() -> None:
    assert len(set(STYLE_FEATURES)) == len(STYLE_FEATURES) == len(STYLE) == 27


@pytest.mark.parametrize("text", [*TEXTS, "?" * 5000, "\n" * 3000, "\ud83d", "A" * 4000, "\x00\u202e"])
def test_style_features_of_any_text_are_finite_and_clipped(text: str) -> None:
    values = style_features(text)

    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert np.abs(values).max() <= CLIP


PIECES = [
    "a",
    "Word",
    " ",
    "  ",
    "\n",
    "\n\n",
    "\r\n",
    "\t",
    ".",
    "...",
    "?!",
    "…",
    "- ",
    "* x",
    "•",
    "12. ",
    "3)",
    "`",
    "``",
]


def test_counts_of_any_text_are_those_of_the_plain_patterns() -> None:
    """The patterns were optimised; their counts must equal those that heads were trained on."""
    rng = random.Random(3)
    plain = {
        "sentences": lambda t: max(1, len(re.findall(r"[.!?…]+(?=\s|$)", t))),
        "list_items": lambda t: len(re.findall(r"^\s*(?:[-*•]|\d+[.)])\s", t, re.MULTILINE)),
        "code": lambda t: len(re.findall(r"`+[^`]", t)),
    }
    for _ in range(2000):
        text = "".join(rng.choices(PIECES, k=rng.randint(0, 30)))
        measured = style(text)
        for feature in STYLE:
            if feature.name in plain:
                value = (math.log1p(plain[feature.name](text)) - feature.centre) / feature.scale
                assert measured[feature.name] == pytest.approx(min(value, CLIP), abs=1e-6), (
                    feature.name,
                    text,
                )


@pytest.mark.parametrize("unit", [".", "?!…", "\n", " \n", "1", "\n1", "`", "'", "<a:", "#"])
def test_hostile_text_is_measured_in_linear_time(unit: str) -> None:
    def measure(n: int) -> None:
        style_features("x" + unit * (n // len(unit)))
        style_features("x" + unit * (n // len(unit)) + "x")

    assert_cost_is_about_linear(measure, 19_000)


def test_features_are_the_embedding_and_then_the_style() -> None:
    encoder = HashEncoder(16)
    feature_map = FeatureMap(encoder)

    rows = feature_map.features(TEXTS)

    assert (rows.shape, rows.dtype) == ((5, 16 + 27), np.float32)
    assert (feature_map.dim, feature_map.n_embedding) == (43, 16)
    np.testing.assert_array_equal(rows[:, :16], encoder.encode(TEXTS))
    np.testing.assert_array_equal(rows[:, 16:], [style_features(text) for text in TEXTS])


def test_encode_gives_features_and_cosine_and_reads_each_text_once() -> None:
    encoder = HashEncoder(16)

    encoded = FeatureMap(encoder).encode("Short.", TEXTS)

    assert encoder.n_texts == len(TEXTS) + 1
    np.testing.assert_array_equal(encoded.features, FeatureMap(encoder).features(TEXTS))
    np.testing.assert_allclose(
        encoded.relevance, encoder.encode(TEXTS) @ encoder.encode(["Short."])[0], atol=1e-6
    )
    assert encoded.relevance[0] == pytest.approx(1.0, abs=1e-6)


def test_blank_message_is_relevant_to_nothing() -> None:
    assert FeatureMap(HashEncoder()).encode("  \n", TEXTS).relevance.tolist() == [0.0] * 5


def test_no_texts_have_no_features() -> None:
    assert FeatureMap(HashEncoder(16)).features([]).shape == (0, 43)


@pytest.mark.slow
def test_message_does_not_touch_a_bit_of_the_features(real_encoder) -> None:
    """Features do not depend on a member's message, not even on its length."""
    feature_map = FeatureMap(real_encoder)
    candidates = ["Sure!", "You could simmer it for twenty minutes, then add a little lemon.", "Why not?"]

    runs = [feature_map.encode(message, candidates) for message in ("Hi", "word " * 300, "")]

    for run in runs[1:]:
        assert run.features.tobytes() == runs[0].features.tobytes()


@pytest.mark.slow
def test_rivals_do_not_touch_a_bit_of_a_candidates_features(real_encoder) -> None:
    feature_map = FeatureMap(real_encoder)

    together = feature_map.encode("Hi", ["Sure!", "word " * 200, "Why not?"])

    assert together.features[0].tobytes() == feature_map.features(["Sure!"])[0].tobytes()


def test_feature_id_is_stable_and_short() -> None:
    assert FeatureMap(HashEncoder(16)).feature_id == FeatureMap(HashEncoder(16)).feature_id
    assert len(FeatureMap(HashEncoder(16)).feature_id) == 32


@pytest.mark.parametrize("change", ["encoder", "centre", "lexicon", "measure", "clip"])
def test_feature_id_changes_when_anything_changes(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = FeatureMap(HashEncoder(16)).feature_id
    encoder, first = HashEncoder(16), STYLE[0]
    if change == "encoder":
        encoder = HashEncoder(17)
    elif change == "centre":
        changed = features_module.StyleFeature(first.name, first.centre + 0.1, first.scale, first.measure)
        monkeypatch.setattr(features_module, "STYLE", (changed, *STYLE[1:]))
    elif change == "measure":
        changed = features_module.StyleFeature(first.name, first.centre, first.scale, lambda t: t.chars / 9)
        monkeypatch.setattr(features_module, "STYLE", (changed, *STYLE[1:]))
    elif change == "lexicon":
        words = english()._words
        monkeypatch.setitem(words, "humour", words["humour"] | {"teehee"})
    else:
        monkeypatch.setattr(features_module, "CLIP", 2.5)

    assert FeatureMap(encoder).feature_id != before
