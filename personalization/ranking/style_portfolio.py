"""Which style prompts a member's candidates come from: the same k candidates, better ones.

What a style sounds like in a server is the mean of the features of what was written in it lately; what a
member's head says of that mean is how much they would like one more. Every style keeps a share, so that taste
can change and the ranker still has rivals to choose from. Knows no texts: the means are of the bot's own
replies, live in memory, and are dropped when anybody leaves.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from personalization.arrays import DoubleArray, FloatArray
from personalization.heads.heads import Head

FLOOR = 0.25
"""Share of the seats that is dealt out evenly, whatever the taste."""
WISHED = 0.5
"""Share of the seats that goes to the styles a member wished for, before all others are dealt out."""
LEAST_SEEN = 3
"""Replies in every style before the means are trusted."""
MOST_SERVERS = 1000
"""Servers whose means are kept at once; the longest unused one goes first."""
MEMORY = 200
"""Replies a mean reaches back; older ones fade, because models and personas change."""


@dataclass(frozen=True, eq=False, slots=True)
class _Sound:
    """What a style sounds like: the mean of ``seen`` replies' features, ``d`` float32."""

    mean: FloatArray
    seen: int


class StylePortfolio:
    """Deals k seats out to styles.

    Args:
        names: The styles, by name.
        rng: Chance for the seats that do not come out even.
    """

    def __init__(self, names: Sequence[str], rng: np.random.Generator) -> None:
        self._names = tuple(names)
        self._rng = rng
        self._servers: OrderedDict[int, dict[str, _Sound]] = OrderedDict()

    def use_names(self, names: Sequence[str]) -> None:
        """Deal out to other styles; what the earlier ones sound like is let go of."""
        self._names = tuple(names)
        self.clear()

    def observe(self, name: str, features: FloatArray, server: int = 0) -> None:
        """Learn what a style sounds like in a server from one reply written in it (``d`` float32)."""
        if name not in self._names:
            return
        sounds = self._servers.setdefault(server, {})
        self._servers.move_to_end(server)
        if len(self._servers) > MOST_SERVERS:
            self._servers.popitem(last=False)
        known = sounds.get(name)
        if known is None or known.mean.shape != features.shape:
            sounds[name] = _Sound(features.astype(np.float32), 1)
        else:
            seen = min(known.seen + 1, MEMORY)
            sounds[name] = _Sound((known.mean + (features - known.mean) / seen).astype(np.float32), seen)

    def clear(self) -> None:
        """Let go of all means."""
        self._servers.clear()

    def shares(self, head: Head, server: int = 0) -> DoubleArray:
        """Give each style's share of the seats, in the order of the names; sums to 1.

        Even before every style is known. Else a soft maximum of what the head expects of
        each, in logits, above an even floor of :data:`FLOOR`.
        """
        n = len(self._names)
        even = np.full(n, 1 / n)
        sounds = self._servers.get(server, {})
        known = [
            sound.mean for name in self._names if (sound := sounds.get(name)) and sound.seen >= LEAST_SEEN
        ]
        if len(known) < n or any(len(mean) != len(head.weights) for mean in known):
            return even
        means = np.stack(known)  # (styles, d)
        liking = head.score(means).astype(np.float64)
        soft = np.exp(liking - liking.max())
        return FLOOR * even + (1 - FLOOR) * soft / soft.sum()

    def deal(self, k: int, head: Head, server: int = 0, *, wished: Sequence[str] = ()) -> list[int]:
        """Deal ``k`` seats: indices of styles, the better liked first.

        Styles that the member ``wished`` for share :data:`WISHED` of the seats, as the head likes each of
        them, and keep what they have of the others: a wish moves the candidates, the head what is learnt.

        Every style gets the whole seats of its share; one throw of the dice deals out the rest, so that each
        style's expected number of seats is exactly its share of k (systematic sampling).

        Source: Madow (1949), On the theory of systematic sampling, II.
        """
        shares = self._with_wishes(self.shares(head, server), wished)
        edges = np.cumsum(shares) * k
        edges[-1] = k  # whatever the rounding
        marks = self._rng.random() + np.arange(k)
        seats = np.searchsorted(edges, marks, side="right")  # (k,)
        order = sorted(seats.tolist(), key=lambda style: (-shares[style], style))
        return [int(style) for style in order]

    def _with_wishes(self, shares: DoubleArray, wished: Sequence[str]) -> DoubleArray:
        """Move a part of the seats to the wished styles; names that are no styles here change nothing."""
        fits = np.array([name in wished for name in self._names])
        if not fits.any():
            return shares
        theirs = np.where(fits, shares, 0)
        return (1 - WISHED) * shares + WISHED * theirs / theirs.sum()
