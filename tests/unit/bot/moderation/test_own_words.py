"""What a member quotes is not what the member says."""

from __future__ import annotations

import pytest

from bot.moderation.own_words import own_words


@pytest.mark.parametrize(
    "quoted",
    ['"{}"', "“{}”", "„{}“", "«{}»", "「{}」", "『{}』", "《{}》", "`{}`", "```\n{}\n```", "```\n{}"],
)
def test_quotations_and_code_are_not_own_words(quoted):
    left = own_words(f"what does {quoted.format('nobody likes me')}")

    assert left.split() == ["what", "does"]


def test_quoted_lines_addresses_and_mentions_are_not_own_words():
    text = "> nobody likes me\nlook <@12> https://example.com/nobody <:sad:34> please"

    assert own_words(text).split() == ["look", "please"]


@pytest.mark.parametrize("quoted", ["'nobody likes me'", "‘nobody likes me’"])
def test_single_quotation_marks_quote_only_where_they_are_asked_for(quoted):
    text = f"what does {quoted} mean?"

    assert own_words(text) == text
    assert own_words(text, single_quotes=True).split() == ["what", "does", "mean?"]


def test_apostrophes_quote_nothing():
    text = "I don't know what it's for, and the dogs' food isn't here"

    assert own_words(text, single_quotes=True) == text


def test_a_message_that_is_one_quote_is_read_with_it():
    assert own_words('"nobody likes me"') == '"nobody likes me"'
