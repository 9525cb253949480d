"""Reports the uplift of personalization: one log line a day, and the sentence of ``simpatico report``."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from datetime import datetime, timedelta

from bot.languages import tr, trn
from bot.settings import REPORT_DAYS
from personalization.insight.off_policy import Estimate
from personalization.insight.uplift_report import ChoiceStore, Report, read_choices, report_of
from personalization.labels.labels import EmojiValence
from personalization.labels.plugged import Labeller
from personalization.settings import LearningSettings
from storage.clock import utcnow

log = logging.getLogger(__name__)


FEWEST = 50.0
"""Effective sample size below which no conclusion is drawn, replies."""


class Reporter:
    """Computes the report.

    Args:
        choices: The impressions and their feedback.
        learning: Meaning of emoji, and weight of each kind of feedback.
        now: The clock, aware UTC.
    """

    def __init__(
        self,
        choices: ChoiceStore,
        learning: LearningSettings,
        now: Callable[[], datetime] = utcnow,
    ) -> None:
        self._choices, self._now = choices, now
        self._valence, self._label_of = EmojiValence(learning.emoji), Labeller(learning)

    async def report(self, days: int = REPORT_DAYS) -> Report:
        """Compute the report of the last ``days`` days.

        Raises:
            StorageError: Reading failed.
        """
        since = self._now() - timedelta(days=days)
        choices = await read_choices(self._choices, since, self._valence, self._label_of)
        return await asyncio.to_thread(report_of, choices)

    async def run(self) -> Report | None:
        """Log the report, and return it if it rests on enough replies; nothing while there are no replies.

        Raises:
            StorageError: Reading failed.
        """
        report = await self.report()
        if report.n_replies:
            log.info("%s", verdict(report))
        return report if is_conclusive(report) else None


def is_conclusive(report: Report) -> bool:
    """Return whether the report rests on enough replies to conclude anything."""
    gain = report.liked.gain.dr
    return gain.n_effective >= FEWEST and not math.isnan(gain.low)


def verdict(report: Report) -> str:
    """Return one sentence with the uplift of heads over the prior and its certainty."""
    gain = report.liked.gain.dr
    told = tr(
        "Personal ranking brings {gain} liked replies in 100 over what most people like ({replies} to"
        " {members})",
        gain=signed(gain),
        replies=trn("{n} reply", "{n} replies", report.n_replies),
        members=trn("{n} member", "{n} members", report.n_members),
    )
    if not is_conclusive(report):
        few = trn(
            "based on {n} reply, which is too few to conclude anything.",
            "based on {n} replies, which is too few to conclude anything.",
            round(gain.n_effective),
        )
        return f"{told}: {few}"
    if gain.low > 0:
        said = tr("a gain.")
    else:
        said = tr("a loss.") if gain.high < 0 else tr("not yet distinguishable from no effect.")
    return f"{told}: {said}"


def signed(found: Estimate) -> str:
    """Format an estimate and its interval in points per 100 replies, with signs."""
    return f"{100 * found.value:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"
