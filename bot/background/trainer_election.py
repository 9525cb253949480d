"""Leader election between processes of one bot: one process learns, the others drop stale caches.

On PostgreSQL several processes may share one database, each with its own gateway connection (a shard, for
example). The store elects one of them; a process without Discord that does nothing else (``simpatico train``)
comes first. The elected process runs the work that must run once: rounds, priors, deletions that are due. It
publishes news, and the other processes drop what they keep in memory. With SQLite there is one process and no
news.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from bot.background.scheduler import LearningScheduler, Work
from bot.memory import MemberMemory
from personalization.ranking.ranker import Ranker
from storage.coordination import Coordination
from storage.database.peers import News
from storage.errors import NotTrainer

log = logging.getLogger(__name__)

FOLLOW = "follow"
"""Name of the work that reads the prior again."""
ARMS = "arms"
"""Name of the work that counts again which kinds of candidates many members like."""


def elected(coordination: Coordination, work: Callable[[], Awaitable[Any]], *, ask: bool = False) -> Work:
    """Return a work that runs only in the process that trains.

    Args:
        coordination: Elects the process that trains.
        work: The work to run there.
        ask: Whether the other processes notify that process when a round is due.
    """

    async def run() -> None:
        if await coordination.lead():
            try:
                await work()
            except NotTrainer:
                log.info("another process has taken over the training; the work of this one is dropped")
        elif ask:
            await coordination.notify(News.DUE)

    return run


def follow(
    coordination: Coordination, ranker: Ranker, memory: MemberMemory, scheduler: LearningScheduler
) -> None:
    """Follow what other processes do: drop stale caches, and schedule the work that is due here."""

    def heard(news: News) -> None:
        if news in (News.LEFT, News.DEAF):
            memory.forget_everyone()
        if news is News.HEADS:
            ranker.drop_all()
        if news in (News.PRIOR, News.LEFT):
            scheduler.mark_due(FOLLOW)
        if news is News.LEFT:
            scheduler.mark_due(ARMS)
        if coordination.leads and news is News.LEFT:
            scheduler.mark_due("prior", "round")
        if coordination.leads and news is News.DUE:
            scheduler.plan_early()
        if coordination.leads and news is News.TRAINER:
            scheduler.mark_due("round")  # it asks whether this process still leads, and so hands over

    coordination.subscribe(heard)
