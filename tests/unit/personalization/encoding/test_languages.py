"""Style and relevance in ten languages: parallel texts have equal style, and English keeps its values."""

from __future__ import annotations

import gzip
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from personalization.encoding import features as features_module
from personalization.encoding.features import STYLE_FEATURES, FeatureMap, style_features
from personalization.encoding.languages import SIZES, language_of, sure_language_of
from tests.fakes import HashEncoder
from tests.timing import assert_cost_is_about_linear

ROOT = Path(__file__).parents[4]
TEXTS = tomllib.loads((ROOT / "tests/rig/parallel.toml").read_text(encoding="utf-8"))["text"]
COUNTED = (
    "length_chars",
    "length_words",
    "sentences",
    "lines",
    "emoji",
    "questions",
    "ends_with_question",
    "exclamations",
    "ellipses",
    "list_items",
    "code",
    "markdown",
    "links",
)
"""Features that a translation keeps; tone and person may be said in other words."""


def differences(language: str) -> np.ndarray:
    """Return how far the style of each parallel text is from the English one, ``texts x features``."""
    return np.array([style_features(text[language]) - style_features(text["en"]) for text in TEXTS])


def mistaken_for_english(monkeypatch) -> None:
    monkeypatch.setattr(features_module, "language_of", lambda text: None)


@pytest.mark.parametrize("language", SIZES)
def test_a_language_is_told_from_its_texts(language):
    told = [language_of(text[language]) for text in TEXTS]

    assert [one and one.name for one in told] == [language] * 12
    assert [language_of(text["en"]) for text in TEXTS] == [None] * 12


@pytest.mark.parametrize("language", SIZES)
def test_parallel_texts_have_equal_style(language):
    apart = np.abs(differences(language))

    counted = apart[:, [STYLE_FEATURES.index(name) for name in COUNTED]]
    assert counted.max() <= 0.6
    assert apart.mean() <= 0.15
    assert np.median(apart) == 0.0 or np.median(apart) < 0.05


@pytest.mark.parametrize("language", SIZES)
def test_tone_and_person_are_those_of_the_english_text(language):
    names = (
        "first_person",
        "second_person",
        "hedges",
        "greeting",
        "courtesy",
        "positive_tone",
        "negative_tone",
        "humour",
    )
    columns = [STYLE_FEATURES.index(name) for name in names]
    english = np.array([style_features(text["en"]) for text in TEXTS])[:, columns]
    own = english + differences(language)[:, columns]
    none = style_features("")[columns]

    agree = (own > none) == (english > none)

    assert agree.mean() >= 0.9


@pytest.mark.parametrize("language", SIZES)
def test_control_measured_as_english_the_style_differs_more(language, monkeypatch):
    with_words = np.abs(differences(language)).mean()
    mistaken_for_english(monkeypatch)

    assert np.abs(differences(language)).mean() > 1.5 * with_words


def test_english_texts_keep_the_values_that_the_starter_was_fitted_on(monkeypatch):
    with gzip.open(ROOT / "tests/data/dbdc3/items.jsonl.gz", "rt", encoding="utf-8") as file:
        texts = {value for line in file for value in json.loads(line).values() if isinstance(value, str)}
    texts |= {text["en"] for text in TEXTS}
    now = {text: style_features(text) for text in texts}
    mistaken_for_english(monkeypatch)

    assert len(texts) > 100
    for text in texts:
        np.testing.assert_array_equal(now[text], style_features(text))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hola", "es"),
        ("Danke schön!", "de"),
        ("はい", "ja"),
        ("Python の print を使う", "ja"),
        ("see https://example.org/日本語 and `变量`", None),
        ("C'mon.", None),
        ("Excuse me?", None),
        ("a b c d e", None),
        ("日", "zh"),
        ("", None),
        ("\ud800", None),
        ("the café has a jalapeño burger", None),
    ],
)
def test_short_and_mixed_texts(text, language):
    found = language_of(text)

    assert (found and found.name) == language


@pytest.mark.parametrize("unit", ["日", "の", "한", "ich ", "。", "・\n", "1、\n", "l'", "ß"])
def test_hostile_text_in_any_script_is_measured_in_linear_time(unit):
    assert_cost_is_about_linear(lambda n: style_features(unit * (n // len(unit))), 16_000)


class Understands(HashEncoder):
    """An encoder that gives each question of a language's file the vector of its answer."""

    def __init__(self, languages: tuple[str, ...]) -> None:
        super().__init__(32)
        known = [language_of(TEXTS[0][name]) for name in languages]
        self._answers = {question: answer for one in known for question, answer in one.pairs}

    def encode(self, texts):
        return super().encode([self._answers.get(text, text) for text in texts])


def test_relevance_counts_as_far_as_the_encoder_understands_the_language():
    message, candidates = TEXTS[2]["zh"], [text["zh"] for text in TEXTS[:4]]

    understood = FeatureMap(Understands(("zh",))).encode(message, candidates).relevance
    not_understood = FeatureMap(Understands(())).encode(message, candidates).relevance

    assert understood.argmax() == 2
    assert np.ptp(not_understood) < 0.5 * np.ptp(understood)


def test_relevance_of_english_is_the_plain_cosine():
    encoder = Understands(())

    relevance = FeatureMap(encoder).encode("How do you do?", ["Fine.", "How do you do?"]).relevance

    np.testing.assert_array_equal(
        relevance, encoder.encode(["Fine.", "How do you do?"]) @ encoder.encode(["How do you do?"])[0]
    )


@pytest.mark.slow
def test_the_packaged_encoder_understands_some_languages_and_not_others(real_encoder):
    feature_map = FeatureMap(real_encoder)

    known = {name: feature_map._understanding_of(language_of(TEXTS[0][name])) for name in SIZES}

    assert all(known[name] > 0.5 for name in ("fr", "it", "ja"))
    assert all(known[name] < 0.2 for name in ("zh", "ko"))


def test_a_sure_language_is_never_another_one_and_mostly_found():
    latin = ("en", "de", "fr", "es", "pt", "it", "pl")
    told = {language: [sure_language_of(text[language]) for text in TEXTS] for language in latin}

    assert all(set(found) <= {language, None} for language, found in told.items())
    assert all(found.count(None) <= 5 for found in told.values())


@pytest.mark.parametrize("text", ["", "ok", "Tom & Jerry", "naïve café", "是的", "da da da"])
def test_too_few_words_are_surely_in_no_language(text):
    assert sure_language_of(text) is None
