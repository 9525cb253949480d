"""The panel of ``/feedback`` fits into a message, whatever was learnt, in each language."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bot.languages import LANGUAGES, speaking
from bot.replies.offers import Offers
from bot.replies.six_taps.texts import AXES
from bot.ui import feedback_text
from bot.ui.feedback_text import LONGEST, choice_called, kind_lines, page_of, panel_lines, undone_line
from bot.ui.taste_text import STYLES, offer_lines
from personalization.insight.arm_book import LEARNT
from personalization.insight.learnt_wishes import LearntWish
from personalization.insight.taste import Leaning, Taste
from personalization.ranking.arms import Tally
from personalization.ranking.dealing import EXAMPLES, PLAIN, STYLE, WISH, WRITER
from personalization.ranking.explain import Evidence
from storage.members.wishes import Wish
from storage.records import (
    FeedbackSummary,
    HeadSummary,
    Picked,
    PreferenceRow,
    Remark,
    ReplyId,
    ReplySummary,
)

NOW = datetime(2026, 11, 30, tzinfo=UTC)
KINDS = {
    STYLE: dict.fromkeys(STYLES, Tally(10, 5)),
    WRITER: dict.fromkeys(("Qwen2.5-1.5B-Instruct", "Llama-3.1-8B", "mistral"), Tally(10, 5)),
    WISH: {PLAIN: Tally(10, 5), LEARNT: Tally(9, 4)},
    EXAMPLES: {PLAIN: Tally(9, 4), "shown": Tally(9, 3)},
}
"""What a member with everything may have: all default styles, three writers, wishes, examples."""


def everything(reactions: tuple[str, ...] = ("👍", "❤️", "😂")) -> tuple[list[str], list[str]]:
    """Return the lines of the panel with everything in them, and the further ones."""
    shown = ReplySummary(ReplyId(1), NOW, "word " * 60, reactions, 4, False)
    summary = FeedbackSummary(120, (shown,) * 5, HeadSummary(120, NOW, False), 12, 3, True)
    leanings = tuple(
        Leaning(name, 0.5, Evidence(name, 20, 30, 5, 30)) for name in ("length_chars", "emoji", "questions")
    )
    remark = Remark(("too long", "tone", "emoji", "else"), "w " * 200)
    wishes = (LearntWish("shorter", 0.97), LearntWish("no-emoji", 0.95), LearntWish("asks-back", 0.93))
    unwanted = Wish((), "", ("lists", "polite", "humour", "numbers"))
    extras = [*offer_lines(Offers(wishes, ("x",)), unwanted), *kind_lines(KINDS)]
    latest = a_choice("details-1", Picked.EQUAL, earlier=Picked.FIRST)
    lines = panel_lines(shown, summary, Taste(120, 60, leanings, None, 12), remark, latest=latest)
    return [undone_line(latest), *lines], extras


def a_choice(tap: str | None, picked: Picked, *, earlier: Picked | None = None) -> PreferenceRow:
    """Return a choice, in `/compare` without the name of a pair."""
    replies = (ReplyId(1), ReplyId(2)) if picked is Picked.AGAIN else None
    return PreferenceRow(3, picked, replies, "", b"", b"", NOW, tap=tap, earlier=earlier)


@pytest.mark.parametrize("locale", LANGUAGES, ids=str)
@pytest.mark.parametrize("reactions", [("👍",), (":1234567890123456789",) * 20], ids=["few", "custom"])
def test_the_panel_fits_into_a_message_and_keeps_what_always_stands_in_it(locale, reactions) -> None:
    with speaking(locale):
        lines, extras = everything(reactions)

    page = page_of(lines, extras)
    assert len(page) <= LONGEST
    assert page.startswith("\n".join(lines))


def test_control_with_every_reaction_the_fixed_lines_exceed_a_message(monkeypatch) -> None:
    monkeypatch.setattr(feedback_text, "MOST_SIGNS", 20)
    lines, _ = everything((":1234567890123456789",) * 20)

    assert len("\n".join(lines)) > LONGEST


def test_control_with_all_further_lines_some_language_exceeds_a_message() -> None:
    def whole(locale) -> int:
        with speaking(locale):
            lines, extras = everything()
        return len("\n".join([*lines, *extras]))

    assert max(map(whole, LANGUAGES)) > LONGEST


@pytest.mark.parametrize("locale", LANGUAGES, ids=str)
def test_no_stored_name_of_a_kind_is_shown(locale) -> None:
    with speaking(locale):
        (line,) = kind_lines(KINDS)

    assert f" {LEARNT}:" not in line and "shown" not in line


def test_each_choice_is_named_by_what_was_picked_and_no_two_of_the_taps_alike() -> None:
    taps = {
        choice_called(a_choice(f"{axis}-2", picked))
        for axis in AXES
        for picked in (Picked.FIRST, Picked.SECOND, Picked.EQUAL)
    }

    assert len(taps) == 3 * len(AXES)
    assert "a short answer (six taps)" in taps
    assert choice_called(a_choice("unknown-1", Picked.FIRST)) == "a choice in the six taps"
    assert choice_called(a_choice(None, Picked.FIRST)) == "a choice in `/compare`"
    assert choice_called(a_choice(None, Picked.AGAIN)) == "another answer that you asked for"


@pytest.mark.parametrize("locale", LANGUAGES, ids=str)
def test_without_a_reply_the_panel_says_so_and_choices_are_never_nothing(locale) -> None:
    summary = FeedbackSummary(0, (), None, 6, 3, False)
    with speaking(locale):
        nothing, *_ = panel_lines(None, FeedbackSummary(0, (), None), Taste(0, 0, (), None), None)[2:]
        lines = panel_lines(None, summary, Taste(0, 0, (), None, 6), None)

    assert nothing not in lines
    assert len(page_of(lines, [])) <= LONGEST
