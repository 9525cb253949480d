"""Numbers in the bot's own texts are written as each language writes them."""

from __future__ import annotations

import pytest
from babel.numbers import get_decimal_symbol

from bot.languages import LANGUAGES, speaking, tr


@pytest.mark.parametrize("locale", [None, *LANGUAGES])
def test_numbers_have_the_decimal_sign_of_each_language(locale):
    with speaking(locale):
        assert tr("{x:.2f}", x=1.25) == f"1{get_decimal_symbol(LANGUAGES.get(locale, 'en'))}25"
