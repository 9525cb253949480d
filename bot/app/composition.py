"""Composes a running bot: settings -> store, encoder, generator, ranker, trainer, responder, scheduler.

The only module that imports every part. The command and the playground open a :class:`House` and build a bot
from its parts; when they leave, the parts are closed in reverse order. Tests pass their own generator and
encoder and get the same house.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from bot.app.schedule import counted, open_scheduler, retraining
from bot.background.scheduler import LearningScheduler
from bot.background.starter_fitting import StarterFitting
from bot.background.trainer_election import follow
from bot.background.uplift_reporter import Reporter
from bot.config import Settings
from bot.generation import CandidateGenerator
from bot.generators.factory import create_generator
from bot.generators.packaged_model.manner import persona_of
from bot.memory import MemberMemory
from bot.metrics import Metrics
from bot.moderation.output_filter import OutputFilter
from bot.moderation.toxicity import load_judge
from bot.parts import Parts
from bot.replies.budget import Budget
from bot.replies.candidate_source import CandidateSource
from bot.replies.fair_turns import FairTurns
from bot.replies.faq_answers import Knowledge
from bot.replies.learnt_memory import HeadCache, StyleMeans
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
from personalization.heads.heads import Prior
from personalization.heads.kept_starter import KeptStarter
from personalization.heads.starter import configured, find_starter, load_starter
from personalization.insight.taste import TasteReader
from personalization.labels.labels import EmojiValence
from personalization.ranking.ranker import Ranker
from personalization.ranking.style_portfolio import StylePortfolio
from personalization.rounds.trainer import Trainer
from storage.clock import utcnow
from storage.errors import SealBroken
from storage.maintenance.audit_trail import AuditTrail
from storage.records import HeadRecord, MemberId
from storage.store import Store

log = logging.getLogger(__name__)


def secrets_of(settings: GeneratorSettings) -> list[str]:
    """Return the texts that a reply must not repeat word for word."""
    return [persona_of(settings), *(style.instruction for style in settings.styles), *instructions()]


def turns_of(settings: GeneratorSettings) -> int:
    """Return how many answers may be written at once; with a local model one is prepared during another."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    """Shared inputs of all parts: settings, store, registry of member data, clock, chance, cleanup."""

    settings: Settings
    store: Store
    memory: MemberMemory
    stack: AsyncExitStack
    rng: np.random.Generator
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Learning:
    """The parts that rank and learn."""

    encoder: Encoder
    features: FeatureMap
    valence: EmojiValence
    ranker: Ranker
    trainer: Trainer
    kept_starter: KeptStarter | None


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
        encoder: Replaces the configured one.
        generator: Replaces the configured one.
        trainer_executor: Where heads are solved; None: in a process that the trainer starts.
        seed: Makes exploration reproducible; None draws from the system.
        progress: Show progress bars while models are prepared.
        now: The clock of storing and learning, aware UTC.

    Raises:
        StorageError: Data or keys cannot be opened.
        EncoderError: The encoder is missing or damaged.
        GeneratorError: The language model is missing.
        ToxicityError: The toxicity model is missing, or its labels cannot be used.
    """
    async with AsyncExitStack() as stack:
        store = await Store.open(settings.storage, now=now)
        stack.push_async_callback(store.close)
        memory, rng = MemberMemory(store.member_id), np.random.default_rng(seed)
        base = _Base(settings=settings, store=store, memory=memory, stack=stack, rng=rng, now=now)
        is_configured = encoder is None
        encoder, generator = await _open_models(settings, encoder, generator, progress)
        stack.push_async_callback(generator.close)
        learning = await _open_learning(base, encoder, trainer_executor, is_configured=is_configured)
        house = await _open_house(base, learning, generator)
        return_freed_memory()
        yield house


async def _open_house(base: _Base, learning: _Learning, generator: CandidateGenerator) -> House:
    """Open the parts that reply, schedule and count, on top of those that learn."""
    settings, store, memory = base.settings, base.store, base.memory
    metrics, ranker = Metrics(), learning.ranker
    fitting = _starter_fitting(base, learning)
    scheduler = open_scheduler(
        settings,
        store,
        learning.trainer,
        Reembedder(store.outdated, learning.features),
        metrics=metrics,
        memory=memory,
        stack=base.stack,
        starter=fitting,
    )
    servers, limits = _open_servers(base)
    budget = Budget(limits, servers, settings.generator.context_tokens)
    responder = await _open_responder(base, learning, generator, budget)
    follow(store.coordination, ranker, memory, scheduler)
    parts = Parts(
        store=store,
        audit=AuditTrail(settings.storage, base.now),
        responder=responder,
        ranker=ranker,
        memory=memory,
        taste=TasteReader(
            store.learning, ranker, learning.features, learning.valence, settings.personalization
        ),
        labels_changed=counted(metrics, scheduler),
        metrics=metrics,
        reporter=Reporter(store.choices, settings.personalization),
        servers=servers,
        limits=limits,
        member_left=retraining(scheduler),
        reads_pictures=settings.generator.kind == "openai" and settings.generator.vision,
        generator_name=generator.name,
        encoder_name=learning.encoder.encoder_id,
    )
    return House(
        store=store,
        generator=generator,
        ranker=ranker,
        trainer=learning.trainer,
        scheduler=scheduler,
        parts=parts,
    )


async def _open_models(
    settings: Settings,
    encoder: Encoder | None,
    generator: CandidateGenerator | None,
    progress: bool,
) -> tuple[Encoder, CandidateGenerator]:
    """Return the encoder and the generator that are given, or load the configured ones."""
    if encoder is None:
        learning = settings.personalization
        encoder = await asyncio.to_thread(load_encoder, learning.encoder, learning.device)
    if generator is None:
        generator = await asyncio.to_thread(create_generator, settings.generator, progress=progress)
    return encoder, generator


def return_freed_memory() -> None:
    """Return to the system what loading has freed, about 10 MB; glibc would keep it."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


async def _open_learning(
    base: _Base, encoder: Encoder, executor: Executor | None, *, is_configured: bool
) -> _Learning:
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
    return _Learning(
        encoder=encoder,
        features=features,
        valence=valence,
        ranker=ranker,
        trainer=trainer,
        kept_starter=kept,
    )


def _starter_fitting(base: _Base, learning: _Learning) -> StarterFitting | None:
    """Make what fits the starter of the configured encoder; None where the starter that ships answers."""
    settings, kept, trainer = base.settings.personalization, learning.kept_starter, learning.trainer
    if kept is None or (kept.read() is None and find_starter(learning.features, settings) is not None):
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


async def _open_responder(
    base: _Base, learning: _Learning, generator: CandidateGenerator, budget: Budget
) -> Responder:
    """Open the responder with the configured styles, and register its caches for forgetting."""
    written, store, memory = base.settings.generator, base.store, base.memory
    knowledge = Knowledge(store.faq, learning.encoder.frozen, base.settings.faq)
    base.stack.callback(knowledge.close)
    portfolio = StylePortfolio([style.name for style in written.styles], base.rng)
    turns = FairTurns(turns_of(written))
    responder = Responder(
        source=CandidateSource(generator, await _open_filter(base), knowledge, store, budget),
        ranker=learning.ranker,
        store=store,
        portfolio=portfolio,
        styles=written.styles,
        n_candidates=written.candidates,
        turns=turns,
    )
    responder.help.use_settings(base.settings.distress)
    memory.register("replies", responder)
    memory.register("drafts", responder.drafts)
    memory.register("wishes", responder.wishes)
    memory.register("style means", StyleMeans(portfolio))
    memory.register("turns", turns)
    memory.register("embedded questions", knowledge)
    memory.register("prompts read by the model", generator)
    return responder


async def _open_filter(base: _Base) -> OutputFilter:
    """Open the output filter, with the toxicity model where one is configured."""
    judge = await asyncio.to_thread(load_judge, base.settings.safety)
    if judge is not None:
        base.stack.callback(judge.close)
    return OutputFilter(secrets_of(base.settings.generator), settings=base.settings.safety, judge=judge)


def _open_servers(base: _Base) -> tuple[Guilds, Limits]:
    """Open the settings of servers and the daily limits."""
    servers = Guilds(base.store.guild_settings, base.settings)
    base.store.coordination.subscribe(servers.hear)
    base.memory.register("settings of servers", servers)
    limits = Limits(base.store, base.now)
    base.memory.retain("daily limits", limits, why="a forget must not be a way to a fresh daily limit")
    return servers, limits
