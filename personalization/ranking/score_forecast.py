"""Forecast of the scores of candidates that have not arrived, for the early stop.

A score is the sum of the mean of its style, the effects of what else the candidate was dealt (its writer, its
learnt wish, examples), an effect of the message, and a rest. The candidates of recent replies of the server
tell the means and effects under the member's head. Candidates of other members count, too: a style and a
learnt wish have the same instruction for each member.

* **Means and effects** are fitted together, by least squares with the prior :data:`EFFECT` for each effect.
  The forecast of an offer that was hardly seen is as wide as the prior. So it is waited for, unless the best
  candidate is far ahead.
* **Examples** are a member's own. Those of others are fitted apart, because this member has to like what
  resembles their own examples better.
* **Message.** The candidates that have arrived tell its effect, and more about the effects of offers.

Called by :mod:`personalization.ranking.early_stop`.

Source: Jones, Schonlau, Welch (1998), Efficient global optimization of expensive black-box functions, for the
expected improvement; Searle, Casella, McCulloch (1992), Variance components, for the effect of the message.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from cachetools import LRUCache

from personalization.arrays import DoubleArray, FloatArray
from personalization.heads.heads import Head
from storage.records import MemberId, Seat

LEAST_SEEN = 8
"""Fewest recent candidates of a style from which its scores are forecast."""
EFFECT = 1.0
"""Standard deviation of the effect of a writer, a wish or examples before any is seen, logits."""
MEMORY = 40
"""Recent replies of a server whose candidates are kept."""
MOST_SERVERS = 100
"""Servers whose candidates are kept, about 130 KB each; the least recently used one is evicted."""

Part = tuple[str, str]
"""What has an effect of its own: its kind and its name."""


def _parts_of(seat: Seat, *, own: bool = True) -> list[Part]:
    """Return what has an effect on the score of a candidate, its style first."""
    parts = [("style", seat.style), ("writer", seat.writer), ("wish", seat.wish)]
    if seat.examples:
        parts.append(("examples", "own" if own else "others"))
    return [part for part in parts if part[1] or part[0] == "style"]


@dataclass(frozen=True, eq=False, slots=True)
class _Set:
    """The candidates of one reply: seats (k), features ``k x d`` float16, relevance ``k``; and the member."""

    seats: tuple[Seat, ...]
    features: np.ndarray[tuple[int, ...], np.dtype[np.float16]]
    relevance: FloatArray
    member_id: MemberId | None


@dataclass(frozen=True, eq=False, slots=True)
class Forecast:
    """How the candidates of a server score under one head.

    Attributes:
        counts: Number of candidates of each style.
        effects: Mean of each style and effect of each other part (p), logits.
        unsure: Covariance of the errors of ``effects`` that the other parts cause, ``p x p``.
        within: Variance of scores around the sum of their effects.
        between: Variance of the effects of messages.
    """

    counts: Mapping[str, int]
    effects: Mapping[Part, float]
    unsure: DoubleArray
    within: float
    between: float

    def gain(self, seats: Sequence[Seat], scores: Sequence[float], outstanding: Sequence[Seat]) -> float:
        """Return an upper bound on the expected gain of waiting, logits; infinite if a style is unknown.

        Args:
            seats: What the candidates that have arrived were dealt (k > 0).
            scores: Their scores (k), logits.
            outstanding: What the others were dealt.
        """
        if any(self.counts.get(seat.style, 0) < LEAST_SEEN for seat in outstanding):
            return math.inf
        known = [i for i, seat in enumerate(seats) if seat.style in self.counts]
        n, every = len(known), [*(seats[i] for i in known), *outstanding]
        means, cov = self._scores_of(every)
        rests = np.array([scores[i] for i in known], np.float64) - means[:n]
        weights = np.linalg.pinv(cov[:n, :n], hermitian=True) @ cov[:n, n:]  # (n, outstanding)
        means = means[n:] + rests @ weights
        variances = cov[n:, n:].diagonal() - (weights * cov[:n, n:]).sum(axis=0)
        best = max(scores)
        return sum(
            _improvement(mean - best, math.sqrt(max(0.0, variance) + self.within / self.counts[seat.style]))
            for seat, mean, variance in zip(outstanding, means.tolist(), variances.tolist(), strict=True)
        )

    def _scores_of(self, seats: Sequence[Seat]) -> tuple[DoubleArray, DoubleArray]:
        """Return the means (n) and the covariance ``n x n`` of the scores of a reply's candidates."""
        of = [_parts_of(seat) for seat in seats]
        new = dict.fromkeys(part for parts in of for part in parts if part not in self.effects)
        places = {part: place for place, part in enumerate([*self.effects, *new])}
        effects = np.array([*self.effects.values(), *(0.0 for _ in new)])
        x = np.zeros((len(seats), len(places)))
        for row, parts in enumerate(of):
            x[row, [places[part] for part in parts]] = 1
        unsure = EFFECT**2 * np.eye(len(places))
        unsure[: len(self.unsure), : len(self.unsure)] = self.unsure
        cov = x @ unsure @ x.T + self.between + self.within * np.eye(len(seats))
        return x @ effects, cov


class RecentCandidates:
    """Features of the candidates of recent replies, by server, in memory only.

    They are of the bot's own texts, with the pseudonym of the member who was answered. They are cleared
    whenever a member leaves who may have asked for them.
    """

    def __init__(self) -> None:
        self._servers: LRUCache[int, deque[_Set]] = LRUCache(MOST_SERVERS)

    def observe(
        self,
        seats: Sequence[Seat],
        features: FloatArray,
        relevance: FloatArray,
        server: int = 0,
        member_id: MemberId | None = None,
    ) -> None:
        """Add the candidates of one reply for which all were awaited.

        Args:
            seats: What each candidate was dealt (k).
            features: ``k x d`` float32.
            relevance: Cosine of message and candidate (k).
            server: Discord id of the server.
            member_id: The member who was answered.
        """
        kept = _Set(tuple(seats), features.astype(np.float16), relevance, member_id)
        self._servers.setdefault(server, deque(maxlen=MEMORY)).append(kept)

    def clear(self) -> None:
        """Drop all candidates."""
        self._servers.clear()

    def forecast(
        self,
        head: Head,
        server: int = 0,
        *,
        member_id: MemberId | None = None,
        relevance_weight: float = 1.0,
    ) -> Forecast | None:
        """Describe how candidates of a server score under a head; None before there are enough.

        Args:
            head: The head of the member.
            server: Discord id of the server.
            member_id: The member, whose examples differ from those of others.
            relevance_weight: Weight of the relevance in the score.
        """
        sets = self._servers.get(server, ())
        if len(sets) < LEAST_SEEN:
            return None
        features = np.concatenate([one.features for one in sets]).astype(np.float32)  # (n, d)
        relevance = np.concatenate([one.relevance for one in sets])
        scores = (head.score(features) + relevance_weight * relevance).astype(np.float64)  # (n,)
        parts = [_parts_of(seat, own=one.member_id == member_id) for one in sets for seat in one.seats]
        reply = np.repeat(np.arange(len(sets)), [len(one.seats) for one in sets])
        return _fitted(scores, parts, reply)


def _fitted(scores: DoubleArray, parts: Sequence[Sequence[Part]], reply: np.ndarray) -> Forecast:
    """Fit the means of styles and the effects of other parts to scores (n), by ridge regression."""
    counts = Counter(own[0] for own in parts)
    others = {part for own in parts for part in own[1:]}
    places = {part: place for place, part in enumerate([*sorted(counts), *sorted(others)])}
    x = np.zeros((len(scores), len(places)))
    for row, own in enumerate(parts):
        x[row, [places[part] for part in own]] = 1
    styles, n_styles = x[:, : len(counts)], len(counts)
    of_style = styles.sum(axis=0)  # (styles,)
    apart = scores - styles @ (styles.T @ scores / of_style)
    variance = float(apart @ apart) / max(1, len(scores) - n_styles)
    ridge = np.zeros(len(places))
    ridge[n_styles:] = max(variance, 1e-9) / EFFECT**2
    cross = x.T @ x
    inverse = np.linalg.inv(cross + np.diag(ridge))  # (p, p)
    effects = inverse @ (x.T @ scores)
    within, between = _variances(scores - x @ effects, reply, n_effects=float((inverse * cross).sum()))
    unsure = (variance * inverse).astype(np.float64)
    unsure[:n_styles, :n_styles] -= variance * np.diag(1 / of_style)  # gain() adds that of the style
    return Forecast(
        counts={name: n for (_, name), n in counts.items()},
        effects=dict(zip(places, effects.tolist(), strict=True)),
        unsure=unsure,
        within=within,
        between=between,
    )


def _improvement(above: float, deviation: float) -> float:
    """Return the mean of the positive part of a normal distribution with this mean and deviation."""
    if deviation == 0:
        return max(0.0, above)
    z = above / deviation
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return above * (1 + math.erf(z / math.sqrt(2))) / 2 + deviation * density


def _variances(rests: DoubleArray, reply: np.ndarray, *, n_effects: float) -> tuple[float, float]:
    """Estimate the variances within and between replies by the method of moments.

    Args:
        rests: Scores without the fitted effects, ``n``.
        reply: Index of the reply of each, ``n``.
        n_effects: Number of effects that were fitted; a shrunken one counts in part.
    """
    sizes = np.bincount(reply)
    means = np.bincount(reply, rests) / sizes
    n, n_replies = len(rests), len(sizes)
    within = float(((rests - means[reply]) ** 2).sum()) / max(1.0, n - n_replies - n_effects + 1)
    spread = float((sizes * means**2).sum()) / max(1, n_replies - 1)
    typical = (n - float((sizes**2).sum()) / n) / max(1, n_replies - 1)
    return within, max(0.0, (spread - within) / max(typical, 1e-9))
