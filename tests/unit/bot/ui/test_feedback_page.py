"""The panel of ``/feedback`` fits into a message, whatever was learnt, in each language."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bot.languages import LANGUAGES, speaking
from bot.replies.offers import Offers
from bot.ui.feedback_text import LONGEST, kind_lines, page_of, panel_lines
from bot.ui.taste_text import STYLES, offer_lines
from personalization.insight.arm_book import LEARNT
from personalization.insight.learnt_wishes import LearntWish
from personalization.insight.taste import Leaning, Taste
from personalization.ranking.arms import Tally
from personalization.ranking.dealing import EXAMPLES, PLAIN, STYLE, WISH, WRITER
from personalization.ranking.explain import Evidence
from storage.members.wishes import Wish
from storage.records import FeedbackSummary, HeadSummary, Remark, ReplyId, ReplySummary

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
    return panel_lines(shown, summary, Taste(120, 60, leanings, None), remark), extras


@pytest.mark.parametrize("locale", LANGUAGES, ids=str)
@pytest.mark.parametrize("reactions", [("👍",), (":1234567890123456789",) * 20], ids=["few", "custom"])
def test_the_panel_fits_into_a_message_and_keeps_what_always_stands_in_it(locale, reactions) -> None:
    with speaking(locale):
        lines, extras = everything(reactions)

    page = page_of(lines, extras)
    assert len(page) <= LONGEST
    assert page.startswith("\n".join(lines)[: LONGEST - 1])


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
