"""A candidate has the shape of its style, whatever the model wrote."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.generation import Candidate, Shape, Style
from bot.messages.markdown import Kind, parts_of
from bot.messages.sentences import sentence_ends
from bot.replies import shapes
from bot.replies.shapes import in_shape, shaped
from bot.settings import DEFAULT_STYLES, SHORT
from tests.rig.discord_markdown import shown_in

LONG = "First, a word. " * 12


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("One. Two. Three.", "One. Two."),
        (LONG, "First, a word. First, a word."),
        ("Do this:\n1. Wash\n2. Cook\n3. Eat", "Do this: Wash. Cook."),
        ("One sentence without an end", "One sentence without an end"),
        ("The sky is blue, " * 12 + "always.", "The sky is blue, " * 6 + "The sky is blue."),
        ("No clause ends here " * 8 + "at all. More.", "No clause ends here " * 8 + "at all."),
        ("`x` then, and then, " * 8 + "end.", "`x` then, and then, " * 8 + "end."),
        ("A rather long sentence " * 5 + "ends. And one more.", "A rather long sentence " * 5 + "ends."),
        ("Run `a. b. C.` twice. Then stop. Then go.", "Run `a. b. C.` twice. Then stop."),
        ("Try:\n```py\nprint('Hi. You.')\n```\nDone. More.", "Try:\n```py\nprint('Hi. You.')\n```\nDone."),
        ("Great! 🎉 Good! 🎉 More!", "Great! 🎉 Good! 🎉"),
    ],
)
def test_short_is_one_or_two_short_sentences(text, kept):
    assert in_shape(text, SHORT) == kept


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Nice. How was it? I like tea.", "Nice. How was it?"),
        ("Nice. Really? How was it? 😊 Bye.", "Nice. Really? How was it? 😊"),
        ("Nice. I like tea.", "Nice. I like tea."),
    ],
)
def test_a_style_that_asks_ends_with_its_last_question(text, kept):
    assert in_shape(text, Shape(question=True)) == kept


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        ("Pack:\n- food\n- a tent", "Pack: food. a tent."),
        ("1. food\n2. a tent!", "food. a tent!"),
        ("- use `x`\n- then `y`", "use `x` then `y`"),
        ("Use `x` - it works", "Use `x` - it works"),
        ("- a\n- b `x` - c", "a. b `x` - c."),
        ("b `x` - c\n- d", "b `x` - c. d."),
        ("No list", "No list"),
    ],
)
def test_joined_items_end_as_sentences_do(text, joined):
    assert in_shape(text, Shape(lists=False)) == joined


def test_a_reply_without_a_shape_is_left_alone():
    text = "- one\n- two\n\nThree. Four?  Five"
    assert in_shape(text, Shape()) == text


def test_candidates_take_the_shape_of_their_style_and_a_cut_draft_is_whole():
    styles = [Style("short", "", shape=SHORT), Style("long", "")]
    drafts = [
        Candidate("One. Two. Three.", "short", unfinished=True),
        Candidate("One. Two. Three.", "long", unfinished=True),
        Candidate("one.  two.", "long"),
    ]

    assert shaped(drafts, styles) == [Candidate("One. Two.", "short"), drafts[1]]


PIECES = st.sampled_from(
    [
        "Hello there. ",
        "A? ",
        "`x. y` ",
        "\n- item",
        "\n2. item.\n",
        "```\na. b\n```\n",
        "word ",
        "今日は。",
        "😊 ",
        "(e.g. so) ",
        "||",
        "**",
        "~~",
        "# Title\n",
        "> quoted\n",
    ]
)


def code_in(text: str) -> list[str]:
    return [text[part.start : part.end] for part in parts_of(text) if part.kind in (Kind.CODE, Kind.DOUBTFUL)]


@given(st.lists(PIECES, max_size=12).map("".join), st.sampled_from([style.shape for style in DEFAULT_STYLES]))
@example("Hello there. ||Hello there. 😊 ||", SHORT)
def test_a_shape_only_cuts_and_holds(text, shape):
    kept = in_shape(text, shape)

    assert bool(kept.strip()) == bool(text.strip())
    assert in_shape(kept, shape) == kept
    if shape.most_sentences:
        assert len(sentence_ends(kept)) <= shape.most_sentences
    code, left = code_in(text), code_in(kept)
    assert left == code[: len(left)]


WORDS = " ".join(f"secret{n}, so" for n in range(60))


FORMS = (
    *("||{}||", "||**{}**||", "**||{}||**", "# Title\n||{}||", "- ||{}||\n- b", "See: ||{}|| end"),
    *("__||{}||__", ">>> ||{}||", "1. a\n2. ||{}||"),
)


def in_clear(text: str) -> str:
    return "".join(char if "spoiler" not in formats else " " for char, formats in shown_in(text))


@pytest.mark.parametrize("shape", [SHORT, Shape(most_sentences=1), Shape(most_characters=60, lists=False)])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("between", [" ", ". ", "!\n", "\n\n"])
def test_what_is_hidden_stays_hidden_in_every_shape(form, shape, between):
    text = form.format(WORDS.replace(", so ", between))
    if "secret" in in_clear(text):
        pytest.skip("Discord shows it: an item ends with its line")

    assert "secret" not in in_clear(in_shape(text, shape))


def test_control_without_closing_a_cut_spoiler_is_shown(monkeypatch):
    monkeypatch.setattr(shapes, "_cut", lambda text, end: text[:end])

    assert "Secret" in in_clear(in_shape("||Secret. More. End.||", Shape(most_sentences=1)))


def test_a_heading_belongs_to_the_sentence_below_it():
    assert in_shape("## Tea\nIt is hot. It is good.", Shape(most_sentences=1)) == "## Tea\nIt is hot."


def test_two_shapes_together_are_the_tighter_one():
    both = Shape(most_sentences=3, lists=False).and_also(SHORT)
    assert (both.most_sentences, both.most_characters, both.lists) == (2, SHORT.most_characters, False)
    assert Shape().and_also(Shape()) == Shape()
