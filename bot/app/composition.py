"""Composes a running bot: settings -> store, encoder, generator, ranker, trainer, responder, scheduler.

The only module that imports every part. The command and the playground open a :class:`House` and build a bot
from its parts; when they leave, the parts are closed in reverse order. Tests pass their own generator and
encoder and get the same house.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from bot.app.learning_parts import Base, Learning, open_jobs, open_learning
from bot.app.schedule import counted, retraining
from bot.background.scheduler import LearningScheduler
from bot.background.uplift_reporter import Reporter
from bot.config import Settings
from bot.generation import CandidateGenerator
from bot.generators.factory import create_generator
from bot.generators.model_server.writers import ENDS, SeveralWriters
from bot.generators.packaged_model.manner import persona_of
from bot.memory import MemberMemory
from bot.metrics import Metrics
from bot.moderation.output_filter import OutputFilter
from bot.moderation.toxicity import load_judge
from bot.parts import Parts
from bot.plugins.text_filters import with_filters
from bot.replies.budget import Budget
from bot.replies.candidate_source import CandidateSource
from bot.replies.fair_turns import FairTurns
from bot.replies.faq_answers import Knowledge
from bot.replies.learnt_memory import StyleMeans
from bot.replies.offers import instructions as offered
from bot.replies.responder import Responder
from bot.replies.style_wishes import instructions
from bot.servers.daily_limits import Limits
from bot.servers.server_settings import Guilds
from bot.settings import GeneratorSettings
from personalization.encoding.encoder import Encoder
from personalization.encoding.loading import load_encoder
from personalization.insight.seat_dealer import SeatDealer
from personalization.ranking.dealing import Writer
from personalization.ranking.early_stop import EarlyStop
from personalization.ranking.ranker import Ranker
from personalization.ranking.style_portfolio import StylePortfolio
from personalization.rounds.trainer import Trainer
from storage.clock import utcnow
from storage.maintenance.audit_trail import AuditTrail
from storage.store import Store

log = logging.getLogger(__name__)


def secrets_of(settings: GeneratorSettings) -> list[str]:
    """Return the texts that a reply must not repeat word for word."""
    personas = {persona_of(one): None for one in settings.of_writers().values()}
    own = [style.instruction for style in settings.styles]
    return [*personas, *own, *instructions(), *offered()]


def turns_of(settings: GeneratorSettings) -> int:
    """Return how many answers may be written at once; with a local model one is prepared during another."""
    kinds = {one.kind for one in settings.of_writers().values()}
    return 2 if kinds == {"local"} else settings.at_once


def reads_pictures(settings: GeneratorSettings) -> bool:
    """Return whether every language model reads pictures."""
    return settings.vision and all(one.kind != "local" for one in settings.of_writers().values())


def writers_of(generator: CandidateGenerator) -> Callable[[], Sequence[Writer]]:
    """Return the function that returns the writers that answer at present; none if there is only one."""
    return generator.able if isinstance(generator, SeveralWriters) else tuple


def count_writers(metrics: Metrics, generator: CandidateGenerator) -> None:
    """Register the metrics of several writers."""
    if not isinstance(generator, SeveralWriters):
        return
    for end, about in ENDS.items():
        metrics.counters(
            f"simpatico_writer_{end}",
            about,
            "writer",
            generator.n_ends,
            lambda end=end: {name: ends.get(end, 0) for name, ends in generator.n_ends.items()},
        )


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
        base = Base(settings=settings, store=store, memory=memory, stack=stack, rng=rng, now=now)
        is_configured = encoder is None
        encoder, generator = await _open_models(settings, encoder, generator, progress)
        stack.push_async_callback(generator.close)
        learning = await open_learning(base, encoder, trainer_executor, is_configured=is_configured)
        house = await _open_house(base, learning, generator)
        return_freed_memory()
        yield house


async def _open_house(base: Base, learning: Learning, generator: CandidateGenerator) -> House:
    """Open the parts that reply, schedule and count, on top of those that learn."""
    settings, store, memory = base.settings, base.store, base.memory
    metrics, ranker = Metrics(), learning.ranker
    scheduler = open_jobs(base, learning, metrics)
    await store.tallies.share()
    servers, limits = _open_servers(base)
    budget = Budget(limits, servers, settings.generator.context_tokens)
    responder = await _open_responder(base, learning, generator, budget)
    count_writers(metrics, generator)
    parts = Parts(
        store=store,
        audit=AuditTrail(settings.storage, base.now),
        responder=responder,
        ranker=ranker,
        memory=memory,
        taste=learning.taste,
        arms=learning.arms,
        labels_changed=counted(metrics, scheduler),
        metrics=metrics,
        reporter=Reporter(store.choices, settings.personalization),
        servers=servers,
        limits=limits,
        member_left=retraining(scheduler),
        reads_pictures=reads_pictures(settings.generator),
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


async def _open_responder(
    base: Base, learning: Learning, generator: CandidateGenerator, budget: Budget
) -> Responder:
    """Open the responder with the configured styles, and register its caches for forgetting."""
    written, store, memory = base.settings.generator, base.store, base.memory
    knowledge = Knowledge(store.faq, learning.encoder.frozen, base.settings.faq)
    base.stack.callback(knowledge.close)
    portfolio = StylePortfolio([style.name for style in written.styles])
    turns = FairTurns(turns_of(written))
    early = EarlyStop(learning.ranker, base.settings.personalization, base.rng)
    responder = Responder(
        source=CandidateSource(generator, await _open_filter(base), knowledge, store, budget),
        ranker=learning.ranker,
        store=store,
        dealer=SeatDealer(portfolio, learning.arms, base.rng, writers_of(generator)),
        styles=written.styles,
        n_candidates=written.candidates,
        turns=turns,
        early=early,
        taste=learning.taste,
    )
    responder.help.use_settings(base.settings.distress)
    memory.register("replies", responder)
    memory.register("drafts", responder.drafts)
    memory.register("wishes", responder.wishes)
    memory.register("style means", StyleMeans(portfolio, early.recent))
    memory.register("turns", turns)
    memory.register("embedded questions", knowledge)
    memory.register("prompts read by the model", generator)
    return responder


async def _open_filter(base: Base) -> OutputFilter:
    """Open the output filter, with the toxicity model and the plug-ins where they are configured."""
    model = await asyncio.to_thread(load_judge, base.settings.safety)
    if model is not None:
        base.stack.callback(model.close)
    judge = await asyncio.to_thread(with_filters, model, base.settings.safety.filters)
    return OutputFilter(secrets_of(base.settings.generator), settings=base.settings.safety, judge=judge)


def _open_servers(base: Base) -> tuple[Guilds, Limits]:
    """Open the settings of servers and the daily limits."""
    servers = Guilds(base.store.guild_settings, base.settings)
    base.store.coordination.subscribe(servers.hear)
    base.memory.register("settings of servers", servers)
    limits = Limits(base.store, base.now, tallies=base.store.tallies)
    base.memory.retain(
        "tallies",
        base.store.tallies,
        why="a forget must not be a way to a fresh daily limit, another invitation or a second report",
    )
    return servers, limits
