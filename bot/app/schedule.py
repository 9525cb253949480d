"""The jobs of a running bot: which work runs on a schedule, how often, and in which order.

Part of :mod:`bot.app.composition`, which passes in the parts that do the work.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from bot.background.round_curves import RoundCurves
from bot.background.scheduler import LearningScheduler, Work
from bot.background.starter_fitting import StarterFitting
from bot.background.trainer_election import ARMS, FOLLOW, elected
from bot.background.uplift_reporter import Reporter
from bot.config import Settings
from bot.memory import MemberMemory
from bot.metrics import Metrics
from personalization.encoding.reembedding import Reembedder
from personalization.insight.arm_book import ArmBook
from personalization.rounds.trainer import Trainer
from personalization.settings import LearningSettings
from storage.store import Store

HOUR_S, DAY_S = 3600.0, 86400.0


def open_scheduler(
    settings: Settings,
    store: Store,
    trainer: Trainer,
    reembedder: Reembedder,
    *,
    arms: ArmBook,
    metrics: Metrics,
    memory: MemberMemory,
    stack: AsyncExitStack,
    starter: StarterFitting | None = None,
) -> LearningScheduler:
    """Make the scheduler with all jobs; the caller starts it.

    Args:
        settings: All sections.
        store: The store that the jobs work on.
        trainer: Runs rounds and rebuilds the prior.
        reembedder: Computes outdated features again.
        arms: Counts which kinds of candidates are liked.
        metrics: Times the jobs.
        memory: Drops what belongs to servers that were left.
        stack: Stops the scheduler; a round that runs ends after its chunk, a fit of the starter is killed.
        starter: Fits the starter prior of an encoder for which none ships.

    Raises:
        ConfigError: The curves of rounds cannot be written.
    """
    run_round = metrics.watched("round", trainer.run_round)
    if settings.operator.curves_dir:
        curves = RoundCurves(Path(settings.operator.curves_dir))
        stack.callback(curves.close)
        run_round = curves.drawn(run_round)
    scheduler = _schedule(
        settings.personalization, store, trainer, reembedder, metrics=metrics, run_round=run_round, arms=arms
    )
    if starter is not None:
        scheduler.add("starter", metrics.watched("starter", starter.run), HOUR_S, soon=True)
        starter.mark_due = scheduler.mark_due
        stack.push_async_callback(starter.close)
    departures = _erase_departed(store, memory, retraining(scheduler))
    scheduler.add("departures", metrics.watched("departures", departures), HOUR_S)
    scheduler.add("expire_reports", metrics.watched("expire_reports", store.reports.expire), HOUR_S)
    stack.push_async_callback(scheduler.stop)
    stack.callback(reembedder.stop_soon)
    stack.callback(trainer.stop_soon)  # the stack unwinds in reverse, so this one runs first
    return scheduler


def retraining(scheduler: LearningScheduler) -> Callable[[], None]:
    """Return a callback that schedules retraining of everything that a member who left contributed to."""
    return lambda: scheduler.mark_due("prior", "round", ARMS)


def counted(metrics: Metrics, scheduler: LearningScheduler) -> Callable[[int], None]:
    """Return a callback that counts new labels; enough of them start a round early."""

    def labels_changed(count: int) -> None:
        metrics.labels(count)
        scheduler.labels_changed(count)

    return labels_changed


def _schedule(
    settings: LearningSettings,
    store: Store,
    trainer: Trainer,
    reembedder: Reembedder,
    *,
    metrics: Metrics,
    run_round: Work,
    arms: ArmBook,
) -> LearningScheduler:
    """Make the scheduler; jobs that are due together run in the order of this list."""
    coordination = store.coordination
    return LearningScheduler(
        {
            FOLLOW: (trainer.restore, HOUR_S),
            "reembed": (elected(coordination, metrics.watched("reembed", reembedder.run)), DAY_S),
            "prior": (
                elected(coordination, metrics.watched("prior", trainer.rebuild_prior)),
                settings.prior_every_s,
            ),
            "round": (elected(coordination, run_round, ask=True), settings.round_every_s),
            "expire_texts": (
                elected(coordination, metrics.watched("expire_texts", store.replies.expire_texts)),
                HOUR_S,
            ),
            ARMS: (metrics.watched(ARMS, arms.refresh), HOUR_S),
            "settle": (store.feedback.settle, 30.0),
            "report": (
                elected(coordination, metrics.watched("report", Reporter(store.choices, settings).run)),
                DAY_S,
            ),
        },
        early="round",
        early_labels=settings.round_min_labels,
        cpu_s=lambda: time.process_time() + trainer.worker_cpu_s,
    )


def _erase_departed(store: Store, memory: MemberMemory, retrain: Callable[[], None]) -> Work:
    """Return the job that deletes the data of servers that were left, from the store and from memory."""

    async def erase_departed() -> None:
        if await store.departures.erase_due(memory.forget_servers) is not None:
            retrain()

    return erase_departed
