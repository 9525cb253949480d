"""Texts about what was learnt: style features, reasons and evidence as short sentences.

Pure functions over the numbers of :mod:`personalization.ranking.explain` and
:mod:`personalization.insight.taste`; the cogs join the sentences. No discord import here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bot.languages import list_of, mark, sentences_of, tr, trn
from bot.replies.offers import EXAMPLES, Offers, allowed, names_of, offered_in, plain_style_of
from personalization.encoding.features import STYLE_FEATURES
from personalization.encoding.style_axes import MEANING_OF
from personalization.insight.taste import Leaning, Taste
from personalization.ranking.explain import OTHER, RELEVANCE, WORDING, Evidence
from storage.members.wishes import Wish
from storage.records import FAQ_STYLE, ReplyReason

PHRASES: Mapping[str, tuple[str, str]] = {
    "length_chars": (mark("a long answer"), mark("a short answer")),
    "length_words": (mark("a long answer"), mark("a short answer")),
    "sentences": (mark("many sentences"), mark("few sentences")),
    "sentence_words": (mark("long sentences"), mark("short sentences")),
    "word_length": (mark("long words"), mark("simple words")),
    "different_words": (mark("varied words"), mark("repeated words")),
    "lines": (mark("several lines"), mark("few lines")),
    "emoji": (mark("emoji"), mark("few or no emoji")),
    "questions": (mark("questions"), mark("few or no questions")),
    "ends_with_question": (mark("a question at the end"), mark("no question at the end")),
    "exclamations": (mark("exclamation marks"), mark("a calm tone")),
    "ellipses": (mark("trailing dots …"), mark("no trailing dots")),
    "commas": (mark("sentences with many parts"), mark("plain sentences")),
    "list_items": (mark("a list"), mark("no list")),
    "code": (mark("code"), mark("no code")),
    "markdown": (mark("bold and other formatting"), mark("plain text")),
    "links": (mark("links"), mark("no links")),
    "digits": (mark("numbers"), mark("few numbers")),
    "upper_case": (mark("capital letters"), mark("few capital letters")),
    "first_person": (mark("talk about myself"), mark("little talk about myself")),
    "second_person": (mark("talk about you"), mark("little talk about you")),
    "hedges": (mark("careful words such as maybe"), mark("straight answers")),
    "greeting": (mark("a greeting"), mark("no greeting")),
    "courtesy": (mark("polite words"), mark("few polite words")),
    "positive_tone": (mark("a cheerful tone"), mark("a matter-of-fact tone")),
    "negative_tone": (mark("difficult or sad topics"), mark("few difficult or sad topics")),
    "humour": (mark("humour"), mark("no jokes")),
    RELEVANCE: (mark("a close fit to your message"), mark("a loose fit to your message")),
    WORDING: (mark("what it says"), mark("what it says")),
}
"""Style feature -> names for more of it and for less of it."""

STYLES: Mapping[str, str] = {
    "concise": mark("concise"),
    "detailed": mark("detailed"),
    "playful": mark("playful"),
    "warm": mark("warm"),
}
"""Name of a default style -> its text; a style that the host added keeps the host's name."""

WITH_PROOF = mark("{called} ({shown})")
BECAUSE = mark("{called}, {shown}")

SURE_OF = mark("• I am {percent} % sure that you like this: {liked}")
TRIES = mark("**I now try this in some of my answers to you:** {wishes}. The menu below switches it off.")
SWITCHED_OFF = mark("**You switched off:** {wishes}")
NOTHING_CERTAIN = mark(
    "Nothing certain yet: my picture of your taste is still close to what most people like."
)
CHOICES_COUNT = mark(
    "Your choices count, but nothing is certain yet: my picture of your taste is still close to what most"
    " people like."
)
LIKE_THOSE = mark("the manner of answers that you liked")

LEAST = 0.05
"""Smallest part of a score that is mentioned, logits."""
EXPERIMENT = 0.25
"""Propensity below which a reply is called an experiment."""
SURE, UNSURE = 0.5, 1.0
"""Standard deviations of a score, logits, up to which the model is called sure, and from which unsure."""


def phrase(name: str, direction: float) -> str:
    """Return the name for more (positive direction) or less of a feature."""
    more, less = PHRASES[name]
    return tr(more if direction > 0 else less)


def proof(evidence: Evidence, direction: float, *, liked: bool) -> str:
    """Return the counts that support a claim, such as ``you liked 8 of 10 such replies``.

    A claim that the member likes such replies is supported by a majority of likes among them, or by a
    minority among the others. A claim that the member dislikes them is supported the other way round.
    Counts on fewer than two replies, and counts that do not support the claim, are left out.

    Args:
        evidence: Counts of the member's labels for one style feature.
        direction: Positive if the claim is about replies with more of the feature, negative with less.
        liked: Whether the claim is that the member likes such replies.
    """
    such = (evidence.liked_with, evidence.n_with)
    others = (evidence.liked_without, evidence.n_without)
    if direction < 0:
        such, others = others, such
    share, share_of_others = (n_liked / n if n else None for n_liked, n in (such, others))
    if share is not None and share_of_others is not None and (share > share_of_others) is not liked:
        return ""
    if such[1] >= 2 and share is not None and _is_most(share, liked=liked):
        return _of_such(*such)
    if others[1] >= 2 and share_of_others is not None and _is_most(share_of_others, liked=not liked):
        return _of_others(*others)
    return ""


def _is_most(share: float, *, liked: bool) -> bool:
    return share > 0.5 if liked else share < 0.5


def _of_such(n_liked: int, n: int) -> str:
    if not n_liked:
        return trn("you liked none of {n} such reply", "you liked none of {n} such replies", n)
    return trn(
        "you liked {liked} of {n} such reply", "you liked {liked} of {n} such replies", n, liked=n_liked
    )


def _of_others(n_liked: int, n: int) -> str:
    if not n_liked:
        return trn("you liked none of {n} other reply", "you liked none of {n} other replies", n)
    return trn(
        "you liked {liked} of {n} other reply", "you liked {liked} of {n} other replies", n, liked=n_liked
    )


def reason_lines(told: ReplyReason, evidence: Mapping[str, Evidence], *, most: int = 3) -> list[str]:
    """Explain why a reply was chosen, line by line.

    Args:
        told: The stored reason.
        evidence: Counts of the member's labels by style feature; features may be missing.
        most: Maximum number of points in favour, and of points against.
    """
    lines = [_opening(told)]
    if told.reason is None:
        return [*lines, tr("I could not compare my answers at that moment, so I posted the first one.")]
    good, bad = _points(told.reason.parts, evidence)
    if good:
        lines += [tr("**What spoke for it:**"), *(f"• {point}" for point in good[:most])]
    if bad:
        lines += [tr("**What spoke against it:**"), *(f"• {point}" for point in bad[:most])]
    if told.reason.parts and not good and not bad:  # without parts they are not stored (any more)
        lines.append(tr("They were about equally good, as far as I can tell."))
    lines.append(_footing(told.reason.n_labels, told.reason.uncertainty))
    if told.n_candidates > 1 and told.propensity < EXPERIMENT:
        lines.append(
            tr(
                "This was also a small experiment. I pick such a reply {percent} % of the time, to"
                " learn what you think of it.",
                percent=round(told.propensity * 100),
            )
        )
    return lines


def offer_called(name: str) -> str:
    """Return the text for a learnt wish or for examples, by its name; the name itself if it is not known."""
    if name == EXAMPLES:
        return tr(LIKE_THOSE)
    return phrase(*MEANING_OF[name]) if name in MEANING_OF else name


def offer_lines(known: Offers, wish: Wish) -> list[str]:
    """Describe what is certain of a taste, what it changes in answers, and what the member switched off.

    The certainty is told of what is sure enough, whether or not it is switched off.

    Args:
        known: What taste offers.
        wish: The member's wish, and what they switched off.
    """
    lines = [
        tr(SURE_OF, percent=one.percent, liked=offer_called(one.name)) for one in known.wishes if one.is_sure
    ]
    if tried := names_of(allowed(known, wish)):
        lines.append(tr(TRIES, wishes=list_of(map(offer_called, tried))))
    if wish.unwanted:
        lines.append(tr(SWITCHED_OFF, wishes=list_of(map(offer_called, wish.unwanted))))
    return lines


def points_of(parts: Sequence[tuple[str, float, float]]) -> list[str]:
    """Return the style features of a reason that are large enough to mention, the largest first."""
    return [name for name, amount, _ in parts if name in STYLE_FEATURES and abs(amount) >= LEAST]


def taste_lines(taste: Taste) -> list[str]:
    """Describe what seems to have been learnt, line by line."""
    if not taste.leanings:
        return [tr(CHOICES_COUNT if taste.n_choices else NOTHING_CERTAIN)]
    lines = []
    for leaning in _once(taste.leanings):
        shown = proof(leaning.evidence, leaning.amount, liked=True) or chosen_of(*leaning.chosen)
        called = phrase(leaning.name, leaning.amount)
        lines.append(f"• {tr(WITH_PROOF, called=called, shown=shown) if shown else called}")
    return lines


def chosen_of(n_chosen: int, n: int) -> str:
    """Return the choices that support a leaning, such as ``you chose it in 2 of 3 choices``.

    A leaning that at most half of the choices support has no such words.
    """
    if 2 * n_chosen <= n:
        return ""
    return trn(
        "you chose it in {chosen} of {n} choice",
        "you chose it in {chosen} of {n} choices",
        n,
        chosen=n_chosen,
    )


def _once(leanings: Sequence[Leaning]) -> list[Leaning]:
    """Drop leanings whose phrase would appear twice."""
    called = {phrase(leaning.name, leaning.amount): leaning for leaning in reversed(leanings)}
    return [leaning for leaning in leanings if leaning in called.values()]


def _opening(told: ReplyReason) -> str:
    if told.style == FAQ_STYLE:
        return trn(
            "I had only this answer. The managers of this server wrote it for a question similar to yours."
            " Because the words are not mine, I do not learn your taste from reactions to it.",
            "I had {n} answers and picked this one. The managers of this server wrote it for a question"
            " similar to yours. Because the words are not mine, I do not learn your taste from reactions to"
            " it.",
            told.n_candidates,
        )
    return trn(
        "I had only one answer, in the *{style}* style.",
        "I wrote {n} different answers and picked this one, in the *{style}* style.",
        told.n_candidates,
        style=style_called(told.style),
    )


def style_called(name: str) -> str:
    """Return the name of a seat's style, with what taste added to it."""
    plain, (wish, examples) = plain_style_of(name), offered_in(name)
    added = [*([wish] if wish else []), *([EXAMPLES] if examples else [])]
    return list_of([tr(STYLES[plain]) if plain in STYLES else plain, *map(offer_called, added)])


def _points(
    parts: Sequence[tuple[str, float, float]], evidence: Mapping[str, Evidence]
) -> tuple[list[str], list[str]]:
    good: dict[str, str] = {}
    bad: dict[str, str] = {}
    for name, amount, difference in parts:
        if name == OTHER or name not in PHRASES or abs(amount) < LEAST:
            continue
        direction = amount if name == RELEVANCE else difference
        called = phrase(name, direction)
        shown = proof(evidence[name], direction, liked=amount > 0) if name in evidence else ""
        (good if amount > 0 else bad).setdefault(
            called, tr(BECAUSE, called=called, shown=shown) if shown else called
        )
    return list(good.values()), list(bad.values())


def _footing(n_labels: int, uncertainty: float) -> str:
    if not n_labels:
        return tr(
            "I do not know your taste yet, so I went by what most people like. Your reactions teach me."
        )
    rests = trn(
        "My picture of your taste is based on {n} reaction, rating or choice of yours.",
        "My picture of your taste is based on {n} of your reactions, ratings and choices.",
        n_labels,
    )
    if uncertainty < SURE:
        sure = tr("I was very sure about this reply.")
    elif uncertainty < UNSURE:
        sure = tr("I was fairly sure about this reply.")
    else:
        sure = tr("I was still unsure about this reply.")
    return sentences_of(rests, sure)
