"""Composes a process that only trains: store, encoder, trainer and jobs, without Discord and a generator.

Several processes on one PostgreSQL database elect one of them to train. A process of this kind asks for the
training and gets it, so rounds take no processor time from the processes that answer. When it ends, one of
those takes over.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from bot.app.learning_parts import Base, open_jobs, open_learning
from bot.background.scheduler import LearningScheduler
from bot.config import ConfigError, Settings
from bot.memory import MemberMemory
from bot.metrics import Metrics
from personalization.encoding.encoder import Encoder
from personalization.encoding.loading import load_encoder
from storage.clock import utcnow
from storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """The parts of a process that only trains."""

    store: Store
    scheduler: LearningScheduler
    metrics: Metrics


@asynccontextmanager
async def open_training(
    settings: Settings,
    *,
    encoder: Encoder | None = None,
    trainer_executor: Executor | None = None,
    now: Callable[[], datetime] = utcnow,
) -> AsyncIterator[Training]:
    """Open every part, and close every part at the end; the caller starts the scheduler.

    Args:
        settings: All sections.
        encoder: Replaces the configured one.
        trainer_executor: Where heads are solved; None: in a process that the trainer starts.
        now: The clock of storing and learning, aware UTC.

    Raises:
        ConfigError: The data are in SQLite, which belongs to one process.
        StorageError: Data or keys cannot be opened, or there are none yet.
        EncoderError: The encoder is missing or damaged.
    """
    if not settings.storage.url:
        raise ConfigError(
            "[storage] url: expected a PostgreSQL database, found none. With SQLite there is one process, "
            "which answers and trains: `simpatico run`"
        )
    async with AsyncExitStack() as stack:
        store = await Store.open(settings.storage, now=now, may_create=False)
        stack.push_async_callback(store.close)
        store.coordination.only_trains = True
        await store.tallies.share()  # it keeps the counts of a process that ends for the next one
        memory, is_configured = MemberMemory(store.member_id), encoder is None
        base = Base(
            settings=settings, store=store, memory=memory, stack=stack, rng=np.random.default_rng(), now=now
        )
        if encoder is None:
            learning = settings.personalization
            encoder = await asyncio.to_thread(load_encoder, learning.encoder, learning.device)
        learnt = await open_learning(base, encoder, trainer_executor, is_configured=is_configured)
        metrics = Metrics()
        yield Training(store=store, scheduler=open_jobs(base, learnt, metrics), metrics=metrics)
