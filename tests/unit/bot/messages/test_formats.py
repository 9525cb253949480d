"""Splitting keeps every format closed: judged by the oracle of Discord's markdown, on generated texts."""

from __future__ import annotations

import itertools
import random

import pytest

from bot.messages import splitting
from bot.messages.formats import Formats
from bot.messages.splitting import split_message
from tests.rig.discord_markdown import hidden_in, shown_in
from tests.rig.size import sized
from tests.timing import assert_cost_is_about_linear

WRAPS = (
    "||{}||",
    "**{}**",
    "*{}*",
    "_{}_",
    "__{}__",
    "~~{}~~",
    "`{}`",
    "||**{}**||",
    "**||{}||**",
    "~~__{}__~~",
)
LINES = (
    "> {}",
    ">>> {}",
    "# {}",
    "### {}",
    "-# {}",
    "- {}",
    "1. {}",
    "> # {}",
    "> - {}",
    "- ||{}||",
    "> ||{}||",
)


def shown_by(chunks: list[str]) -> list[tuple[str, frozenset[str]]]:
    return [one for chunk in chunks for one in shown_in(chunk)]


def words(rng: random.Random, most: int) -> str:
    return " ".join(f"w{rng.randrange(1000)}" for _ in range(rng.randint(1, most)))


def well_formed(rng: random.Random, depth: int = 2) -> str:
    """A text in which every mark has its partner, as models write it."""
    inline = (
        wrap.format(words(rng, 40) if depth == 0 or "`" in wrap else well_formed_line(rng, wrap, depth))
        for wrap in rng.choices(WRAPS, k=3)
    )
    blocks = [f"{words(rng, 20)} {one} {words(rng, 20)}" for one in inline]
    blocks += [rng.choice(LINES).format(words(rng, 50)) for _ in range(2)]
    blocks += ["```py\n" + "\n".join(words(rng, 4) for _ in range(rng.randint(1, 30))) + "\n```"]
    blocks += ["\n".join("> " + words(rng, 9) for _ in range(rng.randint(1, 9)))]
    rng.shuffle(blocks)
    blocks.sort(key=lambda block: block.startswith(">>> "))  # it takes all that follows
    return "\n\n".join(blocks)


def well_formed_line(rng: random.Random, wrap: str, depth: int) -> str:
    """Words with one other format between them, none of the signs of ``wrap``."""
    inner = rng.choice([one for one in WRAPS if not set(one) & set(wrap) - set("{}")])
    held = words(rng, 20) if depth < 2 else well_formed_line(rng, wrap + inner, depth - 1)
    return f"{words(rng, 15)} {inner.format(held)} {words(rng, 15)}"


@pytest.mark.parametrize("seed", range(sized(ci=40, full=2000)))
def test_chunks_show_what_the_whole_shows(seed):
    rng = random.Random(seed)
    text, limit = well_formed(rng), rng.choice((100, 150, 333, 2000))

    chunks = split_message(text, limit)

    assert all(len(chunk) <= limit for chunk in chunks)
    assert shown_by(chunks) == shown_in(text)


@pytest.mark.parametrize(("outer", "inner"), list(itertools.product((*WRAPS, *LINES), WRAPS)))
def test_each_format_in_each_other_is_cut_and_kept(outer, inner):
    text = outer.format(f"{'a b c ' * 20}{inner.format('d e f ' * 20 + 'g')}{' h i' * 20}")

    chunks = split_message(text, 100)

    assert len(chunks) > 2
    if not set(outer) & set(inner) & set("*_~|`") and "`" not in outer:
        assert shown_by(chunks) == shown_in(text)
    assert "".join(char for char, _ in shown_by(chunks)) == "".join(char for char, _ in shown_in(text))


PIECES = (
    *(
        "||",
        "||",
        "||",
        "**",
        "*",
        "__",
        "_",
        "~~",
        "`",
        "``",
        "\\",
        "\n",
        "\n\n",
        " ",
        "\n> ",
        "\n>>> ",
        "\n- ",
    ),
    *("\n# ", "https://a.example/x_y||z", "[a ||b|| c](https://a.example)", "(", ")", "|", "w "),
)


@pytest.mark.parametrize("seed", range(sized(ci=80, full=20_000)))
def test_nothing_hidden_is_shown_whatever_is_written(seed):
    """Each hidden character is a letter of its own."""
    rng = random.Random(seed)
    letters = iter(range(0x4E00, 0x9FFF))
    pieces = rng.choices(PIECES, k=rng.randint(3, 12))
    text = "".join(one + " ".join(chr(next(letters)) for _ in range(rng.randint(1, 30))) for one in pieces)

    chunks = split_message(text, 100)

    shown = {char for chunk in chunks for char in set(chunk) if char not in hidden_in(chunk)}
    assert shown.isdisjoint({char for char in hidden_in(text) if ord(char) >= 0x4E00})


def test_control_without_the_formats_a_cut_spoiler_is_shown(monkeypatch):
    monkeypatch.setattr(splitting, "Formats", lambda text, blocks: Formats(""))
    text = f"||{'secret ' * 40}||"

    assert "".join(hidden_in(chunk) for chunk in split_message(text, 100)) != hidden_in(text)


def test_a_format_that_fits_the_next_message_is_not_cut():
    text = "word " * 15 + "**bold words that stay together** end"

    assert split_message(text, 100) == ["word " * 14 + "word", "**bold words that stay together** end"]


def test_a_nested_list_is_cut_before_an_item_of_the_first_level():
    text = "- one\n" * 10 + "- parent\n" + "  - child\n" * 2 + "- last"

    assert split_message(text, 85) == [("- one\n" * 10).strip(), "- parent\n  - child\n  - child\n- last"]


def test_marks_that_have_no_partner_stay_as_they_are():
    text = "2 * 3 * 4, snake_case_name, a || b, x ~~ y, **open" + " word" * 40

    assert " ".join(split_message(text, 100)) == text


UNITS = (
    "*a ",
    "**",
    "_",
    "__a",
    "||",
    "|| a",
    "~~",
    "`a ",
    "``",
    "\n> a",
    "\n>>> ",
    "\n- *a",
    "*_**__",
    "\\*",
    "# \n",
    "> - _a_",
)


@pytest.mark.parametrize("unit", UNITS)
def test_formats_are_found_in_linear_time(unit):
    assert_cost_is_about_linear(lambda n: split_message((unit * n)[:n]), 16_000)
