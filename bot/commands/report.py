"""``simpatico report``: estimate from the bot's own log what personalization brings; a table and JSON.

Connects the command line with :mod:`personalization.insight.uplift_report`. The command opens the database
itself, so on SQLite the bot must be stopped. A running bot logs the same estimate once a day. All numbers
are totals over all members; none is about one member.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from bot.background.uplift_reporter import Reporter, signed, verdict
from bot.config import ConfigError, Settings
from personalization.insight.off_policy import Estimate, Estimates
from personalization.insight.uplift_report import Outcome, Report
from storage.store import Store
from storage.wording import counted

log = logging.getLogger(__name__)


def run(arguments: argparse.Namespace, settings: Settings) -> None:
    """Estimate, print the table, and write the JSON file if one was asked for.

    Raises:
        ConfigError: An argument cannot be used.
        StorageError: The data cannot be opened, on SQLite also because the bot runs.
    """
    if arguments.days < 1:
        raise ConfigError(f"--days {arguments.days}: expected a number from 1 on")

    async def read() -> Report:
        async with await Store.open(settings.storage, may_create=False) as store:
            return await Reporter(store.choices, settings.personalization).report(arguments.days)

    report = asyncio.run(read())
    print(as_text(report, arguments.days))
    if arguments.json_path is not None:
        text = json.dumps(_finite(asdict(report)), indent=1, allow_nan=False)
        arguments.json_path.write_text(text + "\n", encoding="utf-8")


def as_text(report: Report, days: int) -> str:
    """Format the report as Markdown: the size of the log, the table, and the verdict."""
    left_out = {
        "went out unranked": report.n_unranked,
        "could not have been posted otherwise": report.n_unanswerable,
        "could not be opened": report.n_shut,
        "were asked for in place of another": report.n_another,
    }
    lines = [
        f"{counted(report.n_replies, 'reply', 'replies')} to {counted(report.n_members, 'member')}"
        f" in the last {counted(days, 'day')},"
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
    return "\n".join([*lines, *_of_arms(report), "", *_early(report), verdict(report)])


def _early(report: Report) -> list[str]:
    """Say how many replies did not wait for all candidates, and what this costs."""
    if (found := report.early) is None:
        return []
    n_ready = found.n_early + found.n_waited
    return [
        f"{counted(n_ready, 'reply', 'replies')} had a good enough candidate before the last came:"
        f" {found.n_early} were posted at once, {found.n_waited} waited for comparison."
        f" Liked in 100: {_plain(found.early)} and {_plain(found.waited)}, difference {signed(found.gain)}.",
        "",
    ]


_PARTS = {
    "style": "style {}",
    "writer": "writer {}",
    "wish": "with a learnt wish",
    "examples": "with examples",
}


def _of_arms(report: Report) -> list[str]:
    """Format what each kind of candidate brings over the other kinds; nothing without a choice of kinds."""
    if not report.arms:
        return []
    rows = [
        f"| {_PARTS[one.part].format(one.option)} | {one.n_replies} | {_plain(one.liked)} |"
        f" {signed(one.lift)} | {one.lift.n_effective:.0f} |"
        for one in report.arms
    ]
    about = "Kinds of candidates, weighed as if each had been dealt and posted by lot:"
    head = "| kind | replies | liked in 100 | lift over the other kinds | effective replies |"
    return ["", about, "", head, "|---|---|---|---|---|", *rows]


def _estimators(name: str, report: Report, of: Callable[[Outcome], Estimates]) -> list[str]:
    """Format the rows of one quantity: one per estimator, and the effective sample size."""
    rows: list[str] = []
    for label, field in (("doubly robust", "dr"), ("SNIPS", "snips"), ("IPS", "ips")):
        rows += _rows(f"{name}: {label}", report, lambda outcome, field=field: getattr(of(outcome), field))
    carried = f"{of(report.liked).dr.n_effective:.0f}"
    return [*rows, f"| {name}: effective replies | {carried} | {carried} |"]


def _rows(name: str, report: Report, of: Callable[[Outcome], Estimate]) -> list[str]:
    how = signed if "bring" in name else _plain
    return [f"| {name} | {how(of(report.liked))} | {how(of(report.disliked))} |"]


def _plain(found: Estimate) -> str:
    return f"{100 * found.value:.1f} ({100 * found.low:.1f} to {100 * found.high:.1f})"


def _finite(value: Any) -> Any:
    """Replace NaN by None, which JSON can express."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value
