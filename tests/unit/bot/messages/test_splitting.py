"""Splitting replies: limits, good cuts, repaired fences, and random texts that try to break all three."""

import random
import re

import pytest
import regex
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bot.messages.splitting import MIN_LIMIT, beginning, split_message
from tests.timing import assert_cost_is_about_linear

FENCE = re.compile(r"(?<!`)`{3,10}(?!`)")
LANGUAGE = re.compile(r"\A[A-Za-z0-9_+\-.#]{0,20}(?=\n|\Z)")


def words(text: str) -> str:
    """The text without white space, fences and their languages."""
    outside_and_inside = FENCE.split(text.replace("\r", "\n").strip())
    kept = [LANGUAGE.sub("", part) if i % 2 else part for i, part in enumerate(outside_and_inside)]
    return re.sub(r"\s", "", "".join(kept))


def test_short_text_is_one_chunk():
    assert split_message("hello there") == ["hello there"]


@pytest.mark.parametrize("blank", ["", "   ", "\n\r\n\t", "\u3000"])
def test_blank_text_gives_no_chunk(blank):
    assert split_message(blank) == []


def test_text_of_exactly_the_limit_stays_whole():
    assert split_message("x" * 2000) == ["x" * 2000]


def test_paragraphs_are_preferred_over_lines_and_sentences():
    text = "a" * 40 + "\n\n" + "One. Two.\nThree."

    assert split_message(text, limit=64) == [text]
    assert split_message(text + " Four and five.", limit=64) == ["a" * 40, "One. Two.\nThree. Four and five."]


def test_lines_are_preferred_over_sentences():
    text = "a" * 40 + "\nOne sentence. Another that is long enough to go over."

    assert split_message(text, limit=64) == [
        "a" * 40,
        "One sentence. Another that is long enough to go over.",
    ]


def test_sentences_are_preferred_over_words():
    text = "The first sentence is about forty letters. The second one goes on and on."

    assert split_message(text, limit=64) == [
        "The first sentence is about forty letters.",
        "The second one goes on and on.",
    ]


def test_words_stay_whole_when_nothing_better_is_near():
    text = "word " * 30

    assert split_message(text, limit=64) == [" ".join(["word"] * n) for n in (13, 13, 4)]


def test_sentences_without_spaces_are_cut_after_their_full_stop():
    text = "これは長い文章です。" * 10

    assert split_message(text, limit=64) == ["これは長い文章です。" * 6, "これは長い文章です。" * 4]


def test_one_endless_word_is_cut_at_the_limit():
    assert split_message("x" * 10_000) == ["x" * 2000] * 5


def test_a_cut_fence_is_closed_and_reopened_with_its_language():
    code = [f"value_{i} = {i}" for i in range(8)]
    text = "Look:\n```python\n" + "\n".join(code) + "\n```\ndone"

    assert split_message(text, limit=80) == [
        "Look:\n```python\n" + "\n".join(code[:5]) + "\n```",
        "```python\n" + "\n".join(code[5:]) + "\n```\ndone",
    ]


def test_indentation_inside_a_cut_fence_is_kept():
    text = "```py\n" + "def f():\n" + "    x = 1\n" * 12 + "```"

    chunks = split_message(text, limit=80)

    assert len(chunks) == 2
    assert chunks[1].startswith("```py\n    x = 1\n")


def test_a_block_that_fits_the_next_chunk_is_not_cut():
    text = "p" * 60 + "\n```js\nconst a = 1;\nconst b = 2;\n```"

    assert split_message(text, limit=80) == ["p" * 60, "```js\nconst a = 1;\nconst b = 2;\n```"]


def test_an_unfinished_fence_is_closed_at_the_end():
    assert split_message("so:\n```py\nx = 1") == ["so:\n```py\nx = 1\n```"]


def test_closing_an_unfinished_fence_never_passes_the_limit():
    text = "```\n" + "x" * 1996

    chunks = split_message(text)

    assert [len(chunk) <= 2000 for chunk in chunks] == [True, True]
    assert words("".join(chunks)) == "x" * 1996


def test_blank_lines_before_a_closing_fence_make_no_empty_chunk():
    text = "```py\nx = 1\n" + "\n" * 3000 + "```\nafter"

    assert split_message(text) == ["```py\nx = 1\n```", "after"]


def test_windows_line_ends_become_plain_ones():
    assert split_message("one\r\ntwo\rthree") == ["one\ntwo\nthree"]


@pytest.mark.parametrize("emoji", ["👩‍👩‍👧‍👦", "👍🏽", "🇩🇪", "e\u0301", "1\ufe0f\u20e3", "🏴󠁧󠁢󠁳󠁣󠁴󠁿"])
def test_what_reads_as_one_character_is_not_cut(emoji):
    for shift in range(12):
        chunks = split_message("x" * shift + emoji * 60, limit=64)

        assert "".join(chunks) == "x" * shift + emoji * 60
        assert all(chunk.lstrip("x").replace(emoji, "") == "" for chunk in chunks)


def test_right_to_left_text_keeps_its_order():
    text = "שלום עולם " * 300

    assert " ".join(split_message(text)).split() == text.split()


@pytest.mark.parametrize(
    "noise", ["`" * 10_000, "``` " * 2000, "```\n" * 2000, "````a" * 900, "`" * 11 + "x" * 3000]
)
def test_backtick_noise_stays_within_the_limit_and_loses_no_word(noise):
    chunks = split_message(noise)

    assert chunks
    assert all(0 < len(chunk) <= 2000 and chunk.strip() for chunk in chunks)
    assert words("".join(chunks)).replace("`", "") == words(noise).replace("`", "")


@pytest.mark.parametrize("unit", [".", "?!", "…", ".)", "。", "\n \n", ". "])
def test_splitting_hostile_texts_takes_linear_time(unit):
    assert_cost_is_about_linear(lambda n: split_message("x" + unit * (n // len(unit)) + "x"), 19_000)


def test_a_lone_fence_is_posted_as_it_is():
    assert split_message("```") == ["```"]


def test_a_limit_too_small_for_fences_is_refused():
    with pytest.raises(ValueError, match="at least 64 characters, found 63"):
        split_message("x", limit=MIN_LIMIT - 1)


PROSE = ("word", "a.", "Yes!", "שלום", "長い文。", "x" * 70, "https://example.org/a/b?c=d", "👩‍👩‍👧", "🇫🇷")
SPACE = (" ", "  ", "\n", "\n\n", "\r\n", "\t", "- item", "    indented")
FENCES = ("```", "```py\n", "\n```\n", "```c++\n", "``", "`x`", "````")
PIECES = PROSE + SPACE + FENCES


def test_random_texts_keep_every_promise():
    rng = random.Random(20)
    for _ in range(3000):
        text = re.sub("`{11,}", "```", "".join(rng.choices(PIECES, k=rng.randint(1, 120))))
        limit = rng.choice((64, 65, 80, 100, 333, 2000))

        chunks = split_message(text, limit)

        assert all(chunk.strip() and len(chunk) <= limit for chunk in chunks), (text, limit)
        assert bool(chunks) == bool(text.strip()), (text, limit)
        joined = words("\n".join(chunks))  # a code span that is cut is closed and opened again
        assert joined.replace("`", "").replace("\u2060", "") == words(text).replace("`", ""), (text, limit)
        if words(text):
            assert all(len(FENCE.findall(chunk)) % 2 == 0 for chunk in chunks), (text, limit)


generated = settings(
    deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)

CHARACTERS = st.characters(exclude_characters="`\r", exclude_categories=("Cs",))
CLUSTERS = st.sampled_from(
    (
        "e\u0301",
        "👩‍👩‍👧‍👦",
        "👍🏽",
        "🇩🇪",
        "1\ufe0f\u20e3",
        "🏴󠁧󠁢󠁳󠁣󠁴󠁿",
        "한",
        "क्षि",
        "。\ufe00",
        "」\ufe00",
        "!\u0301",
    )
)
TEXTS = st.lists(st.text(CHARACTERS, max_size=9) | CLUSTERS | st.sampled_from((" ", "\n", "。")), max_size=40)


def clusters(text: str) -> list[str]:
    """The grapheme clusters of a text, without white space."""
    found = [cluster.strip() for cluster in regex.findall(r"\X", text)]
    return [cluster for cluster in found if cluster]


@generated
@given(TEXTS.map("".join), st.integers(1, 8))
def test_no_cut_falls_inside_a_grapheme_cluster(text, times):
    text *= times
    assume(max(map(len, clusters(text)), default=0) <= 60)

    chunks = split_message(text, limit=64)

    assert [one for chunk in chunks for one in clusters(chunk)] == clusters(text.replace("\r", "\n").strip())


@generated
@given(TEXTS.map("".join), st.integers(0, 40))
def test_a_beginning_is_the_longest_that_ends_with_a_whole_cluster(text, most):
    begun = beginning(text, most)

    rest = regex.match(r"\X", text, pos=len(begun))
    assert text.startswith(begun) and regex.findall(r"\X", text)[: len(regex.findall(r"\X", begun))] == (
        regex.findall(r"\X", begun)
    )
    assert len(begun) <= most and (rest is None or len(begun) + len(rest[0]) > most)
