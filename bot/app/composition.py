"""Puts the parts together: settings -> store, encoder, generator, ranker, trainer, responder, scheduler.

The only module that knows every part. The command and the playground open a :class:`House`, build a bot from
its parts, and leave; on the way out everything is closed in the reverse order. Tests pass their own generator
and encoder and get the same house.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from bot.background.round_curves import RoundCurves
from bot.background.scheduler import LearningScheduler, Work
from bot.background.trainer_election import FOLLOW, elected, follow
from bot.background.uplift_reporter import Reporter
from bot.client import Parts
from bot.config import Settings
from bot.generation import CandidateGenerator
from bot.generators.factory import create_generator
from bot.metrics import Metrics
from bot.moderation.output_filter import OutputFilter
from bot.moderation.toxicity import load_judge
from bot.replies.candidate_source import CandidateSource
from bot.replies.fair_turns import FairTurns
from bot.replies.faq_answers import Knowledge
from bot.replies.responder import Responder
from bot.replies.style_wishes import instructions
from bot.servers.daily_limits import Limits
from bot.servers.server_settings import Guilds
from bot.settings import GeneratorSettings
from personalization.encoding.encoder import Encoder
from personalization.encoding.features import FeatureMap
from personalization.encoding.loading import load_encoder
from personalization.encoding.reembedding import Reembedder
from personalization.errors import HeadDamaged
from personalization.heads.starter import load_starter
from personalization.insight.taste import TasteReader
from personalization.labels.labels import EmojiValence
from personalization.ranking.ranker import Ranker
from personalization.ranking.style_portfolio import StylePortfolio
from personalization.rounds.trainer import Trainer
from personalization.settings import LearningSettings
from storage.errors import SealBroken
from storage.records import HeadRecord, MemberId
from storage.store import Store, utcnow

log = logging.getLogger(__name__)


def secrets_of(settings: GeneratorSettings) -> list[str]:
    """What a reply must not repeat word for word."""
    return [settings.persona, *(style.instruction for style in settings.styles), *instructions()]


def turns_of(settings: GeneratorSettings) -> int:
    """How many answers may be under way: with a local model one is written while the next is made ready."""
    return settings.at_once if settings.kind == "openai" else 2


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """All parts of a running Simpatico, without Discord."""

    store: Store
    generator: CandidateGenerator
    ranker: Ranker
    trainer: Trainer
    scheduler: LearningScheduler
    parts: Parts


@asynccontextmanager
async def open_house(
    settings: Settings,
    *,
    encoder: Encoder | None = None,
    generator: CandidateGenerator | None = None,
    trainer_executor: Executor | None = None,
    seed: int | None = None,
    progress: bool = False,
    now: Callable[[], datetime] = utcnow,
) -> AsyncIterator[House]:
    """Open every part, and close every part at the end.

    Args:
        settings: All sections.
        encoder: In place of the configured one.
        generator: In place of the configured one.
        trainer_executor: Where heads are solved, in place of a process of the trainer's own.
        seed: Makes exploration reproducible; None draws from the system.
        progress: Show progress bars while models are prepared.
        now: The clock of what is stored and learnt, aware UTC.

    Raises:
        StorageError: Data or keys cannot be opened.
        EncoderError: The encoder is missing or damaged.
        GeneratorError: The language model is missing.
        ToxicityError: The model for toxicity is missing, or says nothing that can be used.
    """
    async with AsyncExitStack() as stack:
        store = await Store.open(settings.storage, now=now)
        stack.push_async_callback(store.close)
        encoder, generator = await _open_models(settings, encoder, generator, progress)
        stack.push_async_callback(generator.close)
        rng = np.random.default_rng(seed)
        features = FeatureMap(encoder)
        valence = EmojiValence(settings.personalization.emoji)
        ranker, trainer = await _open_learning(
            settings.personalization, store, features, valence, rng, trainer_executor, stack, now
        )
        metrics = Metrics()
        scheduler = _open_scheduler(
            settings, store, trainer, Reembedder(store.outdated, features), metrics, stack
        )
        knowledge = Knowledge(store.faq, encoder.frozen, settings.faq)
        stack.callback(knowledge.close)
        output_filter = await _open_filter(settings, stack)
        responder = _responder(settings.generator, generator, ranker, store, rng, output_filter, knowledge)
        follow(store.coordination, ranker, responder, scheduler)
        servers = Guilds(store.guild_settings, settings)
        store.coordination.subscribe(servers.hear)
        parts = Parts(
            store=store,
            responder=responder,
            ranker=ranker,
            taste=TasteReader(store.learning, ranker, features, valence, settings.personalization),
            labels_changed=_counted(metrics, scheduler),
            metrics=metrics,
            reporter=Reporter(store.choices, settings.personalization),
            servers=servers,
            limits=Limits(store, now),
            member_left=lambda: scheduler.mark_due("prior", "round"),
            reads_pictures=settings.generator.kind == "openai" and settings.generator.vision,
            generator_name=generator.name,
            encoder_name=encoder.encoder_id,
        )
        scheduler.add(
            "departures", metrics.watched("departures", _erasing_departed(parts, knowledge)), 3600.0
        )
        scheduler.add("expire_reports", metrics.watched("expire_reports", store.reports.expire), 3600.0)
        yield House(
            store=store,
            generator=generator,
            ranker=ranker,
            trainer=trainer,
            scheduler=scheduler,
            parts=parts,
        )


async def _open_models(
    settings: Settings,
    encoder: Encoder | None,
    generator: CandidateGenerator | None,
    progress: bool,
) -> tuple[Encoder, CandidateGenerator]:
    """The encoder and the generator that are given, or the configured ones."""
    if encoder is None:
        learning = settings.personalization
        encoder = await asyncio.to_thread(load_encoder, learning.encoder, learning.device)
    if generator is None:
        generator = await asyncio.to_thread(create_generator, settings.generator, progress=progress)
    return encoder, generator


def _responder(
    written: GeneratorSettings,
    generator: CandidateGenerator,
    ranker: Ranker,
    store: Store,
    rng: np.random.Generator,
    output_filter: OutputFilter,
    knowledge: Knowledge,
) -> Responder:
    """What decides replies, with the styles that are configured."""
    return Responder(
        source=CandidateSource(generator, output_filter, knowledge, store),
        ranker=ranker,
        store=store,
        portfolio=StylePortfolio([style.name for style in written.styles], rng),
        styles=written.styles,
        n_candidates=written.candidates,
        turns=FairTurns(turns_of(written)),
        context_tokens=written.context_tokens,
    )


async def _open_filter(settings: Settings, stack: AsyncExitStack) -> OutputFilter:
    """What looks at candidates, with the model for toxicity where one is configured."""
    judge = await asyncio.to_thread(load_judge, settings.safety)
    if judge is not None:
        stack.callback(judge.close)
    return OutputFilter(secrets_of(settings.generator), settings=settings.safety, judge=judge)


async def _open_learning(
    settings: LearningSettings,
    store: Store,
    features: FeatureMap,
    valence: EmojiValence,
    rng: np.random.Generator,
    executor: Executor | None,
    stack: AsyncExitStack,
    now: Callable[[], datetime],
) -> tuple[Ranker, Trainer]:
    """The ranker and the trainer that publishes to it, with the stored prior in use."""
    starter = load_starter(features, settings)
    ranker = Ranker(features, settings, load_head=_head_loader(store), prior=starter, rng=rng)
    stack.callback(ranker.close)
    trainer = Trainer(store.learning, ranker, settings, features, valence, executor, starter=starter, now=now)
    stack.push_async_callback(trainer.close)
    await trainer.restore()
    return ranker, trainer


def _head_loader(store: Store) -> Callable[[MemberId], Awaitable[HeadRecord | None]]:
    """Read heads, and say in the ranker's words when the checksum of one does not hold."""

    async def load(member_id: MemberId) -> HeadRecord | None:
        try:
            return await store.learning.head_of(member_id)
        except SealBroken as exc:
            raise HeadDamaged(str(exc)) from exc

    return load


def _counted(metrics: Metrics, scheduler: LearningScheduler) -> Callable[[int], None]:
    """New labels are counted, and enough of them start a round early."""

    def labels_changed(count: int) -> None:
        metrics.labels(count)
        scheduler.labels_changed(count)

    return labels_changed


def _erasing_departed(parts: Parts, knowledge: Knowledge) -> Work:
    """Delete the data of servers that were left, and have memory and prior follow."""

    async def erase_departed() -> None:
        if await parts.store.departures.erase_due(parts.ranker.drop) is not None:
            knowledge.clear()
            parts.responder.member_left()
            parts.member_left()
            parts.servers.drop_all()

    return erase_departed


def _open_scheduler(
    settings: Settings,
    store: Store,
    trainer: Trainer,
    reembedder: Reembedder,
    metrics: Metrics,
    stack: AsyncExitStack,
) -> LearningScheduler:
    """What runs by itself, its rounds measured and drawn; on the way out a round ends after its chunk."""
    run_round = metrics.watched("round", trainer.run_round)
    if settings.operator.curves_dir:
        curves = RoundCurves(Path(settings.operator.curves_dir))
        stack.callback(curves.close)
        run_round = curves.drawn(run_round)
    scheduler = _schedule(settings.personalization, store, trainer, reembedder, metrics, run_round)
    stack.push_async_callback(scheduler.stop)
    stack.callback(reembedder.stop_soon)
    stack.callback(trainer.stop_soon)  # comes first on the way out
    return scheduler


def _schedule(
    settings: LearningSettings,
    store: Store,
    trainer: Trainer,
    reembedder: Reembedder,
    metrics: Metrics,
    run_round: Work,
) -> LearningScheduler:
    """What runs by itself, in the order in which it runs when several are due."""
    coordination = store.coordination
    return LearningScheduler(
        {
            FOLLOW: (trainer.restore, 3600.0),
            "reembed": (elected(coordination, metrics.watched("reembed", reembedder.run)), 86400.0),
            "prior": (
                elected(coordination, metrics.watched("prior", trainer.rebuild_prior)),
                settings.prior_every_s,
            ),
            "round": (elected(coordination, run_round, ask=True), settings.round_every_s),
            "expire_texts": (
                elected(coordination, metrics.watched("expire_texts", store.replies.expire_texts)),
                3600.0,
            ),
            "settle": (store.feedback.settle, 30.0),
            "report": (metrics.watched("report", Reporter(store.choices, settings).run), 86400.0),
        },
        early="round",
        early_labels=settings.round_min_labels,
    )
