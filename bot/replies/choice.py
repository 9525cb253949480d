"""Chooses one of the candidates that may be posted, and describes the choice as an impression.

A failed ranking never costs the reply: the first candidate is posted, and its impression has the policy
``fallback``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bot.generation import Candidate, dealt_to
from bot.replies.decision import Asker, Decision, ReplyObserver, impression_of, unranked
from personalization.errors import RankingFailed
from personalization.ranking.ranker import Ranker
from personalization.ranking.score_forecast import RecentCandidates
from personalization.ranking.style_portfolio import StylePortfolio
from storage.records import Impression, MemberId
from storage.store import Store

log = logging.getLogger(__name__)

RANK_S = 30.0
"""Longest time for a ranking, seconds; then the first candidate is posted."""


class CandidateChoice:
    """Ranks candidates and keeps the impression of what was chosen.

    Args:
        ranker: Orders candidates by a member's head.
        portfolio: Learns in memory how the candidates of each style sound.
        store: Gives the pseudonym of a server.
        recent: Keeps in memory how recent candidates scored.

    Attributes:
        n_fallbacks: Rankings that failed so far.
        observer: Sees each ranking; None outside of the playground.
    """

    def __init__(
        self, ranker: Ranker, portfolio: StylePortfolio, store: Store, recent: RecentCandidates
    ) -> None:
        self._ranker, self._portfolio, self._store, self._recent = ranker, portfolio, store, recent
        self.n_fallbacks = 0
        self.observer: ReplyObserver | None = None

    async def choose(
        self,
        asker: Asker,
        member_id: MemberId | None,
        message: str,
        candidates: Sequence[Candidate],
        *,
        observed: bool = False,
        asked: bool = False,
    ) -> Impression:
        """Choose one of the candidates. A failed ranking is counted and logged, and chooses the first.

        Args:
            asker: The member who is answered. The style portfolio does not learn from a reply to a member who
                left meanwhile.
            member_id: Their id if they agreed; None ranks by the prior.
            message: The message to answer.
            candidates: ``k`` candidates that may be posted, k > 0.
            observed: Whether the portfolio learns nothing from these candidates: it has seen them before, or
                the slower ones were not awaited, so these are no fair sample of their styles.
            asked: Whether a wish of ``/style`` held. Such candidates say nothing about how others score.
        """
        texts = tuple(candidate.text for candidate in candidates)
        styles = tuple(candidate.style for candidate in candidates)
        who = asker.who
        guild, fits = self._store.guild_id(who), [candidate.fits for candidate in candidates]
        try:
            async with asyncio.timeout(RANK_S):
                ranking = await self._ranker.rank(member_id, message, texts, guild=guild, fits=fits)
        except Exception as exc:  # Boundary: whatever failed, the member gets an answer; it is counted.
            self.n_fallbacks += 1
            log.warning(
                "ranking failed (%s); the first of %d candidates is posted", type(exc).__name__, len(texts)
            )
            return replace(unranked(texts, styles), seat=candidates[0].seat)
        if member_id is not None and not observed and asker.may_be_remembered:
            seats = [dealt_to(one) for one in candidates]
            for one, features in zip(seats, ranking.features, strict=True):
                self._portfolio.observe(one.style, features, who.guild_id)
            if not asked:
                self._recent.observe(seats, ranking.features, ranking.relevance, who.guild_id, member_id)
        if self.observer is not None:
            self.observer.ranked(asker, message, ranking)
        seat = candidates[ranking.chosen].seat
        return replace(impression_of(texts, styles, ranking), seat=seat)

    async def finished(self, decision: Decision, text: str) -> Decision:
        """Return the decision with its final text, and features computed from that text.

        Learning uses the text that people see. Scores, propensities and the reason stay those of the draft,
        by which it was chosen.
        """
        if text == decision.text:
            return replace(decision, more=None)
        impression = decision.impression
        written, candidates = list(decision.written), list(impression.candidates)
        draft = written[impression.chosen]
        written[impression.chosen] = Candidate(text, draft.style, seat=draft.seat)
        candidates[impression.chosen] = text
        feature_id, features = impression.feature_id, b""
        try:
            if feature_id:
                async with asyncio.timeout(RANK_S):
                    described = await self._ranker.describe(text)
                features = np.ascontiguousarray(described, dtype="<f4").tobytes()
        except (RankingFailed, TimeoutError) as exc:
            log.warning(
                "a finished reply got no features (%s), so nothing is learnt from it", type(exc).__name__
            )
            feature_id = ""
        impression = replace(
            impression, candidates=tuple(candidates), feature_id=feature_id, features=features
        )
        return replace(decision, text=text, impression=impression, written=tuple(written), more=None)
