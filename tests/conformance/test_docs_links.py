"""Relative links of the documentation lead to files and headings; pages on learning stay short.

A link is ``[text](page.md#heading)`` or a picture. The anchor of a heading is made as on GitHub: small
letters, punctuation removed, a hyphen for each space. Addresses on the web are not looked at.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest

from tests.benchmarks.taste_picture import KINDS, lift_by_kind, lift_figure, table

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
LEARNING = [DOCS / "learning.md", *sorted((DOCS / "learning").glob("*.md"))]
RECORDED = DOCS / "evaluation" / "taste.json"
LONGEST_PAGE, LONGEST_FIRST_PAGE = 520, 70
"""Lines of a page on learning, and of its part before the contents."""

_FENCE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchor_of(heading: str) -> str:
    """Return the anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@cache
def anchors_in(page: Path) -> frozenset[str]:
    """Return the anchors of all headings of a page."""
    return frozenset(map(anchor_of, _HEADING.findall(_FENCE.sub("", page.read_text("utf-8")))))


def broken_in(text: str, page: Path) -> list[str]:
    """Return the relative links of a text that lead nowhere from the place of ``page``."""
    broken = []
    for link in _LINK.findall(_CODE.sub("", _FENCE.sub("", text))):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors_in(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_lead_to_files_and_headings(page: Path) -> None:
    assert broken_in(page.read_text("utf-8"), page) == []


@pytest.mark.parametrize(
    "link", ["no-such-page.md", "learning.md#no-such-heading", "#no-such-heading", "learning/no-such.png"]
)
def test_control_a_link_that_leads_nowhere_is_found(link: str) -> None:
    text = f"See [here]({link}), [there](glossary.md#deciding-a-reply) and [the web](https://example.com/#x)."

    assert broken_in(text, DOCS / "learning.md") == [link]


@pytest.mark.parametrize("page", LEARNING, ids=lambda page: page.name)
def test_a_page_on_learning_is_short_enough_to_read(page: Path) -> None:
    assert len(page.read_text("utf-8").splitlines()) <= LONGEST_PAGE


def test_the_first_page_on_learning_stands_before_the_contents() -> None:
    first, _, rest = LEARNING[0].read_text("utf-8").partition("\n## Contents\n")

    assert rest
    assert len(first.splitlines()) <= LONGEST_FIRST_PAGE
    assert "](lift.png)" in first


def test_the_lift_of_the_first_page_is_the_recorded_one() -> None:
    recorded = json.loads(RECORDED.read_text("utf-8"))

    assert table(recorded) in LEARNING[0].read_text("utf-8")


def test_the_gain_of_heads_on_the_first_page_is_the_recorded_one() -> None:
    recorded = json.loads((DOCS / "evaluation" / "dbdc3.json").read_text("utf-8"))["rows"]["simpatico"]
    gains = " / ".join(f"{recorded[k]['gain']:+.3f}".replace("0.", ".", 1) for k in ("5", "20", "50"))

    assert f"concordance on DBDC3 {gains} after 5 / 20 / 50 labels" in LEARNING[0].read_text("utf-8")


def test_the_picture_shows_the_recorded_lift() -> None:
    recorded = json.loads(RECORDED.read_text("utf-8"))

    (axes,) = lift_figure(recorded).axes
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}

    assert drawn["all 16 tastes"] == list(recorded["all tastes"]["lift"].values())
    assert drawn["a member who tosses coins"] == list(recorded["members"]["coin tosser"]["lift"].values())
    assert {f"kind: {kind}": drawn[f"kind: {kind}"] for kind in KINDS} == {
        f"kind: {kind}": lift for kind, lift in lift_by_kind(recorded).items()
    }
