"""Learnt taste in plain words: correct numbers, and no line where nothing was learnt."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product

import discord
import pytest

from bot.languages import speaking
from bot.settings import DEFAULT_STYLES
from bot.ui.taste_text import PHRASES, STYLES, phrase, points_of, proof, reason_lines, taste_lines
from personalization.encoding.features import STYLE_FEATURES
from personalization.insight.taste import Leaning, Taste
from personalization.ranking.explain import OTHER, RELEVANCE, WORDING, Evidence
from storage.records import Reason, ReplyId, ReplyReason

SHORT = Evidence("length_chars", liked_with=1, n_with=9, liked_without=8, n_without=10)


def told(reason, **changes) -> ReplyReason:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    given = dict(n_candidates=4, style="concise", propensity=0.9, head_version=3, reason=reason)
    return ReplyReason(ReplyId(1), at, **(given | changes))


def test_every_part_of_a_score_has_words_for_more_and_for_less():
    assert PHRASES.keys() == {*STYLE_FEATURES, RELEVANCE, WORDING}
    assert all(more and less for more, less in PHRASES.values())


def test_a_reason_names_what_spoke_for_and_against_with_the_members_own_counts():
    parts = (("length_chars", 0.8, -1.2), ("emoji", -0.3, 0.5), (RELEVANCE, 0.2, 0.2), (OTHER, 0.1, 0.1))

    lines = reason_lines(told(Reason(parts, 0.3, 19)), {"length_chars": SHORT})

    assert lines == [
        "I wrote 4 different answers and picked this one, in the *concise* style.",
        "**What spoke for it:**",
        "• a short answer, you liked 8 of 10 such replies",
        "• a close fit to your message",
        "**What spoke against it:**",
        "• emoji",
        "My picture of your taste is based on 19 of your reactions, ratings and choices."
        " I was very sure about this reply.",
    ]


def test_two_features_of_one_name_are_told_once():
    parts = (("length_chars", 0.8, -1.2), ("length_words", 0.6, -1.0))

    assert sum("short" in line for line in reason_lines(told(Reason(parts, 2.0, 1)), {})) == 1


def test_a_rare_choice_is_called_an_experiment():
    lines = reason_lines(told(Reason((), 2.0, 0), propensity=0.04), {})

    assert lines[-1].startswith("This was also a small experiment. I pick such a reply 4 % of")
    assert not any("equally good" in line for line in lines)  # no parts are stored for the prior's taste


def test_a_reply_that_was_never_ranked_says_so():
    assert reason_lines(told(None), {})[1] == (
        "I could not compare my answers at that moment, so I posted the first one."
    )


def test_only_what_is_worth_a_word_is_looked_up():
    assert points_of([("emoji", 0.2, 1.0), ("links", 0.01, 1.0), (OTHER, 3.0, 3.0)]) == ["emoji"]


@pytest.mark.parametrize(
    ("evidence", "direction", "liked", "words"),
    [
        (SHORT, -1.0, True, "you liked 8 of 10 such replies"),
        (SHORT, 1.0, False, "you liked 1 of 9 such replies"),
        (SHORT, 1.0, True, ""),  # the counts speak against the claim
        (SHORT, -1.0, False, ""),
        (Evidence("length_chars", 0, 6, 2, 5), -1.0, True, "you liked none of 6 other replies"),
        (Evidence("length_chars", 1, 6, 2, 5), -1.0, True, "you liked 1 of 6 other replies"),
        (Evidence("length_chars", 0, 6, 2, 5), 1.0, False, "you liked none of 6 such replies"),
        (Evidence("length_chars", 4, 6, 5, 5), 1.0, False, "you liked 5 of 5 other replies"),
        (Evidence("emoji", 1, 2, 1, 2), 1.0, True, ""),  # as many as of the others
        (Evidence("emoji", 1, 1, 0, 0), 1.0, True, ""),  # one reply is no evidence
        (Evidence("emoji", 1, 1, 0, 1), 1.0, True, ""),
        (Evidence("emoji", 1, 1, 0, 2), 1.0, True, "you liked none of 2 other replies"),
        (Evidence("emoji", 0, 0, 0, 0), 1.0, True, ""),
    ],
)
def test_a_proof_supports_its_claim_or_is_left_out(evidence, direction, liked, words):
    assert proof(evidence, direction, liked=liked) == words


def claims() -> Iterator[tuple[Evidence, float, bool]]:
    for counts in product(range(5), repeat=4):
        if counts[0] <= counts[1] and counts[2] <= counts[3]:
            yield from (
                (Evidence("emoji", *counts), direction, liked)
                for direction in (1.0, -1.0)
                for liked in (True, False)
            )


def test_no_proof_says_the_opposite_of_its_claim():
    shown = 0
    for evidence, direction, liked in claims():
        said = proof(evidence, direction, liked=liked)
        if not said:
            continue
        shown += 1
        n_liked, n = (0 if "none" in said else int(said.split()[2])), int(said.split()[-3])
        about_such = said.endswith("such replies")
        assert n >= 2
        assert (n_liked / n > 0.5) == (liked == about_such), (evidence, direction, liked, said)
        assert proof(evidence, direction, liked=not liked) == "", (evidence, direction, said)
    assert shown > 100


def test_a_taste_is_told_in_its_directions_and_each_thing_once():
    taste = Taste(
        19,
        9,
        (
            Leaning("length_chars", -0.4, SHORT),
            Leaning("length_words", -0.3, SHORT),
            Leaning("humour", 0.2, Evidence("humour", 1, 1, 0, 1)),
            Leaning("emoji", -0.2, Evidence("emoji", 0, 6, 2, 5)),
        ),
        None,
    )

    assert taste_lines(taste) == [
        "• a short answer (you liked 8 of 10 such replies)",
        "• humour",
        "• few or no emoji (you liked none of 6 other replies)",
    ]
    assert phrase("emoji", -1) == "few or no emoji"


def test_a_leaning_from_choices_tells_them_unless_most_speak_against_it():
    none = Evidence("emoji", 0, 0, 0, 0)
    leanings = tuple(
        Leaning(name, -0.2, none, chosen)
        for name, chosen in (("emoji", (2, 3)), ("humour", (1, 2)), ("length_chars", (1, 1)))
    )

    assert taste_lines(Taste(0, 0, leanings, None, 3)) == [
        "• few or no emoji (you chose it in 2 of 3 choices)",
        "• no jokes",
        "• a short answer (you chose it in 1 of 1 choice)",
    ]


def test_no_taste_yet_is_said_plainly():
    assert taste_lines(Taste(0, 0, (), None)) == [
        "Nothing certain yet: my picture of your taste is still close to what most people like."
    ]


def test_a_default_style_is_named_in_the_language_and_a_style_of_the_host_as_the_host_does():
    assert STYLES.keys() == {style.name for style in DEFAULT_STYLES}
    with speaking(discord.Locale.german):
        assert "*knapp*" in reason_lines(told(None), {})[0]
        assert (
            "*code*" in reason_lines(told(None, style="code"), {})[0]
        )  # "code" is also a word of the catalogue


@pytest.mark.parametrize("locale", [discord.Locale.chinese, discord.Locale.japanese])
def test_chinese_and_japanese_lines_have_no_space_or_comma_of_other_languages(locale):
    parts = (("length_chars", 0.8, -1.2), ("emoji", -0.3, 0.5), (RELEVANCE, 0.2, 0.2))
    leaning = Leaning("length_chars", -1.0, SHORT)

    with speaking(locale):
        lines = reason_lines(told(Reason(parts, 0.3, 19)), {"length_chars": SHORT})
        lines += taste_lines(Taste(19, 9, (leaning,), None))

    said = "\n".join(lines)
    assert not any(sign in said for sign in (", ", ". ", "。 ", " (", "、 "))


def test_control_english_lines_have_them():
    assert ", " in "\n".join(
        reason_lines(told(Reason((("length_chars", 0.8, -1.2),), 0.3, 19)), {"length_chars": SHORT})
    )
