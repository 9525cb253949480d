"""Early stop: a reply does not wait for further candidates once one of the first is surely good enough.

Candidates of a model server arrive one by one. After each arrival the rule compares the best candidate so far
with what is expected of the outstanding ones. It stops if waiting would raise the chance that the member
likes the reply by no more than ``[personalization] early_stop``.

* **Forecast.** Recent replies in the same server show how candidates of each style score under this member's
  head, and what a writer, a learnt wish and examples add (:mod:`personalization.ranking.score_forecast`).
* **Gain.** The expected improvement over the best score, summed over the outstanding candidates. The sum is
  an upper bound on the expected improvement by the best of them. A logit changes a chance by at most a
  quarter, so a quarter of the sum bounds the loss.
* **Who.** Members whose own head rests on at least :data:`LEAST_LABELS` labels. All others wait.
* **Comparison.** One in :data:`1 / COMPARED` of the replies that could stop waits all the same. ``simpatico
  report`` compares both groups, which differ by chance alone.

The rule uses only candidates that have arrived. The policy then ranks exactly those, so the propensities of
the impression are exact (``docs/learning.md``). Called by ``bot.replies``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from enum import StrEnum

import numpy as np

from personalization.errors import RankingFailed
from personalization.ranking.ranker import Ranker
from personalization.ranking.score_forecast import Forecast, RecentCandidates
from personalization.settings import LearningSettings
from storage.records import EARLY, FALLBACK, WAITED, Impression, MemberId, Seat

LEAST_LABELS = 20
"""Fewest labels behind the head of a member whose replies stop early.

With 15, the loss came close to the bound (``python -m tests.benchmarks.bench_early``).
"""
COMPARED = 0.1
"""Share of the replies that could stop early, but wait for comparison."""
_STEEPEST = 0.25
"""Largest change of a chance by one logit."""


class Ending(StrEnum):
    """End of the wait for candidates, where one was good enough before the last came."""

    STOPPED = "stopped"
    WAITED = "waited"
    """It waited all the same, for comparison."""


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
        forecast = self.recent.forecast(head, server, member_id=member_id, relevance_weight=weight)
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
        self, texts: Sequence[str], seats: Sequence[Seat], outstanding: Sequence[Seat], fits: Sequence[float]
    ) -> bool:
        """Return whether the outstanding candidates would bring no more than the bound; False if unknown.

        Args:
            texts: The candidates that have arrived (k).
            seats: What they were dealt (k).
            outstanding: What the others were dealt.
            fits: Lower bounds on their relevance (k).
        """
        if not texts or self.ending is not None:
            return False
        try:
            scores = await self._scored(texts, fits)
        except (RankingFailed, ValueError):  # the ranking of the reply reports it
            return False
        return _STEEPEST * self._forecast.gain(seats, scores, outstanding) <= self._bound

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
