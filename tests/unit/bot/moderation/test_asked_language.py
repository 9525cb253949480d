"""A text that names a language or speaks of translation is recognised, from names that are those of CLDR."""

from __future__ import annotations

import pytest

from bot.moderation.asked_language import LANGUAGE_NAMES, speaks_of_a_language
from tests.rig import language_names


def test_the_names_are_those_of_the_library():
    """``python -m tests.rig.language_names`` writes the file."""
    assert LANGUAGE_NAMES.read_text(encoding="utf-8") == language_names.names()


def test_control_another_list_of_names_is_seen(monkeypatch):
    monkeypatch.setattr(language_names, "NAMED", language_names.NAMED[:-1])

    assert LANGUAGE_NAMES.read_text(encoding="utf-8") != language_names.names()


@pytest.mark.parametrize(
    "text",
    [
        "in Klingon? no, in GERMAN",
        "auf französisch bitte",
        "po francusku",
        "用德语说",
        "フランス語で",
        "Por favor, em alemao",
    ],
)
def test_a_text_that_names_a_language_speaks_of_one(text):
    assert speaks_of_a_language(text)


@pytest.mark.parametrize("text", ["", "what is the weather like?", "mein Hund ist weg", "你好吗"])
def test_a_text_without_a_language_speaks_of_none(text):
    assert not speaks_of_a_language(text)
