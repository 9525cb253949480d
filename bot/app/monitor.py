"""Serves the operator's page on a loopback port: ``/metrics`` for Prometheus, and further routes.

Nothing is opened unless ``[operator] metrics_port`` is set. The page answers to this machine only and holds
no data of members. A background task measures the lag of the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

from aiohttp import web

from bot.config import ConfigError
from bot.messages.queues import ConversationQueues
from bot.metrics import Metrics
from bot.moderation.output_filter import Drop
from bot.reactions.inbox import Inbox
from bot.reactions.reconciler import Reconciler
from bot.replies.responder import Responder
from bot.servers.identify_budget import IdentifyBudget
from bot.servers.server_lists import ShardState
from bot.settings import OperatorSettings
from bot.tasks import Tasks
from personalization.ranking.early_stop import Ending
from storage.store import Store

log = logging.getLogger(__name__)

LAG_EVERY_S = 0.5
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Watched(Protocol):
    """The parts of the bot whose state the metrics show."""

    @property
    def metrics(self) -> Metrics:
        """Counts what happens."""
        ...

    @property
    def queues(self) -> ConversationQueues:
        """Answers that wait in their conversation."""
        ...

    @property
    def inbox(self) -> Inbox:
        """Events that wait to be written."""
        ...

    @property
    def store(self) -> Store:
        """Counts the changes that wait for the writer."""
        ...

    @property
    def responder(self) -> Responder:
        """Counts fallbacks and dropped candidates."""
        ...

    @property
    def reconciler(self) -> Reconciler:
        """Counts new sessions after which replies were read back."""
        ...

    @property
    def identifies(self) -> IdentifyBudget:
        """Counts sessions with Discord."""
        ...

    def shard_states(self) -> Mapping[ShardState, int]:
        """Count the shards that this process may serve, by state."""
        ...


def watch_store(metrics: Metrics, store: Store) -> None:
    """Register metrics of the store, which every process has."""
    metrics.gauge(
        "simpatico_writes_waiting", "Changes that wait for the writer.", lambda: store.writes_waiting
    )
    metrics.gauge(
        "simpatico_trains",
        "Whether this process is the one that trains: 1 or 0.",
        lambda: store.coordination.leads,
    )
    metrics.counter(
        "simpatico_listener_losses",
        "Times that notifications of other processes were missed, and cached data of members dropped.",
        lambda: store.coordination.n_losses,
    )


def watch(metrics: Metrics, bot: Watched) -> None:
    """Register metrics that are read from the bot's parts on request."""
    watch_store(metrics, bot.store)
    metrics.gauge(
        "simpatico_messages_waiting", "Messages that wait in their conversation.", lambda: len(bot.queues)
    )
    metrics.gauge("simpatico_events_waiting", "Discord events that wait.", lambda: len(bot.inbox))
    metrics.counter(
        "simpatico_events_recorded",
        "Discord events about reactions that were written.",
        lambda: bot.inbox.n_recorded,
    )
    metrics.counter(
        "simpatico_events_marked",
        "Discord events that could not be queued or written; their messages are read back.",
        lambda: bot.inbox.n_marked,
    )
    metrics.counter(
        "simpatico_candidates_written",
        "Candidates that the language model wrote.",
        lambda: bot.responder.source.n_written,
    )
    metrics.counter(
        "simpatico_ranking_fallbacks",
        "Replies that went out unranked, because ranking failed.",
        lambda: bot.responder.n_fallbacks,
    )
    metrics.counters(
        "simpatico_early_stops",
        "Replies for which a candidate was good enough before the last came, by end of the wait.",
        "end",
        [ending.value for ending in Ending],
        lambda: {ending.value: n for ending, n in bot.responder.early.n_endings.items()},
    )
    metrics.counters(
        "simpatico_candidates_dropped",
        "Candidates that the output filter withheld, by reason.",
        "reason",
        [reason.value for reason in Drop],
        lambda: {reason.value: n for reason, n in bot.responder.source.n_dropped.items()},
    )

    _watch_shards(metrics, bot)


def _watch_shards(metrics: Metrics, bot: Watched) -> None:
    """Register the metrics of the connections to Discord."""
    metrics.gauges(
        "simpatico_shards",
        "Shards that this process may serve, by state.",
        "state",
        [state.value for state in ShardState],
        lambda: {state.value: n for state, n in bot.shard_states().items()},
    )
    metrics.counter(
        "simpatico_sessions_started",
        "Sessions with Discord that this process began.",
        lambda: bot.identifies.n_claimed,
    )
    metrics.gauge(
        "simpatico_sessions_left",
        "Sessions that Discord still allows this day, asked hourly and before each session; NaN: unknown.",
        lambda: bot.identifies.left,
    )
    metrics.counter(
        "simpatico_reconciliations",
        "New sessions after which reactions were read back, because events may have been missed.",
        lambda: bot.reconciler.n_outages,
    )


def create_page(metrics: Metrics, routes: Iterable[web.AbstractRouteDef] = ()) -> web.Application:
    """Return the web application.

    Args:
        metrics: Metrics for ``/metrics``.
        routes: Further routes, such as ``/healthz``.
    """

    async def show(_request: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": _CONTENT_TYPE})

    page = web.Application()
    page.add_routes([web.get("/metrics", show), *routes])
    return page


@asynccontextmanager
async def open_monitor(
    settings: OperatorSettings, bot: Watched, routes: Iterable[web.AbstractRouteDef] = ()
) -> AsyncIterator[None]:
    """Serve the page of a bot while it runs, if a port is configured.

    Raises:
        ConfigError: The port cannot be opened.
    """
    if settings.metrics_port:
        watch(bot.metrics, bot)
    async with open_page(settings, bot.metrics, routes):
        yield


@asynccontextmanager
async def open_page(
    settings: OperatorSettings, metrics: Metrics, routes: Iterable[web.AbstractRouteDef] = ()
) -> AsyncIterator[None]:
    """Serve the page while the process runs, if a port is configured.

    Raises:
        ConfigError: The port cannot be opened.
    """
    if not settings.metrics_port:
        yield
        return
    runner = web.AppRunner(create_page(metrics, routes), access_log=None, handle_signals=False)
    await runner.setup()
    async with Tasks() as tasks:
        tasks.spawn(measure_lag(metrics), name="loop-lag")
        try:
            await _listen(runner, settings)
            yield
        finally:
            await runner.cleanup()


async def measure_lag(metrics: Metrics, every_s: float = LAG_EVERY_S) -> None:
    """Measure how much longer each sleep takes than asked for, until cancelled."""
    while True:
        started = time.monotonic()
        await asyncio.sleep(every_s)
        metrics.lag(time.monotonic() - started - every_s)


async def _listen(runner: web.AppRunner, settings: OperatorSettings) -> None:
    host, port = settings.metrics_host, settings.metrics_port
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as exc:
        raise ConfigError(
            f"[operator] metrics_port = {port}: cannot be opened on {host} ({exc.strerror}); use another or 0"
        ) from exc
    log.info("metrics on http://%s:%d/metrics", host, port)
