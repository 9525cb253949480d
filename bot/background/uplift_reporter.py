"""Reports what personalization brings: one log line a day, and the verdict for ``simpatico report``."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from bot.languages import tr
from personalization.insight.off_policy import Estimate
from personalization.insight.uplift_report import ChoiceStore, Report, read_choices, report_of
from personalization.labels.labels import EmojiValence
from personalization.settings import LearningSettings

log = logging.getLogger(__name__)


DAYS = 90

FEWEST = 50.0
"""Effective replies below which nothing is concluded."""


class Reporter:
    """Works out the report.

    Args:
        choices: The log.
        learning: What emoji mean, and how far each kind of feedback is trusted.
        now: The clock, aware UTC.
    """

    def __init__(
        self,
        choices: ChoiceStore,
        learning: LearningSettings,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._choices, self._now = choices, now
        self._valence, self._weights = EmojiValence(learning.emoji), learning.label_weights

    async def report(self, days: int = DAYS) -> Report:
        """Report on so many days.

        Raises:
            StorageError: Reading failed.
        """
        since = self._now() - timedelta(days=days)
        choices = await read_choices(self._choices, since, self._valence, self._weights)
        return await asyncio.to_thread(report_of, choices)

    async def run(self) -> None:
        """Say it in the log; nothing while there are no replies.

        Raises:
            StorageError: Reading failed.
        """
        report = await self.report()
        if report.n_replies:
            log.info("%s", verdict(report))


def verdict(report: Report) -> str:
    """Say in one sentence what heads bring, and how sure that is."""
    gain = report.liked.gain.dr
    told = tr(
        "Personal ranking brings {gain} liked replies in 100 over what most people like ({replies}"
        " replies to {members} members)",
        gain=signed(gain),
        replies=report.n_replies,
        members=report.n_members,
    )
    if not gain.n_effective >= FEWEST or math.isnan(gain.low):
        few = tr("based on {n:.0f} replies, which is too few to conclude anything.", n=gain.n_effective)
        return f"{told}: {few}"
    if gain.low > 0:
        said = tr("a gain.")
    else:
        said = tr("a loss.") if gain.high < 0 else tr("not yet distinguishable from no effect.")
    return f"{told}: {said}"


def signed(found: Estimate) -> str:
    """Format an estimate and its interval in points per 100 replies, with signs."""
    return f"{100 * found.value:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"
