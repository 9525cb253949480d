"""Rules that recognise distress: measured per language, in disguise, and without false alarms."""

from __future__ import annotations

import pytest

from bot.distress.rules import LANGUAGES, Distress, Kind, distress_in
from tests.rig.distress_sentences import rates, sentences
from tests.rig.everyday import MESSAGES
from tests.timing import assert_cost_is_about_linear

DISGUISED = (
    "I WANT TO DIE!!!",
    "i want to diiiiie",
    "i want 2 die",
    "1 w4nt t0 d13",
    "I w\u200bant to d\u200bie",
    "i want to \u0501\u0456\u0435",
    "w\u0338ant to kill m\u0338yself",
    "i want to k.i.l.l m.y.s.e.l.f",
    "kill m y s e l f",
    "#iwanttodie",
    "**I** want to ||die||",
    "ｉ ｗａｎｔ ｔｏ ｄｉｅ",
    "シニタイ",
    "我 想 死",
    "chce sie zabic",
    "ya no quiero vivir",
    "J ai envie de mourir",
)
BESIDE_AN_IDIOM = (
    "this game is killing me but honestly I want to die",
    "I was dying of laughter yesterday, today I want to kill myself",
    "my mom is going to kill me. I don't want to live anymore",
)
NO_DISTRESS = (
    "```python\ndef kill_myself(): pass\n```",
    "`kill myself` is a function name",
    'he said "I want to die" in the movie',
    "> I don't want to live anymore\nwho wrote that?",
    "how do I kill zombie processes on linux?",
    "kms activation and 200 kms to the next city",
    "write a story about a knight who wants to die for his king",
    "I don't want to die",
    "I never want to kill myself again, life is great",
    "Why did Kurt Cobain commit suicide?",
    "suicide prevention month is in September",
    "bungee jumping: I want to jump off a bridge",
    "",
    "\ud800",
)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("measured", "least"), [(False, 0.95), (True, 0.6)])
def test_most_distress_and_few_near_misses_are_recognised(language, measured, least):
    recall, false = rates(language, measured=measured)

    assert recall >= least
    assert false <= 0.03


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_kind_of_distress_is_told_apart(language):
    told = [one for one in sentences(language, measured=False) if one.kind and one.found]

    assert [one.text for one in told if one.found.kind is not one.kind] == []


@pytest.mark.parametrize("text", DISGUISED + BESIDE_AN_IDIOM)
def test_distress_is_recognised_in_disguise_and_beside_an_idiom(text):
    found = distress_in(text)

    assert found is not None and found.kind is Kind.SELF


@pytest.mark.parametrize("text", NO_DISTRESS)
def test_code_quotes_titles_and_idioms_are_no_distress(text):
    assert distress_in(text) is None


def test_no_everyday_message_is_taken_for_distress():
    assert [text for text in MESSAGES if distress_in(text)] == []


def test_one_who_worries_about_a_friend_is_told_apart_from_one_who_is_in_distress_too():
    assert distress_in("my friend wants to kill herself") == Distress(Kind.FRIEND, "en")
    assert distress_in("my friend wants to kill herself and I want to die") == Distress(Kind.SELF, "en")


@pytest.mark.parametrize(
    "piece", ["i want to ", "my friend wants ", "i i i ", "k1", "“", "`", "> ", "自", "!?"]
)
def test_a_hostile_text_is_read_in_linear_time(piece):
    assert_cost_is_about_linear(lambda n: distress_in(piece * (n // len(piece))), 16_000)
