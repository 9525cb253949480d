"""``simpatico train``: train for the other processes on the same PostgreSQL database, without Discord."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal

from bot.app.health import Health, learning_proofs
from bot.app.monitor import open_page, watch_store
from bot.app.stop_deadline import StopDeadline
from bot.app.training import Training, open_training
from bot.app.watchdog import Watchdog
from bot.commands.join_discord import record_start
from bot.config import Settings
from storage.maintenance.audit_trail import AuditTrail

status = logging.getLogger("bot.status")  # shown at the default level, see bot/app/logs.py


def run(arguments: argparse.Namespace, settings: Settings) -> None:
    """Train until the process is stopped.

    Raises:
        ConfigError: The data are in SQLite, or the port of the metrics cannot be opened.
        StorageError: Data or keys cannot be opened.
        EncoderError: The encoder cannot be loaded.
    """
    del arguments
    with StopDeadline() as deadline:
        asyncio.run(serve(settings, deadline))


async def serve(settings: Settings, deadline: StopDeadline) -> None:
    """Train until SIGTERM or SIGINT; a running round ends after its chunk.

    Args:
        settings: All sections.
        deadline: Starts to count when a signal asks the process to stop.

    Raises:
        ConfigError: The data are in SQLite, or the port of the metrics cannot be opened.
        StorageError: Data or keys cannot be opened.
        EncoderError: The encoder cannot be loaded.
    """
    async with (
        open_training(settings) as training,
        Health(learning_proofs(training.store, training.scheduler)) as health,
        open_page(settings.operator, training.metrics, health.routes()),
        Watchdog(training.metrics),
    ):
        await _train(settings, training, deadline)


async def _train(settings: Settings, training: Training, deadline: StopDeadline) -> None:
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()

    def stop() -> None:
        deadline.start()
        stopping.set()

    for signal_ in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # event loops on Windows have no signal handlers
            loop.add_signal_handler(signal_, stop)
    watch_store(training.metrics, training.store)
    await record_start(AuditTrail(settings.storage), settings)
    training.scheduler.start()
    status.info("training for the other processes")
    await stopping.wait()
