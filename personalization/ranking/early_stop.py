"""Early stop: a reply does not wait for further candidates once one of the first is surely good enough.

Candidates of a model server arrive one by one. After each arrival the rule compares the best candidate so far
with what is expected of the outstanding ones. It stops if waiting would raise the chance that the member
likes the reply by no more than ``[personalization] early_stop``.

* **Forecast.** Recent replies in the same server show how candidates of each style score under this member's
  head (:class:`RecentCandidates`). A score is the mean of its style, plus an effect of the message, plus a
  rest. The candidates that have arrived tell the effect of the message.
* **Gain.** The expected improvement over the best score, summed over the outstanding candidates. The sum is
  an upper bound on the expected improvement by the best of them. A logit changes a chance by at most a
  quarter, so a quarter of the sum bounds the loss.
* **Who.** Members whose own head rests on at least :data:`LEAST_LABELS` labels. All others wait.
* **Comparison.** One in :data:`1 / COMPARED` of the replies that could stop waits all the same. ``simpatico
  report`` compares both groups, which differ by chance alone.

The rule uses only candidates that have arrived. The policy then ranks exactly those, so the propensities of
the impression are exact (``docs/learning.md``). Called by ``bot.replies``.

Source: Jones, Schonlau, Welch (1998), Efficient global optimization of expensive black-box functions, for the
expected improvement; Searle, Casella, McCulloch (1992), Variance components, for the effect of the message.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from cachetools import LRUCache

from personalization.arrays import DoubleArray, FloatArray
from personalization.errors import RankingFailed
from personalization.heads.heads import Head
from personalization.ranking.ranker import Ranker
from personalization.settings import LearningSettings
from storage.records import EARLY, FALLBACK, WAITED, Impression, MemberId

LEAST_LABELS = 20
"""Fewest labels behind the head of a member whose replies stop early.

With 15, the loss came close to the bound (``python -m tests.benchmarks.bench_early``).
"""
COMPARED = 0.1
"""Share of the replies that could stop early, but wait for comparison."""
LEAST_SEEN = 8
"""Fewest recent candidates of a style from which its scores are forecast."""
MEMORY = 40
"""Recent replies of a server whose candidates are kept."""
MOST_SERVERS = 100
"""Servers whose candidates are kept, about 130 KB each; the least recently used one is evicted."""
_STEEPEST = 0.25
"""Largest change of a chance by one logit."""


class Ending(StrEnum):
    """End of the wait for candidates, where one was good enough before the last came."""

    STOPPED = "stopped"
    WAITED = "waited"
    """It waited all the same, for comparison."""


@dataclass(frozen=True, eq=False, slots=True)
class _Set:
    """The candidates of one reply: styles (k), features ``k x d`` float16, relevance ``k``."""

    styles: tuple[str, ...]
    features: np.ndarray[tuple[int, ...], np.dtype[np.float16]]
    relevance: FloatArray


@dataclass(frozen=True, slots=True)
class Forecast:
    """How the candidates of a server score under one head.

    Attributes:
        means: Mean score of each style, logits.
        counts: Number of candidates behind each mean.
        within: Variance of scores around the mean of their style and the effect of their message.
        between: Variance of the effects of messages.
    """

    means: Mapping[str, float]
    counts: Mapping[str, int]
    within: float
    between: float

    def gain(self, styles: Sequence[str], scores: Sequence[float], outstanding: Sequence[str]) -> float:
        """Return an upper bound on the expected gain of waiting, logits; infinite if a style is unknown.

        Args:
            styles: Styles of the candidates that have arrived (k > 0).
            scores: Their scores (k), logits.
            outstanding: Styles of the candidates that have not.
        """
        if any(self.counts.get(style, 0) < LEAST_SEEN for style in outstanding):
            return math.inf
        rests = [
            score - self.means[style]
            for style, score in zip(styles, scores, strict=True)
            if style in self.means
        ]
        of_message = self.within + len(rests) * self.between
        effect = self.between * sum(rests) / of_message if of_message else 0.0
        unsure = self.between * self.within / of_message if of_message else 0.0
        best = max(scores)
        return sum(
            _improvement(
                self.means[style] + effect - best,
                math.sqrt(self.within * (1 + 1 / self.counts[style]) + unsure),
            )
            for style in outstanding
        )


class RecentCandidates:
    """Features of the candidates of recent replies, by server, in memory only.

    They are of the bot's own texts, and are cleared whenever a member leaves who may have asked for them.
    """

    def __init__(self) -> None:
        self._servers: LRUCache[int, deque[_Set]] = LRUCache(MOST_SERVERS)

    def observe(
        self, styles: Sequence[str], features: FloatArray, relevance: FloatArray, server: int = 0
    ) -> None:
        """Add the candidates of one reply for which all were awaited.

        Args:
            styles: Style of each candidate (k).
            features: ``k x d`` float32.
            relevance: Cosine of message and candidate (k).
            server: Discord id of the server.
        """
        kept = _Set(tuple(styles), features.astype(np.float16), relevance)
        self._servers.setdefault(server, deque(maxlen=MEMORY)).append(kept)

    def clear(self) -> None:
        """Drop all candidates."""
        self._servers.clear()

    def forecast(self, head: Head, server: int = 0, *, relevance_weight: float = 1.0) -> Forecast | None:
        """Describe how candidates of a server score under a head; None before there are enough.

        Args:
            head: The head of the member.
            server: Discord id of the server.
            relevance_weight: Weight of the relevance in the score.
        """
        sets = self._servers.get(server, ())
        if len(sets) < LEAST_SEEN:
            return None
        features = np.concatenate([one.features for one in sets]).astype(np.float32)  # (n, d)
        relevance = np.concatenate([one.relevance for one in sets])
        scores = (head.score(features) + relevance_weight * relevance).astype(np.float64)  # (n,)
        names, style = np.unique([name for one in sets for name in one.styles], return_inverse=True)
        reply = np.repeat(np.arange(len(sets)), [len(one.styles) for one in sets])
        counts = np.bincount(style)
        means = np.bincount(style, scores) / counts
        within, between = _variances(scores - means[style], reply, n_styles=len(names))
        return Forecast(
            means={str(name): float(mean) for name, mean in zip(names, means, strict=True)},
            counts={str(name): int(n) for name, n in zip(names, counts, strict=True)},
            within=within,
            between=between,
        )


class EarlyStop:
    """Decides for each reply whether it may stop early, and counts how the waiting ended.

    Args:
        ranker: Scores the candidates that have arrived.
        settings: The bound ``early_stop`` on the loss, and the weight of the relevance.
        rng: Random generator that selects the replies that wait for comparison.

    Attributes:
        recent: Candidates of recent replies.
        n_endings: Number of replies by :class:`Ending`.
    """

    def __init__(self, ranker: Ranker, settings: LearningSettings, rng: np.random.Generator) -> None:
        self._ranker, self._settings, self._rng = ranker, settings, rng
        self.recent = RecentCandidates()
        self.n_endings: Counter[Ending] = Counter()

    def use_settings(self, settings: LearningSettings) -> None:
        """Use another bound from the next reply on."""
        self._settings = settings

    async def begin(
        self, member_id: MemberId | None, message: str, *, guild: bytes = b"", server: int = 0
    ) -> Waiting | None:
        """Return what decides for one reply; None if it waits for all candidates.

        Args:
            member_id: The member; None without consent.
            message: The message that is answered.
            guild: Pseudonym of the server.
            server: Discord id of the server.
        """
        if member_id is None or not self._settings.early_stop:
            return None
        head, _, n_labels = await self._ranker.published(member_id)
        if head is None or head.share == 0 or n_labels < LEAST_LABELS:
            return None
        weight = self._settings.relevance_weight
        forecast = self.recent.forecast(head, server, relevance_weight=weight)
        if forecast is None:
            return None

        async def scored(texts: Sequence[str], fits: Sequence[float]) -> list[float]:
            ranking = await self._ranker.rank(member_id, message, texts, guild=guild, fits=fits)
            return (ranking.personal + weight * ranking.relevance).tolist()

        waits = bool(self._rng.random() < COMPARED)
        return Waiting(forecast, scored, self._settings.early_stop, waits=waits, count=self._count)

    def _count(self, ending: Ending) -> None:
        self.n_endings[ending] += 1


class Waiting:
    """The wait for the candidates of one reply.

    Args:
        forecast: How the outstanding candidates may score.
        scored: Scores candidates, by their texts and the lower bounds on their relevance.
        bound: Largest loss, in the chance of being liked.
        waits: Whether the reply waits for all candidates in any case, for comparison.
        count: Called once with the ending, if there is one.

    Attributes:
        ending: How it ended; None if no candidate was good enough before the last one came.
    """

    def __init__(
        self,
        forecast: Forecast,
        scored: Callable[[Sequence[str], Sequence[float]], Awaitable[Sequence[float]]],
        bound: float,
        *,
        waits: bool,
        count: Callable[[Ending], None],
    ) -> None:
        self._forecast, self._scored, self._bound = forecast, scored, bound
        self._waits, self._count = waits, count
        self.ending: Ending | None = None

    @property
    def stopped(self) -> bool:
        """Whether the last candidates were not awaited."""
        return self.ending is Ending.STOPPED

    async def is_enough(
        self, texts: Sequence[str], styles: Sequence[str], outstanding: Sequence[str], fits: Sequence[float]
    ) -> bool:
        """Return whether the outstanding candidates would bring no more than the bound; False if unknown.

        Args:
            texts: The candidates that have arrived (k).
            styles: Their styles (k).
            outstanding: Styles of the others.
            fits: Lower bounds on their relevance (k).
        """
        if not texts or self.ending is not None:
            return False
        try:
            scores = await self._scored(texts, fits)
        except (RankingFailed, ValueError):  # the ranking of the reply reports it
            return False
        return _STEEPEST * self._forecast.gain(styles, scores, outstanding) <= self._bound

    def stop(self) -> bool:
        """Note that the candidates are enough; return whether to stop, or else wait for comparison."""
        self.ending = Ending.WAITED if self._waits else Ending.STOPPED
        self._count(self.ending)
        return not self._waits

    def marked(self, impression: Impression) -> Impression:
        """Mark the policy of an impression with the ending; that of an unranked reply stays as it is."""
        if self.ending is None or impression.policy == FALLBACK:
            return impression
        mark = EARLY if self.stopped else WAITED
        return replace(impression, policy=mark + impression.policy)


def _improvement(above: float, deviation: float) -> float:
    """Return the mean of the positive part of a normal distribution with this mean and deviation."""
    if deviation == 0:
        return max(0.0, above)
    z = above / deviation
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return above * (1 + math.erf(z / math.sqrt(2))) / 2 + deviation * density


def _variances(rests: DoubleArray, reply: np.ndarray, *, n_styles: int) -> tuple[float, float]:
    """Estimate the variances within and between replies by the method of moments.

    Args:
        rests: Scores without the means of their styles, ``n``.
        reply: Index of the reply of each, ``n``.
        n_styles: Number of means that were taken away.
    """
    sizes = np.bincount(reply)
    means = np.bincount(reply, rests) / sizes
    n, n_replies = len(rests), len(sizes)
    within = float(((rests - means[reply]) ** 2).sum()) / max(1, n - n_replies - n_styles + 1)
    spread = float((sizes * means**2).sum()) / max(1, n_replies - 1)
    typical = (n - float((sizes**2).sum()) / n) / max(1, n_replies - 1)
    return within, max(0.0, (spread - within) / max(typical, 1e-9))
