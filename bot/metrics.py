"""Prometheus metrics of the running bot: counts and durations, never a text, a name or an id.

Every label value comes from a list in the code. Values that are counted elsewhere (queues, the output filter,
failed rankings) are read at scrape time; all others are recorded here as they happen. The only module that
imports prometheus_client; :mod:`bot.app.monitor` serves the output of :meth:`Metrics.text`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from personalization.insight.uplift_report import Report
from personalization.rounds.round_results import PriorReport, RoundReport

T = TypeVar("T")

_REPLY_BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60)
_WORK_BUCKETS = (0.1, 0.5, 1, 5, 15, 60, 300, 1800)
_LAG_BUCKETS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 1, 5)


class Outcome(StrEnum):
    """Outcome of a message to the bot."""

    ANSWERED = "answered"
    WITHHELD = "withheld"
    """The output filter left no candidate."""
    UNAVAILABLE = "unavailable"
    """The language model did not answer."""
    BUSY = "busy"
    """Declined: too many messages were waiting in the conversation."""
    UNREAD = "unread"
    """It had no readable content: unsupported files, or pictures without a vision model."""
    MERGED = "merged"
    """Answered together with the previous message of the member."""
    LIMITED = "limited"
    """Declined: the daily limit of the member or the server was reached."""
    WITHDRAWN = "withdrawn"
    """Its message was deleted, or edited so that it was not for the bot any more."""
    HELPED = "helped"
    """It speaks of self-harm or danger; answered with help."""
    FAILED = "failed"


PARTS = ("wait", "consent", "generate", "filter", "rank", "post")
"""Phases of the time from message to reply, in order."""


class Metrics:
    """All metrics of one running bot."""

    def __init__(self) -> None:
        disable_created_metrics()  # a second series per counter that is not needed
        self._registry = registry = CollectorRegistry()
        self._read = _ScrapeTimeCollector()
        registry.register(self._read)
        self._answers = Counter(
            "simpatico_messages",
            "Messages to the bot, by how they were answered.",
            ["outcome"],
            registry=registry,
        )
        self._replies = _ReplySeconds(registry)
        self._works = Counter(
            "simpatico_works",
            "Scheduled works that ran, by name and end.",
            ["work", "end"],
            registry=registry,
        )
        self._work_seconds = Histogram(
            "simpatico_work_seconds",
            "Time that a scheduled work took.",
            ["work"],
            buckets=_WORK_BUCKETS,
            registry=registry,
        )
        self._lag = Histogram(
            "simpatico_loop_lag_seconds",
            "How late the event loop woke up, sampled twice a second.",
            buckets=_LAG_BUCKETS,
            registry=registry,
        )
        self._held = Counter(
            "simpatico_loop_holds",
            "Times that one piece of code held the event loop for over 100 ms; the log names it.",
            registry=registry,
        )
        self._rounds_and_priors = _RoundMetrics(registry)
        for outcome in Outcome:
            self._answers.labels(outcome.value)

    def message(self, outcome: Outcome) -> None:
        """Count a message to the bot."""
        self._answers.labels(outcome.value).inc()

    def reply(self, seconds: Mapping[str, float]) -> None:
        """Record the durations of a posted reply by phase; keys outside :data:`PARTS` are ignored."""
        self._replies.take(seconds)

    def lag(self, seconds: float) -> None:
        """Record a delay of the event loop, seconds."""
        self._lag.observe(max(0.0, seconds))

    def loop_held(self) -> None:
        """Count a piece of code that held the event loop for too long."""
        self._held.inc()

    def labels(self, count: int) -> None:
        """Count changed labels of members."""
        self._rounds_and_priors.labels.inc(count)

    def watched(self, name: str, work: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
        """Wrap a scheduled work so that its runs are counted and timed and its report is recorded."""
        for end in ("done", "failed"):
            self._works.labels(name, end)
        self._work_seconds.labels(name)

        async def run() -> T:
            started = time.monotonic()
            try:
                report = await work()
            except Exception:  # Boundary: every failure of a scheduled work is counted, then raised again.
                self._works.labels(name, "failed").inc()
                raise
            self._works.labels(name, "done").inc()
            self._work_seconds.labels(name).observe(time.monotonic() - started)
            self._rounds_and_priors.take(report)
            return report

        return run

    def gauge(self, name: str, about: str, read: Callable[[], float]) -> None:
        """Register a gauge whose value is read at scrape time."""
        self._read.add(lambda: GaugeMetricFamily(name, about, value=read()))

    def counter(self, name: str, about: str, read: Callable[[], float]) -> None:
        """Register a counter whose value is read at scrape time."""
        self._read.add(lambda: CounterMetricFamily(name, about, value=read()))

    def counters(
        self,
        name: str,
        about: str,
        label: str,
        values: Iterable[str],
        read: Callable[[], Mapping[str, float]],
    ) -> None:
        """Register counters, one per label value in ``values``, that are read at scrape time."""
        self._add_all(partial(CounterMetricFamily, name, about, labels=[label]), values, read)

    def gauges(
        self,
        name: str,
        about: str,
        label: str,
        values: Iterable[str],
        read: Callable[[], Mapping[str, float]],
    ) -> None:
        """Register gauges, one per label value in ``values``, that are read at scrape time."""
        self._add_all(partial(GaugeMetricFamily, name, about, labels=[label]), values, read)

    def _add_all(
        self,
        make: Callable[[], CounterMetricFamily | GaugeMetricFamily],
        values: Iterable[str],
        read: Callable[[], Mapping[str, float]],
    ) -> None:
        known = tuple(values)

        def family() -> Metric:
            counts, found = read(), make()
            for value in known:
                found.add_metric([value], counts.get(value, 0))
            return found

        self._read.add(family)

    def mean_seconds(self) -> tuple[int, dict[str, float]]:
        """Return the number of replies timed since the start, and the mean seconds of each phase."""
        found: dict[str, float] = {}
        n_replies = 0
        for part in PARTS:
            n = self._sample("simpatico_reply_seconds_count", part)
            found[part] = self._sample("simpatico_reply_seconds_sum", part) / n if n else 0.0
            n_replies = max(n_replies, int(n))
        return n_replies, found

    def _sample(self, name: str, part: str) -> float:
        return self._registry.get_sample_value(name, {"part": part}) or 0.0

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self._registry)


class _ReplySeconds:
    """Durations of replies, by phase and as a whole."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._parts = Histogram(
            "simpatico_reply_seconds",
            "Time from message to reply, by part.",
            ["part"],
            buckets=_REPLY_BUCKETS,
            registry=registry,
        )
        self._whole = Histogram(
            "simpatico_answer_seconds",
            "Time from message to reply, all parts together.",
            buckets=_REPLY_BUCKETS,
            registry=registry,
        )
        for part in PARTS:
            self._parts.labels(part)

    def take(self, seconds: Mapping[str, float]) -> None:
        known = {part: seconds[part] for part in PARTS if part in seconds}
        for part, spent in known.items():
            self._parts.labels(part).observe(spent)
        self._whole.observe(sum(known.values()))


class _RoundMetrics:
    """Metrics taken from the reports of rounds, of fits of the prior, and of the uplift."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, about: str) -> Counter:
            return Counter(f"simpatico_{name}", about, registry=registry)

        def gauge(name: str, about: str) -> Gauge:
            return Gauge(f"simpatico_{name}", about, registry=registry)

        self.labels = counter("labels", "Labels of members that changed: given, taken back or revised.")
        self._rounds = counter("rounds", "Training rounds that learnt something.")
        self._members = counter("round_members", "Members whom rounds looked at.")
        self._round_labels = counter("round_labels", "Labels that solved heads rest on.")
        self._rolled_back = counter("heads_rolled_back", "Heads for which the prior answers instead.")
        self._unsolved = counter("heads_unsolved", "Solves that did not reach their tolerance; expected: 0.")
        self._last = gauge("last_round_timestamp_seconds", "When a round last learnt something, Unix time.")
        self._prior_members = gauge("prior_members", "Members who taught the prior; 0: the starter prior.")
        self._prior_labels = gauge("prior_labels", "Labels that taught the prior.")
        about = "Liked replies in 100 that personal ranking adds to the prior's"
        self._lift = gauge("lift", f"{about}; NaN: too few replies to tell.")
        self._lift_low = gauge("lift_low", f"{about}, lower end of the interval.")
        self._lift_high = gauge("lift_high", f"{about}, upper end of the interval.")
        for unknown in (self._lift, self._lift_low, self._lift_high):
            unknown.set(math.nan)

    def take(self, report: Any) -> None:
        match report:
            case RoundReport(n_members=n) if n:
                self._rounds.inc()
                self._members.inc(n)
                self._round_labels.inc(report.n_labels)
                self._rolled_back.inc(report.n_rolled_back)
                self._unsolved.inc(report.n_unsolved)
                self._last.set(time.time())
            case PriorReport():
                self._prior_members.set(report.n_members)
                self._prior_labels.set(report.n_labels)
            case Report():
                gain = report.liked.gain.dr
                self._lift.set(100 * gain.value)
                self._lift_low.set(100 * gain.low)
                self._lift_high.set(100 * gain.high)
            case _:
                pass


class _ScrapeTimeCollector(Collector):
    """Collector that reads each value at scrape time."""

    def __init__(self) -> None:
        self._families: list[Callable[[], Metric]] = []

    def add(self, family: Callable[[], Metric]) -> None:
        self._families.append(family)

    def collect(self) -> Iterable[Metric]:
        """Read all registered values."""
        return [family() for family in self._families]
