"""Runs training rounds: read changes after the cursor, label, solve, store, publish. Also rebuilds the prior.

:class:`Trainer` is called by the bot's scheduler and publishes to the ranker. Slow work leaves the event loop
(:mod:`personalization.rounds.off_loop`): labelling and padding run in a thread, solving in a worker process.
The next members are read while a chunk is solved and written.

A round takes members in chunks. Each chunk is written in one transaction with the cursor that covers it, so a
crash repeats at most one chunk. Repeating a chunk is idempotent, because a head is a pure function of prior
and labels. Within a chunk, labels are solved as soon as :data:`SOLVE_BYTES` of features are read, so memory
is bounded whatever the size of the chunk.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from personalization.errors import RoundFailed
from personalization.heads.heads import FeatureSpace, Prior, starter_prior
from personalization.labels.labels import EmojiValence
from personalization.ranking.ranker import Ranker
from personalization.rounds.examples import Labelled, by_server, examples_of, new_heads, pages, read_labels
from personalization.rounds.gathering import MEMBERS_AT_ONCE, FeedbackReader, ahead
from personalization.rounds.off_loop import OffLoop
from personalization.rounds.prior_in_use import PriorInUse
from personalization.rounds.round_results import Batch, ChunkResult, PriorReport, RoundReport
from personalization.rounds.store_protocol import LearningStore
from personalization.rounds.teaching import FittedPrior, teach_buffered
from personalization.settings import LearningSettings
from personalization.solving.gate import learn_heads
from personalization.solving.training import Examples
from storage.clock import utcnow
from storage.failpoints import failpoint
from storage.records import NewHead, RoundRecord
from storage.wording import counted

log = logging.getLogger(__name__)

SOLVE_BYTES = 32 * 2**20
"""Bytes of features that are read before they are solved; one batch of members may exceed it."""
CHUNK_TRIES = 5
BATCHES_AHEAD = 3
"""Batches that are read before they are needed; one is about 6.5 MB."""
LABELS_PER_MEMBER = 1000
"""Newest replies of a member whose feedback counts; bounds the n x n system of the solve."""
PAIRS_PER_MEMBER = 200
"""Latest choices of a member between two replies that count, in addition to :data:`LABELS_PER_MEMBER`."""
PRIOR_MEMBER_CAP = 20.0
"""Largest total weight of one member in the fit of the prior, in thumbs."""
PRIOR_TRIES = 5


class Trainer:
    """Runs rounds and rebuilds of the prior, one at a time.

    Args:
        store: Source of feedback and destination of heads.
        ranker: Receives each publication of heads and each prior.
        settings: Standard deviations, thresholds, device.
        features: The features in use; rows stored for other features are skipped.
        valence: Valence of emoji before anything is learnt.
        executor: Solves in place of a worker process; the caller closes it. None starts a worker process.
        starter: Prior in use until a population prior is learnt, and centre of that fit. None means a plain
            prior.
        now: The clock, aware UTC. Its method ``steady``, if any, measures durations in place of the host's.
    """

    def __init__(
        self,
        store: LearningStore,
        ranker: Ranker,
        settings: LearningSettings,
        features: FeatureSpace,
        valence: EmojiValence,
        executor: Executor | None = None,
        *,
        starter: Prior | None = None,
        now: Callable[[], datetime] = utcnow,
    ) -> None:
        self._store = store
        self._ranker = ranker
        self._settings = settings
        self._features = features
        self._valence = valence
        self._off_loop = OffLoop(executor)
        self._now = now
        self._steady_s: Callable[[], float] = getattr(now, "steady", time.monotonic)
        self._reader = FeedbackReader(features, self._off_loop.in_thread, self._off_loop.in_worker)
        own = starter_prior(features, settings) if starter is None else starter
        self._prior = PriorInUse(store, ranker, features, own, now)
        self._lock = asyncio.Lock()
        self._closing = False
        self.round_ended: Callable[[RoundReport], None] = lambda report: None
        """Called after each round that learnt something."""

    @property
    def worker_cpu_s(self) -> float:
        """Seconds of CPU time that the worker process has used."""
        return self._off_loop.worker_cpu_s

    async def restore(self) -> None:
        """Give the stored prior to the ranker; call once at the start.

        Raises:
            StorageError: Reading failed.
        """
        async with self._lock:
            await self._prior.current()

    async def use_starter(self, starter: Prior, *, store: bool) -> bool:
        """Replace the starter prior by one that was fitted on this machine. Idempotent.

        Args:
            starter: The starter, for the features in use.
            store: Whether to store it; only the process that trains may.

        Returns:
            Whether it differs from the starter before, so that the prior has to be rebuilt around it.

        Raises:
            StorageError: Reading or writing failed, or another process is the trainer.
        """
        async with self._lock:
            return await self._prior.use_starter(starter, store=store)

    async def warm_up(self) -> None:
        """Start the worker process early, so that the first round does not wait for it.

        Raises:
            RoundFailed: The process died.
        """
        one = np.ones(1, dtype=np.float32)
        nothing = Examples.pad([(np.zeros((1, self._features.dim), dtype=np.float32), one, one)])
        await self._off_loop.in_worker(learn_heads, nothing, self._prior.starter, self._settings.device)

    async def run_round(self) -> RoundReport:
        """Learn from all feedback that changed since the last round. A second call waits for the first.

        If a member leaves while a chunk is learnt, the chunk is discarded and learnt again. Otherwise a
        member who forgets and agrees again meanwhile would get a head solved from forgotten labels.

        Raises:
            RoundFailed: The worker process died, or members left in every try. Chunks already written stay,
                and the next round continues after them.
            StorageError: Reading or writing failed.
        """
        async with self._lock:
            started_s = self._steady_s()
            report, n_tries, done = RoundReport(), 0, False
            while not (done or self._closing):
                before = report.n_members
                report, done = await self._learn_due(report)
                n_tries = n_tries + 1 if report.n_members == before else 1
                if n_tries == CHUNK_TRIES and not (done or self._closing):
                    raise RoundFailed(
                        "expected a chunk during which no member leaves, found members leaving in each of"
                        f" {CHUNK_TRIES} tries; the chunk was not stored, and the next round tries again"
                    )
            report = replace(report, seconds=self._steady_s() - started_s)
        if report.n_members:
            counts = [
                (report.n_members, "member"),
                (report.n_labels, "label"),
                (report.n_rolled_back, "head"),
            ]
            words = ", ".join(counted(n, noun) for n, noun in counts)
            log.info("round %d: %s rolled back", report.version, words)
            self.round_ended(report)
        return report

    async def rebuild_prior(self) -> PriorReport:
        """Fit the population prior again to all members with feedback, or return to the starter prior.

        If a member leaves meanwhile, the fitted prior is discarded and fitted again without them.

        Raises:
            RoundFailed: The worker process died, or members left in every try. The prior in use stays.
            StorageError: Reading or writing failed.
        """
        async with self._lock:
            before = await self._prior.current()
            for _ in range(PRIOR_TRIES):
                erasures = self._store.erasures
                name = secrets.token_hex(8)
                n_buffered = await self._reader.send_teachers(
                    self._store,
                    name,
                    self._settings,
                    self._now() - timedelta(days=self._settings.prior_min_days),
                    lambda: self._closing,
                )
                if self._closing:  # the sample may be incomplete
                    return PriorReport(before.prior_id, 0, 0, False)
                fitted = await self._teach(name, n_buffered) or FittedPrior(self._prior.starter, 0, 0)
                if await self._prior.record(fitted.prior, fitted.n_members, erasures):
                    break
            else:
                raise RoundFailed(
                    f"expected a fit during which no member leaves, found members leaving in each of"
                    f" {PRIOR_TRIES} tries; the prior was not stored, and the next rebuild tries again"
                )
            await self._ranker.use_prior(fitted.prior)
        prior_id = fitted.prior.prior_id
        return PriorReport(prior_id, fitted.n_members, fitted.n_labels, prior_id != before.prior_id)

    def stop_soon(self) -> None:
        """Stop a running round after its current chunk, and a running rebuild before it stores.

        Later rounds and rebuilds return without work. Call it before awaiting a running round;
        :meth:`close` must still follow.
        """
        self._closing = True

    async def close(self) -> None:
        """Wait for the current chunk, then end the worker process and the thread. Idempotent."""
        self.stop_soon()
        async with self._lock:
            await self._off_loop.close()

    # --- one chunk of a round -----------------------------------------------------------------------------

    async def _learn_due(self, report: RoundReport) -> tuple[RoundReport, bool]:
        """Learn and store all that is due, chunk by chunk.

        Returns:
            The report with the stored chunks, and whether all was learnt. If not, a member left: the chunk
                under way was not stored, because an erasure deletes the learnt prior and labels.
        """
        erasures = self._store.erasures  # before the prior and all labels are read
        prior = await self._prior.current()
        waiting, result = list[Labelled](), ChunkResult()
        async with aclosing(ahead(self._due(prior), BATCHES_AHEAD)) as batches:
            async for batch in batches:
                waiting += batch.labelled
                if batch.is_last or sum(member.X.nbytes for member in waiting) >= SOLVE_BYTES:
                    await self._solve(waiting, prior, result)
                    waiting = []
                if not batch.is_last:
                    continue
                stored = await self._store_chunk(batch, result, report, erasures)
                if stored is None:
                    return report, False
                report, result = stored, ChunkResult()
                if self._closing:
                    break
        return report, True

    async def _due(self, prior: Prior) -> AsyncGenerator[Batch]:
        """Yield the labels of all members who are due, chunk by chunk."""
        cursor, n_changed = await self._store.cursor(), MEMBERS_AT_ONCE
        while n_changed == MEMBERS_AT_ONCE:
            changed = await self._store.changed_after(cursor, MEMBERS_AT_ONCE)
            if not changed:
                return
            begun = Batch(changed, self._now())
            # Read after the list of due members: a change of a server's emoji makes members due again, with a
            # sequence number above this cursor.
            valence = (await self._valence_now()).learnt(prior.meanings)
            member_ids = [member.member_id for member in changed]
            async for batch in self._reader.read(
                self._store, member_ids, LABELS_PER_MEMBER, pairs=PAIRS_PER_MEMBER
            ):
                labelled = await self._off_loop.in_thread(read_labels, batch, valence, self._settings)
                yield replace(begun, labelled=labelled)
            yield replace(begun, is_last=True)
            cursor, n_changed = changed[-1].changed_seq, len(changed)

    async def _store_chunk(
        self, chunk: Batch, result: ChunkResult, report: RoundReport, erasures: int
    ) -> RoundReport | None:
        """Store a chunk and publish it; None if a member left meanwhile, in which case nothing is stored."""
        changed = chunk.changed
        record = RoundRecord(
            started_at=chunk.started_at,
            finished_at=self._now(),
            cursor=changed[-1].changed_seq,
            n_members=len(changed),
            n_labels=result.n_labels,
            n_rolled_back=sum(head.rolled_back for head in result.heads),
            device=result.device,
        )
        failpoint("rounds.solved")
        version = await self._store.record_round(record, result.heads, erasures=erasures)
        if version is None:
            return None
        failpoint("rounds.stored")
        # Includes members who were erased meanwhile: the ranker reads the store again and finds nothing.
        await self._ranker.publish([member.member_id for member in changed])
        return RoundReport(
            version=version,
            n_members=report.n_members + len(changed),
            n_labels=report.n_labels + result.n_labels,
            n_removed=report.n_removed + result.n_removed,
            n_rolled_back=report.n_rolled_back + record.n_rolled_back,
            n_unsolved=report.n_unsolved + result.n_unsolved,
            device=result.device or report.device,
        )

    async def _solve(self, members: Sequence[Labelled], prior: Prior, result: ChunkResult) -> None:
        """Solve these members' heads and add them to the chunk's result."""
        bare = [NewHead(member.member_id, None, 0) for member in members if not len(member.y)]
        result.heads += bare
        result.n_removed += len(bare)
        able = [member for member in members if len(member.y)]
        for guild, some in by_server(able, prior.shifts).items():
            around = prior.around(guild)
            for page in pages(some):
                examples = await self._off_loop.in_thread(examples_of, page)
                bank, solved = await self._off_loop.on_examples(
                    learn_heads, examples, around, self._settings.device
                )
                result.heads += await self._off_loop.in_thread(new_heads, page, bank)
                result.n_labels += solved.n_examples
                result.n_unsolved += solved.n_unsolved
                result.device = solved.device

    # --- prior --------------------------------------------------------------------------------------------

    async def _valence_now(self) -> EmojiValence:
        """Combine the valence of emoji with what servers have set for their custom emoji."""
        return self._valence.with_guilds(await self._store.emoji_of_guilds())

    async def _teach(self, name: str, n_buffered: int) -> FittedPrior | None:
        if not n_buffered:
            return None
        return await self._off_loop.in_worker(
            teach_buffered,
            name,
            n_buffered,
            self._prior.starter,
            await self._valence_now(),
            self._settings,
            member_cap=PRIOR_MEMBER_CAP,
            n_embedding=self._features.n_embedding,
        )
