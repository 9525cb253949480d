"""Random changes of replies: what they may never do, for generated texts."""

from __future__ import annotations

import emoji
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalization.lab.adapting.augmentation import (
    ADDED,
    augmented,
    in_small_letters,
    other_emoji,
    truncated,
    without_a_sentence,
)

WORD = st.sampled_from(["Tea", "jam", "HOT", "ice?", "red!", "so.", "🎉", "はい。", "да", "¿qué?"])
TEXT = st.lists(WORD, min_size=1, max_size=12).map(" ".join)
SEED = st.integers(0, 2**32 - 1)


@given(TEXT, SEED)
def test_a_changed_text_is_never_empty_and_has_no_word_of_its_own(text: str, seed: int) -> None:
    found = augmented(text, np.random.default_rng(seed))

    assert found.strip()
    known = {letter for letter in text.lower()} | set("".join(ADDED)) | {" "}
    assert set(found.lower()) <= known
    assert len(emoji.replace_emoji(found, "").strip()) <= len(text)


@given(TEXT, SEED)
def test_the_same_seed_gives_the_same_text(text: str, seed: int) -> None:
    assert augmented(text, np.random.default_rng(seed)) == augmented(text, np.random.default_rng(seed))


@given(st.text(min_size=1), SEED)
def test_any_text_can_be_changed(text: str, seed: int) -> None:
    assert augmented(text, np.random.default_rng(seed))


@given(TEXT, SEED)
def test_a_truncated_text_is_a_beginning_of_at_least_half_of_the_words(text: str, seed: int) -> None:
    found = truncated(text, np.random.default_rng(seed))

    assert text.startswith(found)
    assert 2 * len(found.split(" ")) >= len(text.split(" "))


def test_each_kind_of_change_does_what_it_says() -> None:
    rng = np.random.default_rng(0)

    assert without_a_sentence("One. Two! Three?", rng) in {"Two! Three?", "One. Three?", "One. Two!"}
    assert without_a_sentence("Only one, e.g. this", rng) in {"Only one, e.g.", "this"}
    assert without_a_sentence("One sentence", rng) == "One sentence"
    assert without_a_sentence("はい。いいえ。", rng) in {"はい。", "いいえ。"}
    assert in_small_letters("Hot TEA", rng) == "hot tea"
    assert other_emoji("Hot tea 🎉", rng).strip() == "Hot tea"
    assert other_emoji("Hot tea", rng).removeprefix("Hot tea ") in ADDED


@pytest.mark.parametrize("text", ["Hot tea now. Out with red jam!", "OK 🙂"])
def test_every_kind_of_change_occurs_and_some_texts_stay(text: str) -> None:
    rng = np.random.default_rng(1)

    found = [augmented(text, rng) for _ in range(200)]

    assert 20 < found.count(text) < 120
    assert len(set(found)) > 3
