"""Says in sentences what changed between two looks, and draws a look as plain data for the page.

Pure functions. The texts are in English, like everything that only the host reads; names of style features
are those that members see.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import emoji

from bot.app.glass_box.looking import Look, Opinion, ShownReply, TasteNow
from bot.ui.taste_text import PHRASES, phrase
from personalization.encoding.features import STYLE_FEATURES
from personalization.rounds.round_results import RoundReport
from storage.records import ANOTHER, Consent, Who
from storage.wording import counted

MOST_BARS = 6
"""Style features shown of a taste, the strongest first."""
FIRST = ("length_chars", "questions", "emoji", "exclamations", "list_items", "humour")
"""Style features that are shown while nothing is learnt."""
HALF = 0.05
"""Difference of a weight at which a bar is half as long as it can be, logits. One thumb moves a weight by
about 0.01, a dozen thumbs that agree by about 0.15."""
LEAST = 0.0005
"""Smallest change of a weight that is told, logits."""
MOST_CHARS, MOST_ASKED = 600, 160
"""Characters shown of a candidate and of a message."""


@dataclass(frozen=True, slots=True)
class Note:
    """One line of what happened.

    Attributes:
        at: When, aware UTC.
        kind: ``reply``, ``label``, ``round``, ``taste`` or ``consent``.
        text: What happened, as a sentence.
        who: The member it is about; None: no single member.
    """

    at: datetime
    kind: str
    text: str
    who: Who | None = None


# --- sentences -------------------------------------------------------------------------------------------


def reply_note(reply: ShownReply, name: str) -> Note:
    """Tell that a reply was posted."""
    seen = reply.impression
    written = counted(len(seen.candidates), "candidate")
    chance = percent(seen.propensities[seen.chosen])
    text = f"{name} asked. Of {written}, the {seen.styles[seen.chosen]} one was posted (chance {chance})."
    return Note(reply.at, "reply", text, reply.who)


def round_note(report: RoundReport, at: datetime) -> Note:
    """Tell what a training round learnt from."""
    labels, members = counted(report.n_labels, "label"), counted(report.n_members, "member")
    text = f"Round {report.version} learnt from {labels} of {members} in {report.seconds:.1f} s."
    return Note(at, "round", text)


def changes(old: Look, new: Look, names: Mapping[Who, str], at: datetime) -> Iterator[Note]:
    """Yield who agreed to learning and which labels changed. A member who leaves has no panels."""
    for who, taste in new.tastes.items():
        if taste.consent is Consent.AGREED and old.tastes[who].consent is not Consent.AGREED:
            yield Note(at, "consent", f"{names[who]} agreed to learning. Reactions count from now on.", who)
    for reply in new.replies:
        before, now = old.opinions.get(reply.number, Opinion()), new.opinions[reply.number]
        if before.label != now.label and reply.who in names:
            yield Note(at, "label", _label_text(names[reply.who], reply, now), reply.who)


def taste_changes(old: Look, new: Look, names: Mapping[Who, str], at: datetime) -> Iterator[Note]:
    """Yield how the taste of members changed, and what that does to the latest reply to each of them."""
    for who, taste in new.tastes.items():
        if taste.version != old.tastes[who].version:
            text = _taste_text(names[who], old.tastes[who], taste) + _chance_text(new, who)
            yield Note(at, "taste", text, who)


def _label_text(name: str, reply: ShownReply, opinion: Opinion) -> str:
    about = f"the {reply.impression.styles[reply.impression.chosen]} reply"
    if opinion.label is None:
        return f"{name} took the feedback on {about} back."
    value = opinion.label.value
    meaning = "a like" if value > 0.5 else "a dislike" if value < 0.5 else "neither like nor dislike"
    given = " and ".join(_given(opinion))
    return f"{name} gave {given} to {about}: {meaning} (label {value:.2f}). The next round learns from it."


def _given(opinion: Opinion) -> list[str]:
    rated = [] if opinion.rating is None else [f"{opinion.rating} of 5"]
    return [*map(in_words, opinion.reactions), *rated]


def in_words(reaction: str) -> str:
    """Return a reaction in words, because a browser without an emoji font shows a box for the sign."""
    if reaction.startswith(":"):
        return "an emoji of the server"
    return " ".join(emoji.demojize(reaction, delimiters=(" ", " ")).replace("_", " ").split())


def _taste_text(name: str, old: TasteNow, new: TasteNow) -> str:
    if not new.differences:
        return f"{name} is ranked like everyone else again."
    before, now = amounts(old), amounts(new)
    on_the_page = [*strongest(now), *strongest(before)]
    most = max(on_the_page, key=lambda key: abs(now[key] - before[key]))
    if abs(now[most] - before[most]) < LEAST:
        return f"{name}'s taste stayed as it was."
    if abs(now[most]) < abs(before[most]):
        return f"{name}'s taste moved away from “{phrase(most, before[most])}”."
    return f"{name}'s taste moved toward “{phrase(most, now[most])}”."


def _chance_text(look: Look, who: Who) -> str:
    """Return which candidate of the member's latest reply gained or lost most since it was posted."""
    own = [reply for reply in look.replies if reply.who == who]
    if not own:
        return ""
    latest = own[-1]
    before, now = latest.impression.propensities, look.rankings[latest.number, who].propensities
    i = max(range(len(now)), key=lambda i: abs(now[i] - before[i]))
    if percent(before[i]) == percent(now[i]):
        return ""
    style, went = latest.impression.styles[i], "rose" if now[i] > before[i] else "fell"
    return (
        f" With the same candidates again, the chance of the {style} one {went} from"
        f" {percent(before[i])} to {percent(now[i])}."
    )


def percent(chance: float) -> str:
    """Return a chance in whole percent, with a narrow space that no line breaks at."""
    return f"{round(100 * chance)}\u202f%"


# --- plain data ------------------------------------------------------------------------------------------


def amounts(taste: TasteNow) -> dict[str, float]:
    """Return the difference from the average taste by style feature; features with equal names are added."""
    found: dict[str, float] = {}
    called: dict[tuple[str, str], str] = {}
    for name, amount in zip(STYLE_FEATURES, taste.differences or (0.0,) * len(STYLE_FEATURES), strict=True):
        key = called.setdefault(PHRASES[name], name)
        found[key] = found.get(key, 0.0) + amount
    return found


def bars_of(taste: TasteNow, before: TasteNow) -> list[dict[str, Any]]:
    """Return the strongest differences as bars, with their earlier position.

    A position is -1 (much less of it) to 1 (much more of it).
    """
    now, earlier = amounts(taste), amounts(before)
    return [
        {
            "key": key,
            "less": phrase(key, -1),
            "more": phrase(key, 1),
            "at": position(now[key]),
            "before": position(earlier[key]),
        }
        for key in strongest(now)
    ]


def strongest(found: Mapping[str, float]) -> list[str]:
    """Return the style features with the largest differences, the largest first."""
    usual = [*FIRST, *(key for key in found if key not in FIRST)]
    return sorted(usual, key=lambda key: -round(abs(found[key]), 3))[:MOST_BARS]


def position(amount: float) -> float:
    """Return where a bar ends, -1 to 1: half of its length at :data:`HALF`, and never beyond its length."""
    return round(amount / (abs(amount) + HALF), 3)


def reply_of(reply: ShownReply, look: Look, viewers: Sequence[Who], name: str) -> dict[str, Any]:
    """Return a reply with its candidates, and their scores and chances for every viewer now."""
    seen, opinion = reply.impression, look.opinions[reply.number]
    return {
        "number": reply.number,
        "asker": name,
        "viewer": viewers.index(reply.who) if reply.who in viewers else None,
        "asked": clipped(reply.message, MOST_ASKED),
        "at": reply.at.isoformat(),
        "again": seen.policy.startswith(ANOTHER),
        "feedback": _given(opinion),
        "label": None if opinion.label is None else round(opinion.label.value, 2),
        "candidates": [
            {
                "style": style,
                "text": clipped(text, MOST_CHARS),
                "length": len(text),
                "score": round(seen.scores[i], 2),
                "chance": round(seen.propensities[i], 3),
                "posted": i == seen.chosen,
            }
            for i, (style, text) in enumerate(zip(seen.styles, seen.candidates, strict=True))
        ],
        "now": [_ranked_now(look, reply, who) for who in viewers],
    }


def _ranked_now(look: Look, reply: ShownReply, who: Who) -> dict[str, Any]:
    ranking = look.rankings[reply.number, who]
    return {
        "scores": [round(one, 2) for one in ranking.scores],
        "chances": [round(one, 3) for one in ranking.propensities],
    }


def clipped(text: str, most: int) -> str:
    """Return a text, or its beginning and an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"


def numbered(notes: Iterable[Note]) -> list[dict[str, object]]:
    """Return the data of notes, the latest first; equal ones of one moment have keys of their own."""
    n_equal: Counter[tuple[str, str]] = Counter()
    found: list[dict[str, object]] = []
    for note in notes:
        at = note.at.isoformat()
        n_equal[at, note.text] += 1
        key = f"{at} {n_equal[at, note.text]} {note.text}"
        found.append({"key": key, "at": at, "kind": note.kind, "text": note.text})
    return found[::-1]
