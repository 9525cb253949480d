"""Pairs of the six taps: in each language, each differs along its own axis and hardly along the others."""

from __future__ import annotations

import numpy as np
import pytest

from bot.replies.six_taps.texts import AXES, LANGUAGE_NAMES, pairs_in
from bot.ui.six_taps.panel import Row
from personalization.encoding.features import STYLE_FEATURES, style_features
from personalization.encoding.languages import language_of

MEASURED_BY = {
    "length": ("length_chars", "length_words", "sentences"),
    "lively": ("emoji", "exclamations"),
    "asks": ("questions", "ends_with_question"),
    "oneself": ("first_person",),
    "words": ("word_length",),
    "details": ("list_items", "lines", "commas"),
}
"""Axis -> the style features that measure it."""


def more_of(pair) -> dict[str, float]:
    """Return how much more of each style feature the second text has."""
    return dict(
        zip(STYLE_FEATURES, (style_features(pair.more) - style_features(pair.less)).tolist(), strict=True)
    )


def size(values) -> float:
    return float(np.linalg.norm(list(values)))


def strays(pair) -> list[str]:
    """Return what is wrong with a pair: too little on its own axis, too much on another, or elsewhere."""
    more = more_of(pair)
    own = MEASURED_BY[pair.axis]
    least = size(more[name] for name in own)
    wrong = [f"{name} is not more" for name in own if more[name] <= 0]
    if least < 1.6:
        wrong.append(f"only {least:.1f} on its own axis")
    for axis, names in MEASURED_BY.items():
        found = size(more[name] for name in names)
        if axis != pair.axis and found > 0.65 * least:
            wrong.append(f"{found:.1f} along {axis}, {least:.1f} along its own")
    rest = {name: value for name, value in more.items() if name not in own}
    if pair.axis == "length":  # longer texts have longer sentences
        del rest["sentence_words"]
    if size(rest.values()) > 1.2 * least:
        wrong.append(f"{size(rest.values()):.1f} elsewhere: {rest}")
    return wrong


@pytest.mark.parametrize("language", LANGUAGE_NAMES)
def test_each_pair_differs_along_its_axis_and_hardly_along_the_others(language):
    assert {pair.name: found for pair in pairs_in(language) if (found := strays(pair))} == {}


def test_control_pairs_that_differ_along_two_axes_are_found():
    by_axis = {axis: next(pair for pair in pairs_in("en") if pair.axis == axis) for axis in AXES}
    mixed = [
        type(one)(one.name, one.axis, one.message, one.less, f"{one.more} {other.more}")
        for one in by_axis.values()
        for other in by_axis.values()
        if one.axis in ("asks", "oneself", "words") and other.axis in ("length", "lively")
    ]

    assert all(strays(pair) for pair in mixed)


@pytest.mark.parametrize("language", LANGUAGE_NAMES)
def test_every_language_has_the_same_pairs_and_its_texts_are_recognised(language):
    pairs = pairs_in(language)
    names = [pair.name for pair in pairs]
    texts = [text for pair in pairs for text in (pair.less, pair.more)]
    recognised = {language_of(text) and language_of(text).name for text in texts}

    assert names == [f"{axis}-{number}" for axis in AXES for number in (1, 2, 3)]
    assert len(set(texts)) == len(texts)
    assert recognised == {None if language == "en" else language[:2]}
    assert all(len(pair.message) <= 100 and len(pair.more) <= 400 for pair in pairs)


def test_the_longest_id_of_a_button_is_within_the_limit_of_discord():
    longest = max(len(Row(10**18 - 1, language, "abcdef").id_of("second")) for language in LANGUAGE_NAMES)

    assert longest <= 100
