"""The answers with help: in the language of the message, by the host's configuration, within one message."""

from __future__ import annotations

import re

import pytest

from bot.config import ConfigError, parse_settings
from bot.distress.answers import HelpAnswers
from bot.distress.rules import LANGUAGES, Distress, Kind
from bot.settings import DistressSettings, HelpTexts


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", Kind)
def test_every_answer_fits_a_message_names_lines_and_pings_nobody(language, kind):
    answers = HelpAnswers(DistressSettings())

    whole, again = (answers.answer_to(Distress(kind, language), again=again) for again in (False, True))

    assert len(whole) <= 2000
    assert len(again) < len(whole)
    for text in (whole, again):
        assert "findahelpline.com" in text
        assert re.search(r"\d{2,}", text)
        assert "@" not in text


def test_the_longest_texts_of_a_host_fit_a_message():
    texts = HelpTexts(self_harm="x" * 900, lines=("y" * 120,) * 8)

    said = HelpAnswers(DistressSettings(texts={"en": texts})).answer_to(Distress(Kind.SELF, "en"))

    assert len(said) <= 2000


def test_a_host_replaces_some_texts_and_keeps_others():
    raw = {"distress": {"texts": {"de": {"self_harm": "Wir sind da.", "lines": ["Hausnummer: 1"]}}}}
    answers = HelpAnswers(parse_settings(raw).distress)

    assert answers.answer_to(Distress(Kind.SELF, "de")) == "Wir sind da.\n- Hausnummer: 1"
    assert "Gut, dass du" in answers.answer_to(Distress(Kind.FRIEND, "de"))
    assert "116 123" in answers.answer_to(Distress(Kind.SELF, "en"))


def test_a_host_switches_it_off_and_on_again():
    answers = HelpAnswers(DistressSettings(answer=False))
    off = answers.found_in("I want to die")
    answers.use_settings(DistressSettings())

    assert off is None
    assert answers.found_in("I want to die") == Distress(Kind.SELF, "en")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"answr": True}, "did you mean"),
        ({"texts": {"de": {"line": ["x"]}}}, "did you mean"),
        ({"texts": {"xx": {}}}, "'en', 'de'"),
        ({"texts": {"de": {"self_harm": "x" * 901}}}, "900"),
        ({"texts": {"de": {"lines": ["x" * 121]}}}, "120"),
        ({"texts": {"de": {"lines": [""]}}}, "at least 1"),
        ({"answer": "no"}, "boolean"),
    ],
)
def test_a_mistake_in_the_section_is_named(given, expected):
    with pytest.raises(ConfigError, match=re.escape(expected)) as failed:
        parse_settings({"distress": given})

    assert "[distress]" in str(failed.value)
