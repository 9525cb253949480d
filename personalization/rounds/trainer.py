"""One round of learning: read after the cursor, label, solve, write, publish; and now and then a new prior.

The only module here, with the evaluation, that talks to storage. Everything slow leaves the event loop:
labelling and padding run in a thread, solving in a worker process. Members are taken in chunks, each written
in one transaction with the cursor that covers it, so that a crash repeats at most one chunk. A repeated chunk
changes nothing, because a head is a pure function of prior and labels. Within a chunk the labels of a few
members are read at a time and solved as soon as :data:`SHEAF_BYTES` of them wait, so that memory stays
bounded whatever the chunk holds.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from personalization.errors import HeadDamaged, HeadOutdated, RoundFailed
from personalization.heads.heads import FeatureSpace, Prior, starter_prior
from personalization.labels.labels import EmojiValence
from personalization.ranking.ranker import Ranker
from personalization.rounds.examples import Labelled, by_server, examples_of, new_heads, pages, read_labels
from personalization.rounds.gathering import MEMBERS_AT_ONCE, Gatherer
from personalization.rounds.off_loop import OffLoop
from personalization.rounds.round_results import PriorReport, RoundReport
from personalization.rounds.store_protocol import LearningStore
from personalization.rounds.teaching import Lesson, teach_seated
from personalization.settings import LearningSettings
from personalization.solving.gate import learn_heads
from personalization.solving.training import Examples
from storage.failpoints import failpoint
from storage.records import ChangedMember, NewHead, PriorRecord, RoundRecord

log = logging.getLogger(__name__)

SHEAF_BYTES = 32 * 2**20
"""Features held at once, and what one reading of few members adds to them."""
CHUNK_TRIES = 5
LABELS_PER_MEMBER = 1000
"""A member's feedback on so many replies, the newest, counts. Bounds the n x n system of the solve."""
PAIRS_PER_MEMBER = 200
"""A member's latest choices between two replies that count; as :data:`LABELS_PER_MEMBER`, beside it."""
PRIOR_MEMBER_CAP = 20.0
"""Largest total weight of one member in the prior: twenty thumbs."""
PRIOR_TRIES = 5


@dataclass(slots=True)
class _Learnt:
    """What one chunk learnt so far."""

    heads: list[NewHead] = field(default_factory=list[NewHead])
    n_removed: int = 0
    n_labels: int = 0
    n_unsolved: int = 0
    device: str = ""


def _now() -> datetime:
    return datetime.now(UTC)


class Trainer:
    """Runs rounds and rebuilds the prior, one at a time.

    Args:
        store: Feedback in, heads out.
        ranker: Told what was published.
        settings: Standard deviations, thresholds, device.
        features: What stored features must have been made by.
        valence: What emoji mean.
        executor: Where to solve, closed by its owner; None: a worker process of the trainer's own.
        starter: What answers until members have taught a prior, and what theirs is drawn towards; None: a
            plain one.
        now: The clock, aware UTC.
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
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._store = store
        self._ranker = ranker
        self._settings = settings
        self._features = features
        self._valence = valence
        self._off_loop = OffLoop(executor)
        self._now = now
        self._gatherer = Gatherer(features, self._off_loop.in_thread, self._off_loop.in_worker)
        self._starter = starter_prior(features, settings) if starter is None else starter
        self._lock = asyncio.Lock()
        self._closing = False

    async def restore(self) -> None:
        """Have the ranker use the stored prior; call once at the start."""
        async with self._lock:
            await self._current_prior()

    async def warm_up(self) -> None:
        """Start the worker process, so that the first round does not wait for it.

        Raises:
            RoundFailed: The process died.
        """
        one = np.ones(1, dtype=np.float32)
        nothing = Examples.pad([(np.zeros((1, self._features.dim), dtype=np.float32), one, one)])
        await self._off_loop.in_worker(learn_heads, nothing, self._starter, self._settings.device)

    async def run_round(self) -> RoundReport:
        """Learn from all feedback that changed since the last round. Safe to call again while it runs.

        When a member leaves while a chunk is learnt, the chunk is thrown away and learnt again: they may have
        agreed again since, and must not get a head made of what was forgotten.

        Raises:
            RoundFailed: The worker process died, or members kept leaving; chunks already written stay, the
                next round goes on from there.
            StorageError: Reading or writing failed.
        """
        async with self._lock:
            started_at = self._now()
            report = RoundReport()
            n_tries = 0
            made = self._store.erasures
            prior = await self._current_prior()
            while not self._closing:
                erasures = self._store.erasures
                if erasures != made:  # whoever leaves takes the learnt prior along
                    prior, made = await self._current_prior(), erasures
                changed = await self._store.changed_after(await self._store.cursor(), MEMBERS_AT_ONCE)
                if not changed:
                    break
                n_tries += 1
                learnt = await self._learn(changed, prior, report, erasures)
                if learnt is not None:
                    report, n_tries = learnt, 0
                    if len(changed) < MEMBERS_AT_ONCE:
                        break
                elif n_tries == CHUNK_TRIES:
                    raise RoundFailed(
                        "expected heads without those who left, found members leaving in each of"
                        f" {CHUNK_TRIES} tries; nothing was stored of that chunk, the next round tries again"
                    )
            report = replace(report, seconds=(self._now() - started_at).total_seconds())
        if report.n_members:
            counts = (report.version, report.n_members, report.n_labels, report.n_rolled_back)
            log.info("round %d: %d members, %d labels, %d heads rolled back", *counts)
        return report

    async def rebuild_prior(self) -> PriorReport:
        """Learn the population prior anew from all members with feedback, or return to the starter prior.

        When a member leaves while the prior is made, it is thrown away and made again without them.

        Raises:
            RoundFailed: The worker process died, or members kept leaving; the prior in use stays.
            StorageError: Reading or writing failed.
        """
        async with self._lock:
            before = await self._current_prior()
            for _ in range(PRIOR_TRIES):
                erasures = self._store.erasures
                name = secrets.token_hex(8)
                n_seated = await self._gatherer.seat_teachers(
                    self._store,
                    name,
                    self._settings,
                    self._now() - timedelta(days=self._settings.prior_min_days),
                    lambda: self._closing,
                )
                if self._closing:  # not all were read
                    return PriorReport(before.prior_id, 0, 0, False)
                lesson = await self._teach(name, n_seated) or Lesson(self._starter, 0, 0)
                if await self._record_prior(lesson.prior, lesson.n_members, erasures):
                    break
            else:
                raise RoundFailed(
                    f"expected a prior without those who left, found members leaving in each of {PRIOR_TRIES}"
                    " tries; nothing was stored, and the next rebuild tries again"
                )
            await self._ranker.use_prior(lesson.prior)
        prior_id = lesson.prior.prior_id
        return PriorReport(prior_id, lesson.n_members, lesson.n_labels, prior_id != before.prior_id)

    def stop_soon(self) -> None:
        """Have a round end after the chunk that runs, and a rebuild before it stores; later ones do nothing.

        Call it before waiting for whoever runs rounds; :meth:`close` must still follow.
        """
        self._closing = True

    async def close(self) -> None:
        """Let the chunk that runs finish, then end the worker process and the thread. Idempotent."""
        self.stop_soon()
        async with self._lock:
            await self._off_loop.close()

    # --- one chunk of a round -----------------------------------------------------------------------------

    async def _learn(
        self, changed: Sequence[ChangedMember], prior: Prior, report: RoundReport, erasures: int
    ) -> RoundReport | None:
        """Learn and store one chunk; None when a member left meanwhile and nothing was stored."""
        started_at = self._now()
        member_ids = [member.member_id for member in changed]
        learnt = _Learnt()
        waiting: list[Labelled] = []
        # Read after who is due: a change of it makes members due again, under a number above this cursor.
        valence = (await self._valence_now()).learnt(prior.meanings)
        async for few in self._gatherer.told(
            self._store, member_ids, LABELS_PER_MEMBER, pairs=PAIRS_PER_MEMBER
        ):
            waiting += await self._off_loop.in_thread(read_labels, few, valence, self._settings)
            if sum(member.X.nbytes for member in waiting) >= SHEAF_BYTES:
                await self._solve(waiting, prior, learnt)
                waiting = []
        await self._solve(waiting, prior, learnt)
        record = RoundRecord(
            started_at=started_at,
            finished_at=self._now(),
            cursor=changed[-1].changed_seq,
            n_members=len(changed),
            n_labels=learnt.n_labels,
            n_rolled_back=sum(head.rolled_back for head in learnt.heads),
            device=learnt.device,
        )
        failpoint("rounds.solved")
        version = await self._store.record_round(record, learnt.heads, erasures=erasures)
        if version is None:
            return None
        failpoint("rounds.stored")
        # Also those who were forgotten meanwhile: the ranker asks the store anew, which has nothing of them.
        await self._ranker.publish(member_ids)
        return RoundReport(
            version=version,
            n_members=report.n_members + len(changed),
            n_labels=report.n_labels + learnt.n_labels,
            n_removed=report.n_removed + learnt.n_removed,
            n_rolled_back=report.n_rolled_back + record.n_rolled_back,
            n_unsolved=report.n_unsolved + learnt.n_unsolved,
            device=learnt.device or report.device,
        )

    async def _solve(self, members: Sequence[Labelled], prior: Prior, learnt: _Learnt) -> None:
        """Solve these members' heads and add them to what the chunk learnt."""
        bare = [NewHead(member.member_id, None, 0) for member in members if not len(member.y)]
        learnt.heads += bare
        learnt.n_removed += len(bare)
        able = [member for member in members if len(member.y)]
        for guild, some in by_server(able, prior.shifts).items():
            around = prior.around(guild)
            for page in pages(some):
                examples = await self._off_loop.in_thread(examples_of, page)
                bank, solved = await self._off_loop.in_worker(
                    learn_heads, examples, around, self._settings.device
                )
                learnt.heads += await self._off_loop.in_thread(new_heads, page, bank)
                learnt.n_labels += solved.n_examples
                learnt.n_unsolved += solved.n_unsolved
                learnt.device = solved.device

    # --- prior --------------------------------------------------------------------------------------------

    async def _current_prior(self) -> Prior:
        """Read the stored prior, or take the starter; the ranker follows. A forget may have dropped it."""
        record = await self._store.prior()
        prior = self._starter if record is None else self._read_prior(record)
        if prior.prior_id != self._ranker.prior.prior_id:
            await self._ranker.use_prior(prior)
        return prior

    def _read_prior(self, record: PriorRecord) -> Prior:
        space = self._features
        try:
            return Prior.from_bytes(record.body, feature_id=space.feature_id, dim=space.dim)
        except HeadOutdated:
            log.info(
                "The stored prior is for other features; the starter prior answers until the next rebuild"
            )
        except HeadDamaged as exc:
            log.warning("The stored prior is not used, the starter prior answers: %s", exc)
        return self._starter

    async def _valence_now(self) -> EmojiValence:
        """What emoji mean, with what the managers of servers said of their own."""
        return self._valence.with_guilds(await self._store.emoji_of_guilds())

    async def _teach(self, name: str, n_seated: int) -> Lesson | None:
        if not n_seated:
            return None
        return await self._off_loop.in_worker(
            teach_seated,
            name,
            n_seated,
            self._starter,
            await self._valence_now(),
            self._settings,
            member_cap=PRIOR_MEMBER_CAP,
            n_embedding=self._features.n_embedding,
        )

    async def _record_prior(self, prior: Prior, n_members: int, erasures: int) -> bool:
        """Store the prior, unless it is the stored one already; False when a member left meanwhile."""
        stored = await self._store.prior()
        body = prior.to_bytes()
        if (stored is None and not n_members) or (stored is not None and stored.body == body):
            return erasures == self._store.erasures  # storing would make every member due
        record = PriorRecord(body, n_members, self._now())
        failpoint("rounds.prior-taught")
        return await self._store.record_prior(record, erasures=erasures)
