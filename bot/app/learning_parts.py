"""Opens the parts that rank and learn: features, ranker, trainer, jobs, and the fit of a starter prior."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from bot.app.schedule import open_scheduler
from bot.background.scheduler import LearningScheduler
from bot.background.starter_fitting import StarterFitting
from bot.background.trainer_election import follow
from bot.config import Settings
from bot.memory import MemberMemory
from bot.metrics import Metrics
from bot.replies.learnt_memory import ArmCounts, HeadCache
from personalization.encoding.encoder import Encoder
from personalization.encoding.features import FeatureMap
from personalization.encoding.reembedding import Reembedder
from personalization.errors import HeadDamaged
from personalization.heads.heads import Prior
from personalization.heads.kept_starter import KeptStarter
from personalization.heads.starter import configured, find_starter, load_starter
from personalization.insight.arm_book import ArmBook
from personalization.insight.taste import TasteReader
from personalization.labels.labels import EmojiValence
from personalization.ranking.ranker import Ranker
from personalization.rounds.trainer import Trainer
from storage.errors import SealBroken
from storage.records import HeadRecord, MemberId
from storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """Shared inputs of all parts: settings, store, registry of member data, clock, chance, cleanup."""

    settings: Settings
    store: Store
    memory: MemberMemory
    stack: AsyncExitStack
    rng: np.random.Generator
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """The parts that rank and learn."""

    encoder: Encoder
    features: FeatureMap
    valence: EmojiValence
    ranker: Ranker
    trainer: Trainer
    taste: TasteReader
    arms: ArmBook
    kept_starter: KeptStarter | None


async def open_learning(
    base: Base, encoder: Encoder, executor: Executor | None, *, is_configured: bool
) -> Learning:
    """Open the ranker and the trainer that publishes to it, with the stored prior in use."""
    settings, store, stack = base.settings.personalization, base.store, base.stack
    features, valence = FeatureMap(encoder), EmojiValence(settings.emoji)
    kept = KeptStarter(base.settings.generator.starter_dir, features) if is_configured else None
    starter = load_starter(features, settings, kept)
    ranker = Ranker(
        features,
        settings,
        load_head=_head_loader(store),
        prior=starter,
        rng=base.rng,
        catch_up=store.coordination.catch_up,
    )
    base.memory.register("heads", HeadCache(ranker))
    stack.callback(ranker.close)
    trainer = Trainer(
        store.learning, ranker, settings, features, valence, executor, starter=starter, now=base.now
    )
    stack.push_async_callback(trainer.close)
    await trainer.restore()
    taste = TasteReader(store.learning, ranker, features, valence, settings)
    arms = ArmBook(store.choices, taste.labelling, min_members=settings.prior_min_members)
    base.memory.register("arm counts", ArmCounts(arms))
    return Learning(
        encoder=encoder,
        features=features,
        valence=valence,
        ranker=ranker,
        trainer=trainer,
        taste=taste,
        arms=arms,
        kept_starter=kept,
    )


def open_jobs(base: Base, learning: Learning, metrics: Metrics) -> LearningScheduler:
    """Make the scheduler with all jobs, which also follows the other processes; the caller starts it.

    Raises:
        ConfigError: The curves of rounds cannot be written.
    """
    scheduler = open_scheduler(
        base.settings,
        base.store,
        learning.trainer,
        Reembedder(base.store.outdated, learning.features),
        arms=learning.arms,
        metrics=metrics,
        memory=base.memory,
        stack=base.stack,
        starter=starter_fitting(base, learning),
    )
    follow(base.store.coordination, learning.ranker, base.memory, scheduler)
    return scheduler


def starter_fitting(base: Base, learning: Learning) -> StarterFitting | None:
    """Make what fits the starter of the configured encoder; None where the starter that ships answers."""
    settings, kept, trainer = base.settings.personalization, learning.kept_starter, learning.trainer
    if kept is None or not (kept.is_there() or find_starter(learning.features, settings) is None):
        return None

    async def publish(fitted: Prior, store: bool) -> bool:
        return await trainer.use_starter(configured(fitted, learning.features, settings), store=store)

    return StarterFitting(
        settings.encoder,
        settings.device,
        kept,
        fits=settings.fit_starter,
        lead=base.store.coordination.lead,
        publish=publish,
    )


def _head_loader(store: Store) -> Callable[[MemberId], Awaitable[HeadRecord | None]]:
    """Return the reader of heads; a head with a wrong checksum raises the ranker's own error."""

    async def load(member_id: MemberId) -> HeadRecord | None:
        try:
            return await store.learning.head_of(member_id)
        except SealBroken as exc:
            raise HeadDamaged(str(exc)) from exc

    return load
