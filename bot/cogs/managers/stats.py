"""``/stats``: statistics of learning in this server, for its managers; aggregated over many members.

A manager must not be able to infer anything about one member, even with many accounts of their own. So every
figure follows the rule of :mod:`bot.servers.published`. Counts of members are of this server only, as of the
start of the week. The time of replies and the uplift are of the whole bot and rounded. The exact figures are
for the host: ``simpatico report`` and the page of metrics.
"""

from __future__ import annotations

import asyncio
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import discord
from discord import app_commands
from discord.ext import commands

from bot.background.uplift_reporter import FEWEST, Reporter
from bot.cogs.ports import HasMetrics, HasStore, Registry
from bot.identity import who_clicked
from bot.languages import mark, tr, trn
from bot.metrics import Metrics
from bot.servers.published import BUCKETS, DAY, WEEK, Frozen, about
from bot.ui.charts import stats_picture
from personalization.insight.uplift_report import Report
from storage.clock import utcnow
from storage.store import Store

FEWEST_MEMBERS = BUCKETS[0]
FEWEST_REPLIES = 100
"""Fewest timed replies for which a mean is shown."""
DAYS = timedelta(days=30)


class StatsHost(Registry, HasStore, HasMetrics, Protocol):
    """What the statistics need of the client."""

    @property
    def reporter(self) -> Reporter:
        """Estimates what personalization brings."""
        ...


@dataclass(frozen=True, slots=True)
class Counts:
    """Members of one server, about; None: withheld.

    Attributes:
        learning: Members with a learnt head.
        rating: Members who gave feedback in the 30 days before this week.
    """

    learning: int | None
    rating: int | None


@dataclass(frozen=True, slots=True)
class Gain:
    """Uplift of heads over the whole bot in liked replies per 100, and the ends of its interval."""

    value: int
    low: int
    high: int


class Stats(commands.Cog):
    """Statistics of learning."""

    def __init__(
        self,
        store: Store,
        metrics: Metrics,
        reporter: Reporter,
        now: Callable[[], datetime] = utcnow,
    ) -> None:
        self._store, self._metrics, self._reporter = store, metrics, reporter
        self._weekly, self._daily = Frozen(WEEK, now), Frozen(DAY, now)

    @app_commands.command(
        name="stats", description=mark("See how well learning works in this server, in figures.")
    )
    @app_commands.guild_only()
    @app_commands.default_permissions(manage_guild=True)
    @app_commands.checks.has_permissions(manage_guild=True)
    async def stats(self, interaction: discord.Interaction) -> None:
        """Show the figures of this server to a manager."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        guild = self._store.guild_id(who_clicked(interaction))
        counts = await self._weekly.of(guild, lambda week, start: self._counts(guild, week, start))
        gain = await self._weekly.of("gain", self._gain)
        seconds = await self._daily.of("seconds", self._seconds)
        text = "\n".join(lines_of(counts, seconds, gain))
        if not seconds and gain is None:
            await interaction.followup.send(text, ephemeral=True)
            return
        drawn = None if gain is None else (gain.value, gain.low, gain.high)
        picture = await asyncio.to_thread(stats_picture, seconds, drawn)
        file = discord.File(
            io.BytesIO(picture), "stats.png", description=tr("The figures above, as a picture.")
        )
        await interaction.followup.send(text, file=file, ephemeral=True)

    async def _counts(self, guild: bytes, week: int, start: datetime) -> Counts:
        true = await self._store.activity.of_server(guild, start - DAYS, start)
        return Counts(
            learning=about(true.n_learning, guild, "learning", week),
            rating=about(true.n_rating, guild, "rating", week),
        )

    async def _gain(self, _week: int, _start: datetime) -> Gain | None:
        return gain_of(await self._reporter.report())

    async def _seconds(self, _day: int, _start: datetime) -> dict[str, float]:
        n_replies, seconds = self._metrics.mean_seconds()
        if n_replies < FEWEST_REPLIES:
            return {}
        return {part: _one_digit(mean) for part, mean in seconds.items()}


def gain_of(report: Report) -> Gain | None:
    """Return the uplift in whole replies; None while it rests on too few replies or on too few members."""
    gain = report.liked.gain.dr
    if report.n_effective_members < FEWEST_MEMBERS or not gain.n_effective >= FEWEST or math.isnan(gain.low):
        return None
    return Gain(*(round(100 * value) for value in (gain.value, gain.low, gain.high)))


def lines_of(counts: Counts, seconds: dict[str, float], gain: Gain | None) -> list[str]:
    """Return the figures in words."""
    lines = [
        tr("**Members whose taste I have learnt here** {learnt}", learnt=_words(counts.learning)),
        tr("**Members who rated replies here in 30 days** {members}", members=_words(counts.rating)),
    ]
    if seconds:
        lines.append(tr("**A reply takes** about {seconds:g} s", seconds=_one_digit(sum(seconds.values()))))
    if gain is not None:
        lines.append(
            tr(
                "**Liked replies in 100 that personal ranking adds, all servers** {gain} ({low} to {high})",
                gain=f"{gain.value:+d}",
                low=f"{gain.low:+d}",
                high=f"{gain.high:+d}",
            )
        )
    coarse = trn(
        "So that these figures say nothing about one person, they are rounded, slightly random, and the same"
        " for a week. Figures based on fewer than about {n} member are hidden.",
        "So that these figures say nothing about one person, they are rounded, slightly random, and the same"
        " for a week. Figures based on fewer than about {n} members are hidden.",
        FEWEST_MEMBERS,
    )
    return [*lines, f"*{coarse}*"]


def _words(count: int | None) -> str:
    return tr("fewer than {n}", n=FEWEST_MEMBERS) if count is None else tr("about {n}", n=count)


def _one_digit(seconds: float) -> float:
    """Return a time rounded to one significant digit, which one reply hardly changes."""
    return float(f"{seconds:.1g}")


async def setup(bot: StatsHost) -> None:
    """Load the cog."""
    await bot.add_cog(Stats(bot.store, bot.metrics, bot.reporter))
