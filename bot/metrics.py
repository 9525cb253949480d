"""Numbers about the running bot, for Prometheus: counts and durations, never a text, a name or an id.

Every label value comes from a list that stands in the code. What is counted elsewhere anyway (queues, the
output filter, failed rankings) is read when somebody asks; the rest is told here as it happens. The one home
of prometheus_client; :mod:`bot.app.monitor` serves what :meth:`Metrics.text` writes.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import StrEnum
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

from personalization.rounds.round_results import PriorReport, RoundReport

T = TypeVar("T")

_REPLY_BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60)
_WORK_BUCKETS = (0.1, 0.5, 1, 5, 15, 60, 300, 1800)
_LAG_BUCKETS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 1, 5)


class Outcome(StrEnum):
    """How a message that was meant for the bot was answered."""

    ANSWERED = "answered"
    WITHHELD = "withheld"
    """The output filter left no candidate."""
    UNAVAILABLE = "unavailable"
    """The language model did not answer."""
    BUSY = "busy"
    """Declined, because too many messages waited in the conversation."""
    UNREAD = "unread"
    """It held nothing that could be read: files of other kinds, pictures for a model without eyes."""
    MERGED = "merged"
    """Answered together with the member's message before it."""
    LIMITED = "limited"
    """Declined, because the member or the server has used up its day."""
    FAILED = "failed"


PARTS = ("wait", "consent", "generate", "filter", "rank", "post")
"""Parts of the time from message to reply, in order."""


class Metrics:
    """Everything that is counted; one for each running bot."""

    def __init__(self) -> None:
        disable_created_metrics()  # a second series for each counter, which nothing here asks for
        self._registry = registry = CollectorRegistry()
        self._read = _ReadWhenAsked()
        registry.register(self._read)
        self._answers = Counter(
            "simpatico_messages",
            "Messages to the bot, by how they were answered.",
            ["outcome"],
            registry=registry,
        )
        self._seconds = Histogram(
            "simpatico_reply_seconds",
            "Time from message to reply, by part.",
            ["part"],
            buckets=_REPLY_BUCKETS,
            registry=registry,
        )
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
        self._learnt = _Learnt(registry)
        for outcome in Outcome:
            self._answers.labels(outcome.value)
        for part in PARTS:
            self._seconds.labels(part)

    def message(self, outcome: Outcome) -> None:
        """Count a message to the bot."""
        self._answers.labels(outcome.value).inc()

    def reply(self, seconds: Mapping[str, float]) -> None:
        """Take the time that a posted reply took, by part; others than :data:`PARTS` are left out."""
        for part in PARTS:
            if part in seconds:
                self._seconds.labels(part).observe(seconds[part])

    def lag(self, seconds: float) -> None:
        """Take how late the event loop was."""
        self._lag.observe(max(0.0, seconds))

    def labels(self, count: int) -> None:
        """Count members' labels that changed."""
        self._learnt.labels.inc(count)

    def watched(self, name: str, work: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
        """The same work, counted and timed; the report of a round or a prior is taken in."""
        for end in ("done", "failed"):
            self._works.labels(name, end)
        self._work_seconds.labels(name)

        async def run() -> T:
            started = time.monotonic()
            try:
                report = await work()
            except Exception:
                self._works.labels(name, "failed").inc()
                raise
            self._works.labels(name, "done").inc()
            self._work_seconds.labels(name).observe(time.monotonic() - started)
            self._learnt.take(report)
            return report

        return run

    def gauge(self, name: str, about: str, read: Callable[[], float]) -> None:
        """Have a number read whenever somebody asks; it may rise and fall."""
        self._read.add(lambda: GaugeMetricFamily(name, about, value=read()))

    def counter(self, name: str, about: str, read: Callable[[], float]) -> None:
        """Have a count read whenever somebody asks."""
        self._read.add(lambda: CounterMetricFamily(name, about, value=read()))

    def counters(
        self,
        name: str,
        about: str,
        label: str,
        values: Iterable[str],
        read: Callable[[], Mapping[str, float]],
    ) -> None:
        """Have counts read whenever somebody asks, one for each of ``values``; others are left out."""
        known = tuple(values)

        def family() -> Metric:
            counts, found = read(), CounterMetricFamily(name, about, labels=[label])
            for value in known:
                found.add_metric([value], counts.get(value, 0))
            return found

        self._read.add(family)

    def mean_seconds(self) -> tuple[int, dict[str, float]]:
        """How many replies were timed since the start, and the mean time of each part."""
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
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)


class _Learnt:
    """What rounds and rebuilds of the prior said about themselves."""

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
            case _:
                pass


class _ReadWhenAsked(Collector):
    """Asks for each number at the moment it is collected."""

    def __init__(self) -> None:
        self._families: list[Callable[[], Metric]] = []

    def add(self, family: Callable[[], Metric]) -> None:
        self._families.append(family)

    def collect(self) -> Iterable[Metric]:
        """Ask."""
        return [family() for family in self._families]
