"""Markup that Discord does not render becomes readable text: tables, small headings, formulas."""

from __future__ import annotations

import random

import pytest

from bot.generation import Candidate
from bot.messages.unsupported import readable
from bot.moderation.output_filter import OutputFilter
from tests.rig.discord_markdown import hidden_in
from tests.rig.size import sized
from tests.timing import assert_cost_is_about_linear

TABLE = "| Name | Age |\n|:-----|----:|\n| Ann | 7 |\n| **Bo** | 11 |"
ALIGNED = "```\nName  Age\n----  ---\nAnn   7\nBo    11\n```"


@pytest.mark.parametrize(
    ("table", "shown"),
    [
        (TABLE, ALIGNED),
        (f"Before\n\n{TABLE}\n\nAfter", f"Before\n\n{ALIGNED}\n\nAfter"),
        ("Name | Age\n--- | ---\nAnn | 7\nBo | 11", ALIGNED),
        ("| 名前 | x |\n|--|--|\n| 犬 | y |", "```\n名前  x\n----  -\n犬    y\n```"),
        ("| A | B |\n|-|-|\n| `x|y` | z |", "- **`x|y`** · B: z"),
        ("| A | B |\n|-|-|\n| one<br>two | z |", "```\nA        B\n-------  -\none two  z\n```"),
        ("| A | B | C |\n|-|-|-|\n| x | | " + "long " * 15 + "|", "- **x** · C: " + ("long " * 15).strip()),
        ("| A | B |\n|-|-|\n| [a](https://b.example) | ||no|| |", "- **[a](https://b.example)** · B: ||no||"),
    ],
)
def test_a_table_becomes_columns_or_a_list(table, shown):
    assert readable(table) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("#### Four", "### Four"),
        ("a\n###### Six\nb", "a\n### Six\nb"),
        ("> ##### quoted", "> ### quoted"),
        ("####no heading and ### none", "####no heading and ### none"),
        (r"It is \(x^2\).", "It is x²."),
        (r"\[ \frac{-b \pm \sqrt{b^2-4ac}}{2a} \]", "(-b ± √(b²-4ac))/(2a)"),
        (r"$\alpha_1 \le \infty$", "α₁ ≤ ∞"),
        (r"$e^{i\pi}+1=0$, $a*b*c$", r"e^(iπ)+1=0, a\*b\*c"),
        ("$$\n\\begin{aligned} a &= b \\\\ c &= d \\end{aligned}\n$$", "a = b\nc = d"),
        (r"$\text{speed} = \frac{\text{way}}{\text{time}}$", "speed = (way)/(time)"),
        ("It costs $5 and $6, $5-$6, or US$7=$7.", "It costs $5 and $6, $5-$6, or US$7=$7."),
        ("$HOME/x and $PATH", "$HOME/x and $PATH"),
    ],
)
def test_headings_and_formulas_become_what_discord_shows(text, shown):
    assert readable(text) == shown


@pytest.mark.parametrize("inside", [TABLE, "#### x", "$a^2$", r"\(x\)"])
@pytest.mark.parametrize("code", ["```\n{}\n```", "```md\n{}\n```", "so:\n```\n{}\n```\nend"])
def test_code_is_left_as_it_is(code, inside):
    assert readable(code.format(inside)) == code.format(inside)


def test_the_last_table_of_a_draft_is_left_because_it_may_grow():
    assert readable(TABLE, unfinished=True) == TABLE
    assert readable(f"{TABLE}\nend", unfinished=True) == f"{ALIGNED}\nend"


PIECES = (
    "| a | b |\n",
    "|---|---|\n",
    "| ||x|| | c |\n",
    "||",
    "|",
    "\n",
    "#### ",
    "$",
    "$$",
    "\\(",
    "\\)",
    "\\frac{",
    "}{",
    "}",
)
MORE = ("x^2", "_1", "`", "```\n", "**", "a - b\n", "-|-\n", "\\alpha ", "\\", "word ", "> ", "||secret||")


@pytest.mark.parametrize("seed", range(sized(ci=100, full=10_000)))
def test_what_is_rewritten_stays_so_and_nothing_hidden_is_shown(seed):
    rng = random.Random(seed)
    text = "".join(rng.choices(PIECES + MORE, k=rng.randint(2, 25)))

    once = readable(text)

    assert readable(once) == once
    if set("\\`").isdisjoint(text):  # in code, and behind a backslash, nothing is a spoiler
        assert hidden_in(once).count("secret") >= hidden_in(text).count("secret")


def test_candidates_are_rewritten_before_they_are_judged():
    kept = OutputFilter().apply([Candidate("#### Title\n" + TABLE, "plain")]).kept

    assert [one.text for one in kept] == ["### Title\n" + ALIGNED]


@pytest.mark.parametrize(
    "unit", [*PIECES, *MORE, "|-", "$a=", "\\[ ", "\\(x\\)", "$$a$$", "|a|b|\n|-|-|\n", "{}"]
)
def test_rewriting_takes_linear_time(unit):
    assert_cost_is_about_linear(lambda n: readable((unit * n)[:n]), 16_000)
