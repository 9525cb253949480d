"""Adapters through which the caches of ``personalization`` take part in forgetting (:mod:`bot.memory`)."""

from __future__ import annotations

from bot.memory import Leaving
from personalization.insight.arm_book import ArmBook
from personalization.ranking.ranker import Ranker
from personalization.ranking.score_forecast import RecentCandidates
from personalization.ranking.style_portfolio import StylePortfolio


class HeadCache:
    """The heads that the ranker keeps, by pseudonym."""

    def __init__(self, ranker: Ranker) -> None:
        self._ranker = ranker

    def forget(self, leaving: Leaving) -> None:
        """Drop the heads of the members that leave."""
        if leaving.everyone:
            self._ranker.drop_all()
        else:
            self._ranker.drop(leaving.member_ids)


class StyleMeans:
    """Features of recent candidates and their mean by style, which a member's replies may be in."""

    def __init__(self, portfolio: StylePortfolio, recent: RecentCandidates) -> None:
        self._portfolio, self._recent = portfolio, recent

    def forget(self, leaving: Leaving) -> None:
        """Drop everything when a member leaves whose replies may be in it."""
        if leaving.taught:
            self._portfolio.clear()
            self._recent.clear()


class ArmCounts:
    """The counts of what many members like, which a member's feedback may have contributed to."""

    def __init__(self, book: ArmBook) -> None:
        self._book = book

    def forget(self, leaving: Leaving) -> None:
        """Drop the counts when a member leaves whose feedback may be in them."""
        if leaving.taught:
            self._book.clear()
