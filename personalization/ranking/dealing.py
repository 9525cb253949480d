"""Deals the ``k`` candidates of a reply: a style, a writer, a learnt wish and examples for each of them.

Each part is dealt by the shares of :mod:`personalization.ranking.arms`, by systematic sampling: an option
gets the integer part of its share of ``k``, and its expected number of candidates is exactly its share. The
places of wishes, examples and writers are shuffled, so a candidate has each of them with exactly its share,
whatever its style. The shares go with the candidate, for the report. Never more than ``k`` are dealt.

Called by ``bot.replies`` before generation.

Source: Madow (1949), On the theory of systematic sampling, II.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from personalization.ranking.arms import Level, shares
from storage.records import Seat

STYLE, WRITER, WISH, EXAMPLES = PARTS = "style", "writer", "wish", "examples"
"""Parts of a seat, in the order of :attr:`storage.records.Seat.shares`."""
PLAIN = ""
"""No learnt wish; without examples."""
SHOWN = "shown"
"""With examples."""

Counts = Mapping[str, Level]
"""Part -> its labels at one level."""


@dataclass(frozen=True, slots=True)
class Writer:
    """A language model that may write a candidate.

    Attributes:
        name: Its name in the configuration.
        weight: Its share without any label, relative to the other writers, > 0.
        styles: Names of the styles that it writes; empty: all.
    """

    name: str
    weight: float = 1.0
    styles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Menu:
    """What may be dealt to one member.

    Attributes:
        styles: Name of a style -> its base share.
        writers: The writers that answer at present, the plain one first; empty: one without a name.
        wishes: Name of a learnt wish -> its base share. What they leave of 1 is plain.
        examples: Base share of candidates with examples; 0: there are none.
    """

    styles: Mapping[str, float]
    writers: Sequence[Writer] = ()
    wishes: Mapping[str, float] = field(default_factory=dict[str, float])
    examples: float = 0.0


def deal(k: int, menu: Menu, levels: Sequence[Counts], rng: np.random.Generator) -> list[Seat]:
    """Deal ``k`` candidates, those of the largest shares first.

    Args:
        k: Candidates of the reply, > 0.
        menu: What may be dealt.
        levels: Labels by part, the widest level first; the last level is the member.
        rng: Random generator.
    """

    def dealt(part: str, base: Mapping[str, float], n: int, plain: str | None = None) -> _Dealt:
        share = shares(base, [level.get(part, {}) for level in levels], plain=plain)
        return _Dealt(share, [list(base)[place] for place in systematic(list(share.values()), n, rng)])

    styles = dealt(STYLE, menu.styles, k)
    styles.options.sort(key=lambda style: -styles.share[style])
    wished = {PLAIN: max(0.0, 1 - sum(menu.wishes.values())), **menu.wishes}
    wishes = dealt(WISH, wished, k, PLAIN).shuffled(rng)
    shown = {PLAIN: 1 - menu.examples, **({SHOWN: menu.examples} if menu.examples else {})}
    examples = dealt(EXAMPLES, shown, k, PLAIN).shuffled(rng)
    writers: list[tuple[str, float]] = [("", 1.0)] * k
    for able in {_able(menu.writers, style) for style in styles.options}:
        places = [place for place, style in enumerate(styles.options) if _able(menu.writers, style) == able]
        if able:
            found = dealt(WRITER, {one.name: one.weight for one in able}, len(places), able[0].name)
            for place, writer in zip(places, found.shuffled(rng).options, strict=True):
                writers[place] = writer, found.share[writer]
    return [
        Seat(
            place,
            style=style,
            writer=writer,
            wish=wish,
            examples=example == SHOWN,
            shares=(styles.share[style], writing, wishes.share[wish], examples.share[example]),
        )
        for place, (style, (writer, writing), wish, example) in enumerate(
            zip(styles.options, writers, wishes.options, examples.options, strict=True)
        )
    ]


def systematic(share: Sequence[float], k: int, rng: np.random.Generator) -> list[int]:
    """Draw ``k`` places with one random number; place ``i`` is drawn ``k * share[i]`` times on average."""
    edges = np.cumsum(share) * (k / sum(share))
    edges[-1] = k  # exact in spite of rounding
    marks = rng.random() + np.arange(k)
    return [int(place) for place in np.searchsorted(edges, marks, side="right")]  # (k,)


@dataclass(frozen=True, slots=True)
class _Dealt:
    share: dict[str, float]
    options: list[str]

    def shuffled(self, rng: np.random.Generator) -> _Dealt:
        return _Dealt(self.share, [self.options[place] for place in rng.permutation(len(self.options))])


def _able(writers: Sequence[Writer], style: str) -> tuple[Writer, ...]:
    """Return the writers that write in a style; all of them if none does."""
    return tuple(one for one in writers if not one.styles or style in one.styles) or tuple(writers)
