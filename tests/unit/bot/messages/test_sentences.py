"""Sentences are found in any script and never inside of code."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.messages.sentences import sentence_ends


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Hi there! How are you?", ["Hi there!", "How are you?"]),
        ("Dr. Smith lives there. He is nice. 😊 Bye!", ["Dr. Smith lives there.", "He is nice. 😊", "Bye!"]),
        ("He is nice. ||Truly. 😊|| Bye!", ["He is nice.", "||Truly. 😊||", "Bye!"]),
        ("Nice. 😊*Really* so.", ["Nice. 😊", "*Really* so."]),
        ("Try this:\nDo it.\nDone", ["Try this:\nDo it.", "Done"]),
        ("Obst, z. B. Äpfel. Und Birnen!", ["Obst, z. B. Äpfel.", "Und Birnen!"]),
        ("今日は。元気？はい", ["今日は。", "元気？", "はい"]),
        ("यह है। वह नहीं।", ["यह है।", "वह नहीं।"]),
        ("هل انت هنا؟ نعم.", ["هل انت هنا؟", "نعم."]),
        ("Use `a. B. c!` now. Then go.", ["Use `a. B. c!` now.", "Then go."]),
        ("Say:\n```py\nx = 1. \nY!\n```", ["Say:\n```py\nx = 1. \nY!\n```"]),
        (
            "v3.5 is out, e.g. today. It costs 3.99 dollars.",
            ["v3.5 is out, e.g. today.", "It costs 3.99 dollars."],
        ),
        ("Wait... what? I said so", ["Wait... what?", "I said so"]),
        ('He said "no." She left.', ['He said "no."', "She left."]),
        ("Take no. 5. Not no. Go.", ["Take no. 5. Not no.", "Go."]),
        ("", []),
    ],
)
def test_sentences_of_many_scripts(text, sentences):
    ends = [0, *sentence_ends(text)]
    assert [text[a:b].strip() for a, b in pairwise(ends)] == sentences


@given(st.text(alphabet=st.sampled_from("aB.!?。 \n`:1😊)\"'*"), max_size=60))
def test_ends_are_in_order_and_inside_the_text(text):
    ends = sentence_ends(text)
    assert ends == sorted(set(ends))
    assert all(0 < end <= len(text) for end in ends)
