"""Published heads -> Ranking: which of the candidates this member is most likely to enjoy.

The one place where blocking work leaves the event loop at reply time: the encoder runs in a thread of its
own. Knows heads by asking ``load_head`` (the store, in the running bot) and keeps the recently used ones in
memory. Publishing forgets the kept ones in one step between two awaits, so that a ranking sees either all old
heads of a round or all new ones, never a half. Imports no storage but the types of its records.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from personalization.arrays import FloatArray
from personalization.encoding.features import FeatureMap
from personalization.errors import HeadDamaged, HeadOutdated, RankingFailed
from personalization.heads.heads import Head, Prior
from personalization.heads.spread import score_covariance
from personalization.ranking.explain import Part, explain
from personalization.ranking.pair_choice import Contrast
from personalization.ranking.policy import choose, policy_of
from personalization.settings import LearningSettings
from storage.records import HeadRecord, MemberId

__all__ = ["PRIOR_VERSION", "Ranker", "Ranking", "RankingFailed"]

log = logging.getLogger(__name__)

PRIOR_VERSION = 0
"""The head version that stands for the prior."""


@dataclass(frozen=True, eq=False, slots=True)
class Ranking:
    """Candidates in the order of this member's taste, and how the order came about.

    Attributes:
        order: Indices of the candidates, the one to post first (k).
        scores: The policy's input, by index (k).
        prior_scores: What it would have been for a member without labels, by index (k).
        propensities: Probability of posting each candidate, by index (k).
        chosen: ``order[0]``.
        policy: Name of the policy.
        head_version: Round that made the head; 0 means the prior.
        feature_id: Which encoder and style features made ``features``.
        features: ``k x d`` float32.
        personal: What the head says, logits, ``k`` float32, not yet bounded.
        relevance: Cosine of message and candidate, ``k`` float32.
        parts: What the chosen candidate's score is made of, the largest first.
        uncertainty: Standard deviation of that score, logits.
        n_labels: Labels the head rests on; 0 means that the prior answered.
    """

    order: tuple[int, ...]
    scores: tuple[float, ...]
    prior_scores: tuple[float, ...]
    propensities: tuple[float, ...]
    chosen: int
    policy: str
    head_version: int
    feature_id: str
    features: FloatArray
    personal: FloatArray
    relevance: FloatArray
    parts: tuple[Part, ...]
    uncertainty: float
    n_labels: int


@dataclass(frozen=True, eq=False, slots=True)
class _Kept:
    """A head in memory; None where the prior answers."""

    head: Head | None
    version: int
    n_labels: int = 0


_NOBODY = _Kept(None, PRIOR_VERSION)


class Ranker:
    """Ranks candidates for members.

    Args:
        features: Encoder and style features.
        settings: Weights, bounds and the size of the cache.
        load_head: Member -> stored head, None when there is none; raises HeadDamaged where one is broken.
        prior: Answers for members without a head.
        rng: Chance for exploration.
    """

    def __init__(
        self,
        features: FeatureMap,
        settings: LearningSettings,
        load_head: Callable[[MemberId], Awaitable[HeadRecord | None]],
        prior: Prior,
        rng: np.random.Generator,
    ) -> None:
        self._features = features
        self._settings = settings
        self._load_head = load_head
        self._policy = policy_of(settings)
        self._rng = rng
        self._kept: OrderedDict[MemberId, _Kept] = OrderedDict()
        self._epoch = 0  # counts publications; a head loaded across one may be old and is not kept
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")
        self._set_prior(prior)

    @property
    def prior(self) -> Prior:
        """The prior that answers now."""
        return self._prior

    @property
    def n_kept(self) -> int:
        """Members whose head (or lack of one) is in memory."""
        return len(self._kept)

    async def rank(
        self,
        member_id: MemberId | None,
        message: str,
        candidates: Sequence[str],
        *,
        guild: bytes = b"",
        fits: Sequence[float] | None = None,
    ) -> Ranking:
        """Rank the candidates for a member.

        Args:
            member_id: Whose taste; None asks the prior.
            message: What is answered; only its cosine to each candidate is used, and nothing of it is kept.
            candidates: ``k`` texts, k > 0.
            guild: Pseudonym of the server: where its members share a mean, that answers for the prior.
            fits: Cosines (k) that the relevance of a candidate is never below, because more is known of it
                than its text says; None: nothing is known.

        Raises:
            RankingFailed: The encoder failed.
            ValueError: No candidates.
        """
        if not candidates:
            raise ValueError("expected one or more candidates, found none")
        # Not loop.run_in_executor: a plain future does not depend on the loop's own default executor.
        encoding = asyncio.wrap_future(self._thread.submit(self._features.encode, message, list(candidates)))
        kept = _NOBODY if member_id is None else await self._head_of(member_id)
        try:
            encoded = await encoding
        except (RuntimeError, MemoryError) as exc:  # what torch raises when a device fails
            raise RankingFailed(f"expected an encoding, found a {type(exc).__name__} in the encoder") from exc
        relevance = encoded.relevance  # (k,)
        if fits is not None:
            relevance = np.maximum(relevance, np.asarray(fits, dtype=np.float32))
        server_head = self._server_head(guild)
        head = kept.head or server_head
        personal = head.score(encoded.features)  # (k,)
        scores, slope = self._scores(personal, relevance)
        spread = head.spread if head.prior_id == self._prior_head.prior_id else None
        covariance = score_covariance(encoded.features, self._prior, spread)  # (k, k)
        covariance = slope[:, None] * covariance * slope
        choice = choose(self._policy, scores, covariance, self._rng)
        chosen = choice.order[0]
        impersonal, _ = self._scores(server_head.score(encoded.features), relevance)
        return Ranking(
            order=choice.order,
            scores=tuple(float(score) for score in scores),
            prior_scores=tuple(float(score) for score in impersonal),
            propensities=choice.propensities,
            chosen=chosen,
            policy=self._policy.name,
            head_version=kept.version,
            feature_id=self._features.feature_id,
            features=encoded.features,
            personal=personal,
            relevance=relevance,
            parts=explain(
                encoded.features,
                relevance,
                head,
                chosen,
                relevance_weight=self._settings.relevance_weight,
                personal_bound=self._settings.personal_bound,
            ),
            uncertainty=float(np.sqrt(max(covariance[chosen, chosen], 0))),
            n_labels=kept.n_labels,
        )

    async def contrast(
        self, member_id: MemberId, candidates: Sequence[str], *, guild: bytes = b""
    ) -> Contrast:
        """Describe candidates, and what this member's labels leave open about them.

        Args:
            member_id: Whose taste.
            candidates: ``k`` texts, k > 0.
            guild: Pseudonym of the server.

        Raises:
            RankingFailed: The encoder failed.
        """
        features = await self._described(candidates)
        head = await self.head_of(member_id, guild)
        spread = head.spread if head.prior_id == self._prior_head.prior_id else None
        covariance = score_covariance(features, self._prior, spread)  # (k, k)
        return Contrast(features, covariance, self._features.feature_id, self._features.n_embedding)

    async def describe(self, text: str) -> FloatArray:
        """Compute the features of one reply, ``d`` float32.

        Raises:
            RankingFailed: The encoder failed.
        """
        return (await self._described([text]))[0]

    async def _described(self, texts: Sequence[str]) -> FloatArray:
        """The features of replies, ``k x d``."""
        try:
            return await asyncio.wrap_future(self._thread.submit(self._features.features, list(texts)))
        except (RuntimeError, MemoryError) as exc:  # what torch raises when a device fails
            raise RankingFailed(f"expected an encoding, found a {type(exc).__name__} in the encoder") from exc

    async def head_of(self, member_id: MemberId | None, guild: bytes = b"") -> Head:
        """Give the head that answers for a member: their published one, else the server's, else the prior's.

        Args:
            member_id: Whose; None: a stranger's.
            guild: Pseudonym of the server.
        """
        own = None if member_id is None else (await self._head_of(member_id)).head
        return own or self._server_head(guild)

    async def publish(self, changed: Iterable[MemberId]) -> None:
        """Make the stored heads of these members visible, all at once: each is read anew when next needed."""
        self.drop(changed)

    def drop(self, members: Iterable[MemberId]) -> None:
        """Let go of everything kept about these members, at once."""
        self._epoch += 1
        for member_id in members:
            self._kept.pop(member_id, None)

    def drop_all(self) -> None:
        """Let go of every kept head: another process stored new ones, or somebody left there."""
        self._epoch += 1
        self._kept.clear()

    async def use_prior(self, prior: Prior) -> None:
        """Answer with this prior from now on, for members without a head.

        Raises:
            HeadOutdated: The prior is for other features.
        """
        self._set_prior(prior)

    def use_settings(self, settings: LearningSettings) -> None:
        """Choose by other weights, bounds or another policy from the next ranking on."""
        self._settings = settings
        self._policy = policy_of(settings)

    def close(self) -> None:
        """Stop the encoder's thread; what it is working on is finished first, what waits is dropped."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _set_prior(self, prior: Prior) -> None:
        if prior.feature_id != self._features.feature_id or prior.dim != self._features.dim:
            raise HeadOutdated(
                f"expected a prior for the features {self._features.feature_id}, "
                f"found one for {prior.feature_id}"
            )
        self._prior = prior
        self._prior_head = prior.head()
        self._server_heads = {guild: prior.around(guild).head() for guild in prior.shifts}

    def _server_head(self, guild: bytes) -> Head:
        return self._server_heads.get(guild, self._prior_head)

    def _scores(self, personal: FloatArray, relevance: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Weigh relevance against bounded taste: scores, and how far taste still moves each of them (k)."""
        bound = self._settings.personal_bound
        # Only differences rank; without the common part an intercept cannot use up the bound.
        taste = np.tanh((personal - personal.mean()) / bound)  # (k,)
        return self._settings.relevance_weight * relevance + bound * taste, 1 - taste**2

    async def _head_of(self, member_id: MemberId) -> _Kept:
        if (kept := self._kept.get(member_id)) is not None:
            self._kept.move_to_end(member_id)
            return kept
        epoch = self._epoch
        try:
            kept = self._read(await self._load_head(member_id))
        except HeadDamaged as exc:  # said once: kept until the next head is published
            log.warning("A stored head is not used, the prior answers: %s", exc)
            kept = _NOBODY
        except Exception as exc:  # boundary: a head that cannot be read costs personalization, not the reply
            log.warning("A stored head could not be read (%s), the prior answers", type(exc).__name__)
            return _NOBODY
        if epoch == self._epoch:
            self._kept[member_id] = kept
            while len(self._kept) > self._settings.head_cache:
                self._kept.popitem(last=False)
        return kept

    def _read(self, record: HeadRecord | None) -> _Kept:
        if record is None:
            return _NOBODY
        try:
            head = Head.from_bytes(record.body, feature_id=self._features.feature_id, dim=self._features.dim)
        except HeadOutdated:
            return _NOBODY  # expected after a change of encoder, until the next round
        return _Kept(head, record.version, record.n_labels)
