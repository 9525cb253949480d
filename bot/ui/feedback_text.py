"""Texts of the ``/feedback`` panel: recorded feedback, what was learnt from it, whether learning is paused.

Pure functions over records of the store and of the taste reader; :mod:`bot.ui.feedback_panel` shows them. No
discord import here.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.generation import name_of_model
from bot.languages import list_of, mark, sentences_of, tr, trn
from bot.ui.taste_text import STYLES, taste_lines
from personalization.insight.taste import Taste
from personalization.ranking.dealing import EXAMPLES, PLAIN, STYLE, WISH, WRITER, Counts
from storage.records import FeedbackSummary, HeadSummary, Remark, ReplySummary

EXCERPT = 200
LONGEST = 2000
"""Longest message of Discord, characters."""
PAUSED = mark(
    "**Learning is paused.** I record no new reactions, ratings or choices from you here. What I"
    " learnt before stays, and I still use it."
)
REMARKED = mark("You told me what was wrong: {reasons}")
REMARKED_IN_WORDS = mark("You told me what was wrong: {reasons} (“{words}”)")
KINDS = mark("**Kinds of replies, by how you liked them:** {kinds}")
LIKED_OF = mark("{kind}: liked {liked} of {n}")
WITH_EXAMPLES = mark("with your liked replies as examples")
WITH_WISHES = mark("written as I think you like it")
LEAST_OF_KIND = 2
"""Labels of a kind from which it is shown."""
CHOSE = mark("**Choices you made between two answers:** {n}")
REASONS = {
    "too long": mark("too long"),
    "too short": mark("too short"),
    "wrong": mark("not true or not helpful"),
    "tone": mark("not my tone"),
    "emoji": mark("too many emoji"),
    "else": mark("something else"),
}
"""Reason why a reply was bad, as it is stored -> its text."""


def panel_lines(
    shown: ReplySummary,
    summary: FeedbackSummary,
    taste: Taste,
    remark: Remark | None,
) -> list[str]:
    """Return the lines of the panel that always stand in it."""
    lines = [tr(PAUSED) + "\n"] if summary.paused else []
    if shown.text is not None:
        lines.append(f"> {excerpt(shown, EXCERPT)}\n")
    if shown.reactions:
        lines.append(tr("Your reactions: {reactions}", reactions=" ".join(map(emoji_of, shown.reactions))))
    else:
        lines.append(tr("Your reactions: none"))
    if shown.rating:
        lines.append(tr("Your rating: {rating} of 5", rating=shown.rating))
    else:
        lines.append(tr("Your rating: none yet"))
    if remark is not None:
        lines.append(_remarked(remark))
    lines.append(f"\n{_recorded(summary, taste)}")
    if summary.n_preferences:
        lines.append(tr(CHOSE, n=summary.n_preferences))
    lines.append(_in_use(summary.head))
    lines.append(tr("**What you seem to like:**"))
    return lines + taste_lines(taste)


def page_of(lines: Sequence[str], extras: Sequence[str]) -> str:
    """Join the lines of the panel, and those of the further ones that still fit into a message."""
    page = cut("\n".join(lines), LONGEST)
    for extra in extras:
        if len(longer := f"{page}\n{extra}") <= LONGEST:
            page = longer
    return page


def kind_lines(kinds: Counts) -> list[str]:
    """Return a line with the kinds of replies that the member liked most; none without two kinds.

    Args:
        kinds: Number of replies of each kind that the member liked and disliked.
    """
    shown: list[str] = []
    for part in (STYLE, WRITER, WISH, EXAMPLES):
        known = {option: tally for option, tally in kinds.get(part, {}).items() if tally.n >= LEAST_OF_KIND}
        if len(known) < 2:
            continue
        order = sorted(known.items(), key=lambda one: (-one[1].liked / one[1].n, -one[1].n, one[0]))
        shown += [
            tr(LIKED_OF, kind=_kind(part, option), liked=round(tally.liked), n=round(tally.n))
            for option, tally in order
            if option != PLAIN
        ]
    return [tr(KINDS, kinds=" · ".join(shown))] if shown else []


def _kind(part: str, option: str) -> str:
    if part == WISH:
        return tr(WITH_WISHES)
    if part == EXAMPLES:
        return tr(WITH_EXAMPLES)
    return tr(STYLES[option]) if option in STYLES else name_of_model(option)


def _remarked(remark: Remark) -> str:
    reasons = list_of(tr(REASONS.get(reason, reason)) for reason in remark.reasons) or tr(REASONS["else"])
    words = " ".join((remark.words or "").split())
    if not words:
        return tr(REMARKED, reasons=reasons)
    return tr(REMARKED_IN_WORDS, reasons=reasons, words=cut(words, EXCERPT))


def _recorded(summary: FeedbackSummary, taste: Taste) -> str:
    if not taste.n_labels:
        return tr("**What I recorded about you here:** nothing yet that shows me what you like.")
    recorded = trn(
        "**What I recorded about you here:** feedback on {n} reply (liked: {liked}).",
        "**What I recorded about you here:** feedback on {n} replies (liked: {liked}).",
        taste.n_labels,
        liked=taste.n_liked,
    )
    if latest := " · ".join(signs(one) for one in summary.latest[:5]):
        return sentences_of(recorded, tr("Lately: {latest}", latest=latest))
    return recorded


def _in_use(head: HeadSummary | None) -> str:
    if head is None:
        return tr("**Your own ranking:** not yet. The next training round will make it from your feedback.")
    when = int(head.trained_at.timestamp())
    if head.rolled_back:
        return tr(
            "**Your own ranking:** switched off <t:{when}:R>, because it did not predict your"
            " reactions better than what most people like. Until it does, I go by what most people like.",
            when=when,
        )
    return trn(
        "**Your own ranking:** in use, from {n} label, last trained <t:{when}:R>.",
        "**Your own ranking:** in use, from {n} labels, last trained <t:{when}:R>.",
        head.n_labels,
        when=when,
    )


def signs(one: ReplySummary) -> str:
    """Return the feedback on a reply as Discord shows it."""
    rating = [tr("{rating} of 5", rating=one.rating)] if one.rating else []
    return " ".join([*map(emoji_of, one.reactions), *rating])


def excerpt(one: ReplySummary, longest: int) -> str:
    """Return the beginning of a reply in one line."""
    text = " ".join((one.text or tr("a reply whose text is no longer kept")).split())
    return cut(text, longest)


def cut(text: str, longest: int) -> str:
    """Cut a text to ``longest`` characters."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def emoji_of(key: str) -> str:
    """Convert a stored emoji to Discord's markup; custom emoji are stored by id only."""
    return f"<:emoji{key}>" if key.startswith(":") else key
