"""Sentences and bars of the glass box."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from bot.app.glass_box.looking import Look, Opinion, ShownReply, TasteNow
from bot.app.glass_box.telling import (
    MOST_ASKED,
    MOST_BARS,
    Note,
    bars_of,
    changes,
    clipped,
    in_words,
    numbered,
    position,
    reply_note,
    reply_of,
    round_note,
    taste_changes,
)
from bot.replies.decision import impression_of
from personalization.encoding.features import STYLE_FEATURES
from personalization.labels.labels import Label
from personalization.ranking.ranking import Ranking
from personalization.rounds.round_results import RoundReport
from storage.records import Consent, Place, Who

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ADA, BEN = Who(1, 10), Who(1, 11)
LEARNS = "The next round learns from it."
NAMES = {ADA: "Ada", BEN: "Ben"}
NOBODY, NOTHING = TasteNow(Consent.UNKNOWN), Opinion()


def ranking_of(*chances: float) -> Ranking:
    k = len(chances)
    return Ranking(
        order=tuple(range(k)),
        scores=(0.0,) * k,
        prior_scores=(0.0,) * k,
        propensities=chances,
        chosen=0,
        policy="thompson",
        head_version=0,
        feature_id="f",
        features=np.zeros((k, 2), np.float32),
        personal=np.zeros(k, np.float32),
        relevance=np.zeros(k, np.float32),
        parts=(),
        uncertainty=0.1,
        n_labels=0,
    )


def reply(number: int = 1, who: Who = ADA, message: str = "hello") -> ShownReply:
    ranking = ranking_of(0.25, 0.75)
    impression = impression_of(("Yes.", "Why, of course!"), ("concise", "warm"), ranking)
    return ShownReply(number, who, message, Place(5, (6,)), impression, ranking, NOW)


def taste(version: int = 1, **weights: float) -> TasteNow:
    return TasteNow(Consent.AGREED, version, 1, tuple(weights.get(name, 0.0) for name in STYLE_FEATURES))


def look(*, ada: TasteNow = NOBODY, opinion: Opinion = NOTHING, now=(0.25, 0.75)) -> Look:
    shown = reply()
    rankings = {(1, ADA): ranking_of(*now), (1, BEN): shown.ranking}
    return Look((shown,), {ADA: ada, BEN: NOBODY}, {1: opinion}, rankings)


def told(old: Look, new: Look) -> list[str]:
    return [note.text for tell in (changes, taste_changes) for note in tell(old, new, NAMES, NOW)]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (NOBODY, taste(length_chars=-0.1), ["Ada's taste moved toward “a short answer”."]),
        (taste(emoji=0.1), taste(2, emoji=0.2), ["Ada's taste moved toward “emoji”."]),
        (taste(emoji=0.2), taste(2, emoji=0.1), ["Ada's taste moved away from “emoji”."]),
        (taste(emoji=0.2), taste(2, emoji=0.2), ["Ada's taste stayed as it was."]),
        (taste(emoji=0.2), TasteNow(Consent.AGREED), ["Ada is ranked like everyone else again."]),
        (taste(emoji=0.2), taste(emoji=0.2), []),
    ],
)
def test_a_round_is_told_by_what_moved_most(before, after, expected) -> None:
    found = [note.text for note in taste_changes(look(ada=before), look(ada=after), NAMES, NOW)]

    assert found == expected


def test_a_moved_taste_names_the_chance_that_changed_most() -> None:
    text = told(look(ada=taste()), look(ada=taste(2, emoji=0.1), now=(0.6, 0.4)))[0]

    assert text.endswith("again, the chance of the concise one rose from 25\u202f% to 60\u202f%.")


@pytest.mark.parametrize(
    ("opinion", "expected"),
    [
        (
            Opinion(("👍",), None, Label(1.0, 1.0)),
            f"Ada gave thumbs up to the concise reply: a like (label 1.00). {LEARNS}",
        ),
        (
            Opinion(("🙄",), 2, Label(0.1, 1.0)),
            f"Ada gave face with rolling eyes and 2 of 5 to the concise reply: a dislike (label 0.10)."
            f" {LEARNS}",
        ),
    ],
)
def test_a_label_is_told_when_it_comes_and_when_it_goes(opinion, expected) -> None:
    here, gone = look(opinion=opinion), look()

    assert told(gone, here) == [expected]
    assert told(here, gone) == ["Ada took the feedback on the concise reply back."]
    assert told(here, here) == []


EMOJI = "👍 👎 ❤ ❤️ 😂 🙄 ♥ ✖ ☠ ❤‍🔥 🫶 🩷 🏴‍☠ 💯 ⭐ ✅ ☑ ✔ ❓ ⛔ 🆒".split()


@pytest.mark.parametrize("reaction", [*EMOJI, "👍🏽", "🇩🇪", "1⃣", "👨‍👩‍👧", ":123"])
def test_a_reaction_is_told_in_words_that_need_no_emoji_font(reaction) -> None:
    assert re.fullmatch(r"[A-Za-z0-9 -]+", in_words(reaction))
    assert in_words("👍") == "thumbs up"


def test_agreeing_is_told() -> None:
    agreed = look(ada=TasteNow(Consent.AGREED))

    assert told(look(), agreed) == ["Ada agreed to learning. Reactions count from now on."]


def test_replies_and_rounds_are_told_in_numbers() -> None:
    assert (
        reply_note(reply(), "Ada").text
        == "Ada asked. Of 2 candidates, the concise one was posted (chance 25\u202f%)."
    )
    report = RoundReport(version=3, n_members=1, n_labels=2, seconds=0.25)
    assert round_note(report, NOW).text == "Round 3 learnt from 2 labels of 1 member in 0.2 s."


def test_equal_notes_of_one_moment_have_keys_of_their_own() -> None:
    note = Note(datetime(2026, 1, 1, tzinfo=UTC), "label", "Ada took the feedback back.")

    keys = [one["key"] for one in numbered([note, note, replace(note, text="Else.")])]

    assert len(set(keys)) == 3
    assert keys[2] == numbered([note])[0]["key"], "the first keeps its key"


def test_bars_are_the_strongest_differences_with_equal_names_added() -> None:
    now = taste(2, length_chars=-0.03, length_words=-0.02, emoji=0.01)

    bars = bars_of(now, taste(length_chars=-0.05))

    assert len(bars) == MOST_BARS
    assert bars[0] == {
        "key": "length_chars",
        "less": "a short answer",
        "more": "a long answer",
        "at": position(-0.05),
        "before": position(-0.05),
    }
    assert [bar["key"] for bar in bars].count("length_words") == 0
    assert (bars[1]["key"], bars[1]["at"] > 0, bars[1]["before"]) == ("emoji", True, 0.0)


def test_a_bar_grows_with_the_difference_and_never_leaves_its_track() -> None:
    places = [position(amount) for amount in (-1e6, -0.1, -0.01, 0.0, 0.01, 0.1, 1e6)]

    assert places == sorted(places)
    assert (places[0], places[3], places[-1]) == (-1.0, 0.0, 1.0)
    assert places[4] > 0.1  # what one thumb does can be seen


def test_a_reply_shows_every_candidate_for_every_viewer_and_long_texts_in_part() -> None:
    shown = look(now=(0.6, 0.4))
    long = replace(shown.replies[0], message="a" * 1000)

    drawn = reply_of(long, shown, (ADA, BEN), "Ada")

    assert [(one["style"], one["posted"], one["chance"], one["length"]) for one in drawn["candidates"]] == [
        ("concise", True, 0.25, 4),
        ("warm", False, 0.75, 15),
    ]
    assert [one["chances"] for one in drawn["now"]] == [[0.6, 0.4], [0.25, 0.75]]
    assert drawn["asked"] == clipped("a" * 1000, MOST_ASKED) == "a" * (MOST_ASKED - 1) + "…"
