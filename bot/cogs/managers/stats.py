"""``/stats``: statistics of learning in this server, for its managers; aggregated over many members.

A manager must not be able to infer anything about one member, so a figure is shown only when it rests on at
least :data:`FEWEST_MEMBERS` members. Counts are of this server only. The time of replies and the uplift are
of the whole bot, so no server can be identified in them.
"""

from __future__ import annotations

import asyncio
import io
import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import discord
from discord import app_commands
from discord.ext import commands

from bot.background.uplift_reporter import Reporter, verdict
from bot.cogs.ports import HasMetrics, HasStore, Registry
from bot.identity import who_clicked
from bot.languages import mark, tr
from bot.metrics import Metrics
from bot.ui.charts import stats_picture
from personalization.insight.uplift_report import Report
from storage.servers.activity import RoundActivity, ServerActivity
from storage.store import Store

FEWEST_MEMBERS = 5
FEWEST_REPLIES = 20
"""Fewest timed replies for which a mean is shown."""
DAYS = 30
REPORT_EVERY_S = 3600.0
"""Least time between two estimates, which read the whole log, seconds."""

WITHHELD = mark(
    "Figures based on fewer than {n} members are hidden, because they could say something about one person."
)


class StatsHost(Registry, HasStore, HasMetrics, Protocol):
    """What the statistics need of the client."""

    @property
    def reporter(self) -> Reporter:
        """Estimates what personalization brings."""
        ...


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures to show.

    Attributes:
        server: Counts of this server.
        rounds: Rounds of the whole bot.
        report: Uplift of heads over the whole bot; None while it rests on too few members.
        n_replies: Replies timed since the start.
        seconds: Mean time of each part of them; empty while they are too few.
    """

    server: ServerActivity
    rounds: RoundActivity
    report: Report | None
    n_replies: int
    seconds: dict[str, float]


class Stats(commands.Cog):
    """Statistics of learning."""

    def __init__(self, store: Store, metrics: Metrics, reporter: Reporter) -> None:
        self._store, self._metrics, self._reporter = store, metrics, reporter
        self._report: tuple[float, Report] | None = None
        self._reporting = asyncio.Lock()

    @app_commands.command(
        name="stats", description=mark("See how well learning works in this server, in figures.")
    )
    @app_commands.guild_only()
    @app_commands.default_permissions(manage_guild=True)
    @app_commands.checks.has_permissions(manage_guild=True)
    async def stats(self, interaction: discord.Interaction) -> None:
        """Show the figures of this server to a manager."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        figures = await self._figures(self._store.guild_id(who_clicked(interaction)))
        text = "\n".join(lines_of(figures))
        if not figures.server.labels and not figures.seconds and figures.report is None:
            await interaction.followup.send(text, ephemeral=True)
            return
        picture = await asyncio.to_thread(
            stats_picture, figures.server.labels, figures.seconds, _gain(figures.report)
        )
        file = discord.File(
            io.BytesIO(picture), "stats.png", description=tr("The figures above, as a picture.")
        )
        await interaction.followup.send(text, file=file, ephemeral=True)

    async def _figures(self, guild: bytes) -> Figures:
        since = datetime.now(UTC) - timedelta(days=DAYS)
        activity = self._store.activity
        report = await self._latest_report()
        n_replies, seconds = self._metrics.mean_seconds()
        return Figures(
            server=await activity.of_server(guild, since, FEWEST_MEMBERS),
            rounds=await activity.of_rounds(since),
            report=report if report.n_members >= FEWEST_MEMBERS else None,
            n_replies=n_replies,
            seconds=seconds if n_replies >= FEWEST_REPLIES else {},
        )

    async def _latest_report(self) -> Report:
        async with self._reporting:
            now = time.monotonic()
            if self._report is None or now - self._report[0] > REPORT_EVERY_S:
                self._report = now, await self._reporter.report()
            return self._report[1]


def lines_of(figures: Figures) -> list[str]:
    """Return the figures in words."""
    server, rounds = figures.server, figures.rounds
    n_labels = sum(n for _, n in server.labels)
    learning = server.n_learning
    learnt = tr("fewer than {n}", n=FEWEST_MEMBERS) if learning is None else f"{learning}"
    lines = [
        tr("**Members whose taste I have learnt here** {learnt}", learnt=learnt),
        tr(
            "**Replies rated here in the last {days} days** {labels} (days with ratings: {active})",
            days=DAYS,
            labels=n_labels,
            active=len(server.labels),
        ),
        tr(
            "**Training rounds, all servers** {rounds}, {seconds:.1f} s each",
            rounds=rounds.n_rounds,
            seconds=rounds.seconds,
        ),
    ]
    if figures.seconds:
        total = sum(figures.seconds.values())
        lines.append(
            tr(
                "**A reply takes** {seconds:.1f} s (mean of {replies} since I was started)",
                seconds=total,
                replies=figures.n_replies,
            )
        )
    if figures.report is not None:
        lines.append(
            tr("**What personal ranking brings, all servers** {verdict}", verdict=verdict(figures.report))
        )
    if server.n_learning is None or server.n_days_withheld or figures.report is None:
        lines.append(f"*{tr(WITHHELD, n=FEWEST_MEMBERS)}*")
    return lines


def _gain(report: Report | None) -> tuple[float, float, float] | None:
    if report is None or math.isnan(report.liked.gain.dr.low):
        return None
    gain = report.liked.gain.dr
    return 100 * gain.value, 100 * gain.low, 100 * gain.high


async def setup(bot: StatsHost) -> None:
    """Load the cog."""
    await bot.add_cog(Stats(bot.store, bot.metrics, bot.reporter))
