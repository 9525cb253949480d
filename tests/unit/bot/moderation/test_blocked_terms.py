"""Blocked terms are found in disguise, without false positives."""

import pytest

from bot.moderation.blocked_terms import is_blocked
from tests.timing import assert_cost_is_about_linear

TERMS = ("ass", "hell", "Dummkopf", "bad idea", "сор", "バカ", "c++", "naïve", "kill", "1488", "c4")

FOUND = {
    "plain": "what an ass!",
    "in capitals": "DUMMKOPF.",
    "at the ends": "hell",
    "between marks": "(hell), really",
    "possessive": "the ass's bridge",
    "full width": "ａｓｓ",
    "zero width": "a\u200bs\u200ds",
    "soft hyphen": "Dumm\u00adkopf",
    "stacked marks": "h\u0335e\u0336l\u0337l\u0338",
    "blank that is no space": "he\u3164ll",
    "Cyrillic letters in a Latin word": "аѕs",
    "only letters that look Latin": "НЕLL and нell",
    "Greek letters": "dυmmkopf",
    "digits": "4ss",
    "signs": "a$$ or @ss",
    "digits in a long word": "dumm k0pf dummk0pf",
    "an exclamation mark for an i": "k!ll",
    "drawn out": "heeeelllll no",
    "spaced": "a s s",
    "dotted": "h.e.l.l",
    "dashed": "d-u-m-m-k-o-p-f",
    "markup inside": "he**ll** and h||ell||",
    "in italics": "_hell_",
    "two words": "a bad, idea",
    "over a line": "bad\nidea",
    "another script": "это сор из избы",
    "a script without spaces": "お前はバカだ",
    "with signs of its own": "I write C++ daily",
    "with an accent": "how NAÏVE",
    "in code": "`ass`",
    "a number": "14/88? No: 1488.",
    "letters and a digit": "some C4 here",
    "spaced out with a digit": "k 1 l l",
    "half a character": "\ud800 ass",
}

HONEST = {
    "inside a word": "The class passed the assessment; hello, shell, assume, bass.",
    "a phone": "The Samsung A55 and the A-55 are phones.",
    "numbers": "455 and 1,455 and 4-5-5, 455.",
    "as s": "as s is a letter, so as said",
    "initials": "A. S. Byatt; U.S.S. Enterprise; s. s. p.",
    "other words": "skill, killer whale, idea bad, dumm kopf",
    "without its accent": "a naive reader",
    "letters that look alike in another language": "ракета и хелл",
    "an address": "me@class.example and https://example.org/assets?x=hello",
    "drawn out, another word": "heel, heeel, als, as",
    "a language": "C, C# and c + +d",
    "money": "a $50 bill; US$ 4",
    "nothing": "",
    "another number": "14880 and c44 and 1,488",
}


@pytest.mark.parametrize("text", FOUND.values(), ids=FOUND)
def test_a_term_is_found_however_it_is_hidden(text):
    assert is_blocked(text, TERMS)


@pytest.mark.parametrize("text", HONEST.values(), ids=HONEST)
def test_an_honest_text_passes(text):
    assert not is_blocked(text, TERMS)


def test_without_terms_nothing_is_blocked():
    assert not is_blocked("ass", ())
    assert not is_blocked("ass", ("", " \u200b "))


def test_letters_that_look_latin_stay_cyrillic_in_a_cyrillic_text():
    assert is_blocked("сор", ("cop",))  # nothing else marks the text as Russian
    assert not is_blocked("Вынести сор из избы", ("cop",))


@pytest.mark.parametrize("unit", ["a", "a s ", "h.e.l.", "*a"])
def test_a_hostile_text_is_judged_in_linear_time(unit):
    terms = [*TERMS, *(f"term{n}" for n in range(20))]

    assert_cost_is_about_linear(lambda n: is_blocked((unit * n)[: n - 1] + "z", terms), 20_000)
