"""The ``/feedback`` panel in words: what was recorded, what came of it, and whether learning is paused.

Pure functions over what the store and the taste reader tell; :mod:`bot.panel` shows them. No discord import
here.
"""

from __future__ import annotations

from bot.wording import taste_lines
from personalization.taste import Taste
from storage.records import FeedbackSummary, HeadSummary, Remark, ReplySummary

EXCERPT = 200
PAUSED = (
    "**Learning is paused.** I record nothing new that you react to, rate or compare here; what you told me"
    " before stays, and so does what I made of it."
)
REMARKED = "You told me what was wrong: {reasons}"
REMARKED_IN_WORDS = "You told me what was wrong: {reasons} (“{words}”)"
CHOSE = "**Choices you made between two answers:** {n}"
REASONS = {
    "too long": "too long",
    "too short": "too short",
    "wrong": "not true or not helpful",
    "tone": "not my tone",
    "emoji": "too many emoji",
    "else": "something else",
}
"""What may be wrong with a reply: how it is kept -> how it is said."""


def panel_lines(
    shown: ReplySummary, summary: FeedbackSummary, taste: Taste, remark: Remark | None
) -> list[str]:
    """What the panel says, line by line."""
    lines = [f"{PAUSED}\n"] if summary.paused else []
    if shown.text is not None:
        lines.append(f"> {excerpt(shown, EXCERPT)}\n")
    lines.append(f"Your reactions: {' '.join(map(emoji_of, shown.reactions)) or 'none'}")
    lines.append(f"Your rating: {shown.rating} of 5" if shown.rating else "Your rating: none yet")
    if remark is not None:
        lines.append(_remarked(remark))
    lines.append(f"\n**What I recorded of you here:** {_recorded(summary, taste)}")
    if summary.n_preferences:
        lines.append(CHOSE.format(n=summary.n_preferences))
    lines.append(f"**Your own ranking:** {_in_use(summary.head)}")
    lines.append("**What you seem to like:**")
    lines += taste_lines(taste)
    return lines


def _remarked(remark: Remark) -> str:
    reasons = ", ".join(REASONS.get(reason, reason) for reason in remark.reasons) or REASONS["else"]
    words = " ".join((remark.words or "").split())
    if not words:
        return REMARKED.format(reasons=reasons)
    return REMARKED_IN_WORDS.format(reasons=reasons, words=cut(words, EXCERPT))


def _recorded(summary: FeedbackSummary, taste: Taste) -> str:
    if not taste.n_labels:
        return "nothing that tells me what you like, yet."
    replies = "one reply" if taste.n_labels == 1 else f"{taste.n_labels} replies"
    latest = " · ".join(signs(one) for one in summary.latest[:5])
    return f"feedback on {replies}, {taste.n_liked} of them liked." + (f" Lately: {latest}" if latest else "")


def _in_use(head: HeadSummary | None) -> str:
    if head is None:
        return "not yet; the next training round makes it from your feedback."
    since = f"<t:{int(head.trained_at.timestamp())}:R>"
    if head.rolled_back:
        return (
            f"set aside {since}: it did not predict your reactions better than what most people like, so that"
            " ranks for you until it does."
        )
    return f"in use, from {head.n_labels} labels, last trained {since}."


def signs(one: ReplySummary) -> str:
    """The feedback on a reply, as Discord shows it."""
    rating = [f"{one.rating} of 5"] if one.rating else []
    return " ".join([*map(emoji_of, one.reactions), *rating])


def excerpt(one: ReplySummary, longest: int) -> str:
    """The beginning of a reply, in one line."""
    text = " ".join((one.text or "a reply whose text is no longer kept").split())
    return cut(text, longest)


def cut(text: str, longest: int) -> str:
    """The beginning of a text."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def emoji_of(key: str) -> str:
    """Write a stored emoji so that Discord shows it; custom ones are stored by id alone."""
    return f"<:emoji{key}>" if key.startswith(":") else key
