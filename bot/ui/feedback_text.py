"""Texts of the ``/feedback`` panel: recorded feedback, what was learnt from it, whether learning is paused.

Pure functions over records of the store and of the taste reader; :mod:`bot.ui.feedback_panel` shows them. No
discord import here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bot.generation import name_of_model
from bot.languages import list_of, mark, sentences_of, tr, trn
from bot.ui.taste_text import STYLES, phrase, taste_lines
from personalization.insight.taste import Taste
from personalization.ranking.dealing import EXAMPLES, PLAIN, STYLE, WISH, WRITER, Counts
from storage.records import FeedbackSummary, HeadSummary, Picked, PreferenceRow, Remark, ReplySummary

EXCERPT = 200
LONGEST = 2000
"""Longest message of Discord, characters."""
MOST_SIGNS = 3
"""Reactions that are shown of one reply; a custom emoji takes 28 characters."""
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
CHOSE_LATEST = mark("**Choices you made between two answers:** {n}. The latest: {choice}")
NO_REPLY = mark(
    "I have no reply here that you could rate. I only remember replies to members who agreed to it,"
    " from the moment they agreed. Chat with me, then try again."
)
UNDONE = mark("**Undone:** {choice}.")
EARLIER_AGAIN = mark("What you had chosen before about the same answers counts again.")
ANOTHER_ANSWER = mark("another answer that you asked for")
IN_COMPARE = mark("a choice in `/compare`")
IN_TAPS = mark("{liked} (six taps)")
NO_MATTER_IN_TAPS = mark("no matter: {less} / {more} (six taps)")
IN_THE_TAPS = mark("a choice in the six taps")
_FEATURE_OF: Mapping[str, str] = {
    "length": "length_chars",
    "lively": "emoji",
    "asks": "ends_with_question",
    "oneself": "first_person",
    "words": "word_length",
    "details": "list_items",
}
"""Axis of the six taps -> the style feature that names its ends."""
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
    shown: ReplySummary | None,
    summary: FeedbackSummary,
    taste: Taste,
    remark: Remark | None,
    *,
    latest: PreferenceRow | None = None,
) -> list[str]:
    """Return the fixed lines of the panel.

    Args:
        shown: The reply that the panel is about; None if there is none.
        summary: What was recorded.
        taste: What was learnt.
        remark: The member's remark about the reply.
        latest: The member's latest choice, which is undone next.
    """
    lines = [tr(PAUSED) + "\n"] if summary.paused else []
    lines += [tr(NO_REPLY)] if shown is None else _about(shown, remark)
    lines.append("")
    if taste.n_labels or not summary.n_preferences:
        lines.append(_recorded(summary, taste))
    if summary.n_preferences:
        lines.append(_chose(summary.n_preferences, latest))
    lines.append(_in_use(summary.head))
    lines.append(tr("**What you seem to like:**"))
    return lines + taste_lines(taste)


def _about(shown: ReplySummary, remark: Remark | None) -> list[str]:
    """Return the lines about one reply."""
    lines: list[str] = []
    if shown.text is not None:
        lines.append(f"> {excerpt(shown, EXCERPT)}\n")
    if shown.reactions:
        lines.append(tr("Your reactions: {reactions}", reactions=_few(shown.reactions)))
    else:
        lines.append(tr("Your reactions: none"))
    if shown.rating:
        lines.append(tr("Your rating: {rating} of 5", rating=shown.rating))
    else:
        lines.append(tr("Your rating: none yet"))
    if remark is not None:
        lines.append(_remarked(remark))
    return lines


def undone_line(choice: PreferenceRow) -> str:
    """Say which choice was undone, and whether an earlier one counts again."""
    said = tr(UNDONE, choice=choice_called(choice))
    return said if choice.earlier is None else sentences_of(said, tr(EARLIER_AGAIN))


def choice_called(choice: PreferenceRow) -> str:
    """Return the text for a choice between two answers."""
    if choice.replies is not None:
        return tr(ANOTHER_ANSWER)
    if choice.tap is None:
        return tr(IN_COMPARE)
    feature = _FEATURE_OF.get(choice.tap.partition("-")[0])
    if feature is None:
        return tr(IN_THE_TAPS)
    less, more = phrase(feature, -1), phrase(feature, 1)
    if choice.picked is Picked.EQUAL:
        return tr(NO_MATTER_IN_TAPS, less=less, more=more)
    return tr(IN_TAPS, liked=less if choice.picked is Picked.FIRST else more)


def _chose(n: int, latest: PreferenceRow | None) -> str:
    return tr(CHOSE, n=n) if latest is None else tr(CHOSE_LATEST, n=n, choice=choice_called(latest))


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
    return " ".join([*([_few(one.reactions)] if one.reactions else []), *rating])


def _few(reactions: Sequence[str]) -> str:
    """Return the first reactions on a reply as Discord shows them."""
    return " ".join([*map(emoji_of, reactions[:MOST_SIGNS]), *(["…"] if reactions[MOST_SIGNS:] else [])])


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
