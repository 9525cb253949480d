"""Every text of the bot is translated into every language and keeps its placeholders, commands and markup."""

from __future__ import annotations

import ast
import re

import pytest

from bot.languages import LANGUAGES, everywhere
from tests.rig.catalogues import BOT, KEYWORDS, catalogue_of, template

ENGLISH = {message.id for message in template() if message.id}
_KEPT = re.compile(r"\{[^}]*\}|`[^`]*`|<[^>]*>|\*\*|\[|\]\(")
"""Placeholders, commands, and Discord's markup."""


def kept_in(text: str) -> list[str]:
    return sorted(_KEPT.findall(text))


@pytest.mark.parametrize("language", sorted(set(LANGUAGES.values())))
def test_a_catalogue_says_everything_and_keeps_what_is_no_word(language):
    said = {message.id: message.string for message in catalogue_of(language) if message.id}

    assert said.keys() == ENGLISH, "run `make translations`, then translate what is empty"
    for text, translation in said.items():
        if isinstance(text, tuple):
            one, many = text
            assert all(translation), many
            assert all(kept_in(form) in (kept_in(one), kept_in(many)) for form in translation), many
        else:
            assert translation, text
            assert kept_in(translation) == kept_in(text), text


def test_everywhere_knows_a_text_in_all_languages():
    assert len(everywhere(["I answer again."])) == 1 + len(set(LANGUAGES.values()))


def test_the_extraction_sees_every_text_that_is_said():
    calls = [
        node
        for path in BOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KEYWORDS
    ]
    said = {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}

    assert said == {text[0] if isinstance(text, tuple) else text for text in ENGLISH}
