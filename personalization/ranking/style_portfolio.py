"""Shares of the style prompts in a reply's k candidates, by the taste of the member.

Per server and style, the portfolio keeps the mean features of recent replies written in that style. The score
that a member's head gives to this mean predicts how much the member likes the style. Every style keeps a
minimum share, so that taste can change and the ranker has candidates to choose from. The shares are the base
of :mod:`personalization.ranking.dealing`. The means are of the bot's own replies. They are held in memory
only, and are cleared whenever any member leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from cachetools import LRUCache

from personalization.arrays import DoubleArray, FloatArray
from personalization.heads.heads import Head

FLOOR = 0.25
"""Share of the candidates that is allocated evenly, independent of taste."""
WISHED = 0.5
"""Share of the candidates that is reserved for styles that fit the member's wish."""
LEAST_SEEN = 3
"""Minimum number of replies in every style before the means are used."""
MOST_SERVERS = 1000
"""Servers whose means are cached; the least recently used one is evicted."""
MEMORY = 200
"""Window of a mean in replies. Older replies fade, because models and personas change."""


@dataclass(frozen=True, eq=False, slots=True)
class _Sound:
    """Mean features of the replies in a style, ``d`` float32; ``seen`` replies, at most :data:`MEMORY`."""

    mean: FloatArray
    seen: int


class StylePortfolio:
    """Gives each style its share of the candidates of a reply.

    Args:
        names: Names of the styles.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._servers: LRUCache[int, dict[str, _Sound]] = LRUCache(MOST_SERVERS)

    def use_names(self, names: Sequence[str]) -> None:
        """Replace the styles and clear all means."""
        self._names = tuple(names)
        self.clear()

    def observe(self, name: str, features: FloatArray, server: int = 0) -> None:
        """Update the mean of a style in a server with the features of one reply, ``d`` float32."""
        if name not in self._names:
            return
        sounds = self._servers.setdefault(server, {})
        known = sounds.get(name)
        if known is None or known.mean.shape != features.shape:
            sounds[name] = _Sound(features.astype(np.float32), 1)
        else:
            seen = min(known.seen + 1, MEMORY)
            sounds[name] = _Sound((known.mean + (features - known.mean) / seen).astype(np.float32), seen)

    def clear(self) -> None:
        """Clear all means."""
        self._servers.clear()

    def base(self, head: Head, server: int = 0, *, wished: Sequence[str] = ()) -> dict[str, float]:
        """Return the share of each style; they sum to 1.

        The ``wished`` styles receive :data:`WISHED` of the candidates, in proportion to their shares, in
        addition to their part of the remainder. So a wish changes the candidates, but not what is learnt.
        """
        shares = self._with_wishes(self.shares(head, server), wished)
        return dict(zip(self._names, shares.tolist(), strict=True))

    def shares(self, head: Head, server: int = 0) -> DoubleArray:
        """Compute each style's share of the candidates, in the order of the names; sums to 1.

        Shares are even until every style has :data:`LEAST_SEEN` replies. After that they are a softmax of the
        head's scores of the means, in logits, above an even floor of :data:`FLOOR`.
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

    def _with_wishes(self, shares: DoubleArray, wished: Sequence[str]) -> DoubleArray:
        """Move a part of the shares to the wished styles; unknown names have no effect."""
        fits = np.array([name in wished for name in self._names])
        if not fits.any():
            return shares
        theirs = np.where(fits, shares, 0)
        return (1 - WISHED) * shares + WISHED * theirs / theirs.sum()
