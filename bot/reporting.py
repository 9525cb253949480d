"""``simpatico report``: what personalization brings, from the bot's own log; a table, and JSON.

Glue around :mod:`personalization.report`. The command opens the database itself, so on SQLite the bot must
be stopped; a running bot says the same in one line of its own log, once a day. Numbers over everybody, and
nothing about anybody.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import math
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bot.config import ConfigError, Settings
from bot.languages import tr
from personalization.labels import EmojiValence
from personalization.off_policy import Estimate, Estimates
from personalization.report import ChoiceStore, Outcome, Report, read_choices, report_of
from personalization.settings import LearningSettings
from storage.store import Store

log = logging.getLogger(__name__)

DAYS = 90
FEWEST = 50.0
"""Effective replies below which nothing is concluded."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("--days", type=int, default=DAYS, help=f"how far back to look (default {DAYS})")
    parser.add_argument("--json", type=Path, dest="json_path", help="write the figures there")


def run_reporting(arguments: argparse.Namespace, settings: Settings) -> None:
    """Estimate and print.

    Raises:
        ConfigError: An argument cannot be used.
        StorageError: The data cannot be opened; on SQLite it cannot while the bot runs.
    """
    if arguments.days < 1:
        raise ConfigError(f"--days {arguments.days}: expected a number from 1 on")

    async def read() -> Report:
        async with await Store.open(settings.storage) as store:
            return await Reporter(store.choices, settings.personalization).report(arguments.days)

    report = asyncio.run(read())
    print(as_text(report, arguments.days))
    if arguments.json_path is not None:
        text = json.dumps(_finite(asdict(report)), indent=1, allow_nan=False)
        arguments.json_path.write_text(text + "\n", encoding="utf-8")


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


def as_text(report: Report, days: int) -> str:
    """Write Markdown: how much it rests on, the table, and what follows from it."""
    left_out = {
        "went out unranked": report.n_unranked,
        "could not have been posted otherwise": report.n_unanswerable,
        "could not be opened": report.n_shut,
        "were asked for in place of another": report.n_another,
    }
    lines = [
        f"{report.n_replies} replies to {report.n_members} members in the last {days} days,"
        f" {report.n_answered} of them answered; head and prior disagree on {report.n_personal}.",
        *(f"Left out: {n} that {why}." for why, n in left_out.items() if n),
    ]
    if not report.n_replies:
        return "\n".join(lines)
    lines += ["", "| in 100 replies | liked | disliked |", "|---|---|---|"]
    lines += _rows("as they were posted", report, lambda outcome: outcome.posted)
    for name, of in (
        ("best by the member's head", lambda outcome: outcome.head),
        ("best by the prior", lambda outcome: outcome.prior),
        ("what heads bring", lambda outcome: outcome.gain),
    ):
        lines += _estimators(name, report, of)
    return "\n".join([*lines, "", verdict(report)])


def verdict(report: Report) -> str:
    """Say in one sentence what heads bring, and how sure that is."""
    gain = report.liked.gain.dr
    told = tr(
        "Heads bring {gain} liked replies in 100 over the prior ({replies} replies to {members} members)",
        gain=_signed(gain),
        replies=report.n_replies,
        members=report.n_members,
    )
    if not gain.n_effective >= FEWEST or math.isnan(gain.low):
        few = tr("carried by {n:.0f} replies, too few to conclude anything.", n=gain.n_effective)
        return f"{told}: {few}"
    if gain.low > 0:
        said = tr("a gain.")
    else:
        said = tr("a loss.") if gain.high < 0 else tr("not yet told apart from nothing.")
    return f"{told}: {said}"


def _estimators(name: str, report: Report, of: Callable[[Outcome], Estimates]) -> list[str]:
    """Write the rows of one quantity: each estimator, and the replies that carry it."""
    rows: list[str] = []
    for label, field in (("doubly robust", "dr"), ("SNIPS", "snips"), ("IPS", "ips")):
        rows += _rows(f"{name}: {label}", report, lambda outcome, field=field: getattr(of(outcome), field))
    carried = f"{of(report.liked).dr.n_effective:.0f}"
    return [*rows, f"| {name}: effective replies | {carried} | {carried} |"]


def _rows(name: str, report: Report, of: Callable[[Outcome], Estimate]) -> list[str]:
    how = _signed if "bring" in name else _plain
    return [f"| {name} | {how(of(report.liked))} | {how(of(report.disliked))} |"]


def _plain(found: Estimate) -> str:
    return f"{100 * found.value:.1f} ({100 * found.low:.1f} to {100 * found.high:.1f})"


def _signed(found: Estimate) -> str:
    return f"{100 * found.value:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"


def _finite(value: Any) -> Any:
    """Write what cannot be had as null."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
