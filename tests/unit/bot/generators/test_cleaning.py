"""Cleaning removes the text that models add around a reply, in linear time."""

from __future__ import annotations

import pytest

from bot.generation import Candidate
from bot.generators.cleaning import Written, candidates_of, clean, without_unfinished_end
from tests.timing import assert_cost_is_about_linear


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("  hello \n", "hello"),
        ("Assistant: hello", "hello"),
        ("**Simpatico:** hello", "hello"),
        ("bot: assistant: hello", "hello"),
        ("The answer: 42", "The answer: 42"),
        ("<think>let me see\n</think>\n\nhello", "hello"),
        ("some thought</think>hello", "hello"),
        ("<think>never ends", ""),
        ("hello<|im_end|>\n<|im_start|>user\nhi", "hello"),
        ("hello\nUser: and you?\nAssistant: fine", "hello"),
        ("hello\n\n**Human**: and you?", "hello"),
        ("```yaml\nname: x\nuser: bob\n```", "```yaml\nname: x\nuser: bob\n```"),
        ("half a character\ufffd", "half a character"),
        ("", ""),
    ],
)
def test_what_models_add_around_a_reply_is_taken_away(raw, said):
    assert clean(raw, names=("Simpatico",)) == said


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("One. Two is not fin", "One."),
        ("Is it? Yes! But", "Is it? Yes!"),
        ('He said "yes." And then', 'He said "yes."'),
        ("never a full stop", "never a full stop"),
        ("One. Two.", "One. Two."),
        ("Costs 3.50 or so", "Costs 3.50 or so"),
        ("Do this:\n1. Walk\n2. Re", "Do this:\n1. Walk"),
        ("Do this:\n1. Walk\n2.", "Do this:\n1. Walk"),
        ("- a\n- b\n-", "- a\n- b"),
        ("これは文です。次は", "これは文です。"),
        ("Look. ```py\nx = 1. + ", "Look. ```py\nx = 1. + "),
        ("Great 🎉! And the", "Great 🎉!"),
    ],
)
def test_an_unfinished_sentence_is_cut_unless_nothing_else_is_there(text, kept):
    assert without_unfinished_end(text) == kept


def test_half_a_character_is_replaced():
    assert clean("half \ud83d emoji") == "half \ufffd emoji"
    assert clean("at the end \ud83d", cut_off=True) == "at the end"


def test_only_what_the_limit_cut_off_is_shortened():
    assert clean("One. Two is not fin") == "One. Two is not fin"
    assert clean("One. Two is not fin", cut_off=True) == "One."


def test_blank_and_repeated_candidates_are_left_out():
    written = [Written(text, f"s{i}", False) for i, text in enumerate(["Hi there", " ", "hi  THERE", "Bye"])]

    assert candidates_of(written) == [Candidate("Hi there", "s0"), Candidate("Bye", "s3")]


UNITS = ("<think>", "\n", "bot:", "assistant: ", "1. ", "\n-", "<|", " *_\"'", "\n \n", ".", "。", ".)")


@pytest.mark.parametrize("unit", UNITS)
def test_cleaning_hostile_texts_takes_linear_time(unit):
    def cleaned(n: int) -> None:
        clean(unit * n, cut_off=True)
        clean(f"Well.\n{unit * n}x\nx", cut_off=True)
        clean("bot:" + "*" * n + " " * n + "x", cut_off=True)

    assert_cost_is_about_linear(cleaned, 8000)
