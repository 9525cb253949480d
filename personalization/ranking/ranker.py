"""Ranks candidates for a member: encoder, head, bounded scores, policy.

Called by ``bot.replies`` for every reply. At reply time this is the one place where blocking work leaves the
event loop: the encoder runs in one thread. Heads are loaded with ``load_head`` (from the store, in the
running bot) and cached. Publishing evicts cached heads in one step without an await, so that a ranking never
sees some heads of the last round and some of the one before. Of storage it imports only record types.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from cachetools import LRUCache

from personalization.arrays import FloatArray
from personalization.encoding.features import FeatureMap
from personalization.errors import HeadDamaged, HeadOutdated, RankingFailed
from personalization.heads.heads import Head, Prior
from personalization.heads.spread import score_covariance
from personalization.ranking.explain import explain
from personalization.ranking.pair_choice import Contrast
from personalization.ranking.policy import choose, policy_of
from personalization.ranking.ranking import Ranking
from personalization.ranking.scores import combined
from personalization.settings import LearningSettings
from storage.records import HeadRecord, MemberId

__all__ = ["PRIOR_VERSION", "Ranker", "Ranking", "RankingFailed"]

log = logging.getLogger(__name__)

PRIOR_VERSION = 0
"""Head version of the prior."""


@dataclass(frozen=True, eq=False, slots=True)
class _CachedHead:
    """Cached head of a member; None if the prior answers for them."""

    head: Head | None
    version: int
    n_labels: int = 0


_NO_HEAD = _CachedHead(None, PRIOR_VERSION)


async def _alone() -> None:
    """Do nothing: no other process can make a cached head stale."""


class Ranker:
    """Ranks candidates for members.

    Args:
        features: Encoder and style features.
        settings: Weights, bounds, policy and the size of the cache.
        load_head: Loads a member's stored head, None if there is none; raises HeadDamaged if it is damaged.
        prior: Prior that answers for members without a head.
        rng: Random generator for exploration.
        catch_up: Called before a cached head is used. It evicts heads that another process made stale, and
            raises if it cannot know.

    Raises:
        HeadOutdated: The prior is for other features.
    """

    def __init__(
        self,
        features: FeatureMap,
        settings: LearningSettings,
        load_head: Callable[[MemberId], Awaitable[HeadRecord | None]],
        prior: Prior,
        rng: np.random.Generator,
        *,
        catch_up: Callable[[], Awaitable[None]] = _alone,
    ) -> None:
        self._features = features
        self._settings = settings
        self._load_head = load_head
        self._catch_up = catch_up
        self._policy = policy_of(settings)
        self._rng = rng
        self._heads: LRUCache[MemberId, _CachedHead] = LRUCache(settings.head_cache)
        self._epoch = 0  # counts evictions: a head whose load spans one may be stale and is not cached
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")
        self._set_prior(prior)

    @property
    def prior(self) -> Prior:
        """The prior in use."""
        return self._prior

    @property
    def n_kept(self) -> int:
        """Number of members whose head, or lack of a head, is cached."""
        return len(self._heads)

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
            member_id: The member whose head ranks; None ranks with the prior.
            message: The message that is answered. Only its cosine to each candidate is used; it is not kept.
            candidates: ``k`` texts, k > 0.
            guild: Pseudonym of the server. If its members share a shift, the shifted prior is used.
            fits: Lower bounds (k) on the relevance of candidates, for candidates whose text alone says too
                little; None means no bounds.

        Raises:
            RankingFailed: The encoder failed.
            ValueError: There are no candidates.
        """
        if not candidates:
            raise ValueError("expected one or more candidates, found none")
        # The encoder runs while the head is loaded. A submitted future starts at once, before it is awaited.
        encoding = asyncio.wrap_future(self._thread.submit(self._features.encode, message, list(candidates)))
        cached = _NO_HEAD if member_id is None else await self._cached_head(member_id)
        try:
            encoded = await encoding
        except (RuntimeError, MemoryError) as exc:  # what torch raises when a device fails
            raise RankingFailed(f"expected an encoding, found a {type(exc).__name__} in the encoder") from exc
        relevance = encoded.relevance  # (k,)
        if fits is not None:
            relevance = np.maximum(relevance, np.asarray(fits, dtype=np.float32))
        return self._ranking(encoded.features, relevance, cached, self._server_head(guild), self._rng)

    async def rank_again(
        self, member_id: MemberId | None, earlier: Ranking, *, guild: bytes = b"", rng: np.random.Generator
    ) -> Ranking:
        """Rank the candidates of an earlier ranking for any member, with the head published now.

        Nothing is encoded again.

        Args:
            member_id: The member; None for a member without labels.
            earlier: A ranking by this ranker, in the same features.
            guild: Pseudonym of the server.
            rng: Random generator; that of real choices is not used.
        """
        cached = _NO_HEAD if member_id is None else await self._cached_head(member_id)
        return self._ranking(earlier.features, earlier.relevance, cached, self._server_head(guild), rng)

    def _ranking(
        self,
        features: FloatArray,
        relevance: FloatArray,
        cached: _CachedHead,
        server_head: Head,
        rng: np.random.Generator,
    ) -> Ranking:
        """Score and choose among candidates, ``k x d`` features and ``k`` cosines."""
        head = cached.head or server_head
        personal = head.score(features)  # (k,)
        scores, slope = self._scores(personal, relevance)
        covariance = slope[:, None] * self._covariance(features, head) * slope  # (k, k)
        choice = choose(self._policy, scores, covariance, rng)
        chosen = choice.order[0]
        impersonal, _ = self._scores(server_head.score(features), relevance)
        return Ranking(
            order=choice.order,
            scores=tuple(float(score) for score in scores),
            prior_scores=tuple(float(score) for score in impersonal),
            propensities=choice.propensities,
            chosen=chosen,
            policy=self._policy.name,
            head_version=cached.version,
            feature_id=self._features.feature_id,
            features=features,
            personal=personal,
            relevance=relevance,
            parts=explain(
                features,
                relevance,
                head,
                chosen,
                relevance_weight=self._settings.relevance_weight,
                personal_bound=self._settings.personal_bound,
            ),
            uncertainty=float(np.sqrt(max(covariance[chosen, chosen], 0))),
            n_labels=cached.n_labels,
        )

    def _covariance(self, features: FloatArray, head: Head) -> npt.NDArray[np.float64]:
        """Compute the posterior covariance of the head's scores, ``k x k``."""
        # The spread is stored in the coordinates of the prior that the head was solved under.
        spread = head.spread if head.prior_id == self._prior_head.prior_id else None
        return score_covariance(features, self._prior, spread)

    async def contrast(
        self, member_id: MemberId, candidates: Sequence[str], *, guild: bytes = b""
    ) -> Contrast:
        """Compute features of candidates, and the posterior covariance of the member's scores.

        Args:
            member_id: The member.
            candidates: ``k`` texts, k > 0.
            guild: Pseudonym of the server.

        Raises:
            RankingFailed: The encoder failed.
        """
        features = await self._described(candidates)
        head = await self.head_of(member_id, guild)
        covariance = self._covariance(features, head)  # (k, k)
        return Contrast(features, covariance, self._features.feature_id, self._features.n_embedding)

    async def describe(self, text: str) -> FloatArray:
        """Compute the features of one reply, ``d`` float32.

        Raises:
            RankingFailed: The encoder failed.
        """
        return (await self._described([text]))[0]

    async def _described(self, texts: Sequence[str]) -> FloatArray:
        """Compute the features of replies in the encoder's thread, ``k x d``."""
        try:
            return await asyncio.wrap_future(self._thread.submit(self._features.features, list(texts)))
        except (RuntimeError, MemoryError) as exc:  # what torch raises when a device fails
            raise RankingFailed(f"expected an encoding, found a {type(exc).__name__} in the encoder") from exc

    async def head_of(self, member_id: MemberId | None, guild: bytes = b"") -> Head:
        """Return the head used for a member: the published one, else the server's, else the prior's.

        Args:
            member_id: The member; None for a member without labels.
            guild: Pseudonym of the server.
        """
        own = None if member_id is None else (await self._cached_head(member_id)).head
        return own or self._server_head(guild)

    async def published(self, member_id: MemberId) -> tuple[Head | None, int, int]:
        """Return a member's head, its version and its number of labels; None while the prior answers."""
        cached = await self._cached_head(member_id)
        return cached.head, cached.version, cached.n_labels

    async def publish(self, changed: Iterable[MemberId]) -> None:
        """Make the stored heads of these members visible at once, by evicting the cached ones."""
        self.drop(changed)

    def drop(self, members: Iterable[MemberId]) -> None:
        """Evict the cached heads of these members."""
        self._epoch += 1
        for member_id in members:
            self._heads.pop(member_id, None)

    def drop_all(self) -> None:
        """Evict all heads, because another process stored new ones or erased a member."""
        self._epoch += 1
        self._heads.clear()

    async def use_prior(self, prior: Prior) -> None:
        """Replace the prior.

        Raises:
            HeadOutdated: The prior is for other features.
        """
        self._set_prior(prior)

    def use_settings(self, settings: LearningSettings) -> None:
        """Replace weights, bounds, policy and cache size from the next ranking on."""
        self._settings = settings
        self._policy = policy_of(settings)
        if settings.head_cache != self._heads.maxsize:
            earlier, self._heads = self._heads, LRUCache(settings.head_cache)
            while earlier:  # from the least recently used to the most recently used
                member_id, cached = earlier.popitem()
                self._heads[member_id] = cached

    def close(self) -> None:
        """Stop the encoder's thread: running work finishes, waiting work is cancelled."""
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
        """Add weighted relevance and bounded taste: scores, and their derivative by the taste (k)."""
        return combined(
            personal,
            relevance,
            relevance_weight=self._settings.relevance_weight,
            personal_bound=self._settings.personal_bound,
        )

    async def _cached_head(self, member_id: MemberId) -> _CachedHead:
        epoch = self._epoch
        try:
            await self._catch_up()
            epoch = self._epoch  # what was evicted until now does not concern the load
            if (cached := self._heads.get(member_id)) is not None:
                return cached
            cached = self._read(await self._load_head(member_id))
        except HeadDamaged as exc:  # cached as missing until the next publication, so it is logged once
            log.warning("A stored head is not used, the prior answers: %s", exc)
            cached = _NO_HEAD
        # Boundary: a failed read of a head costs the personalization of one ranking, not the reply.
        except Exception as exc:
            log.warning("A stored head could not be read (%s), the prior answers", type(exc).__name__)
            return _NO_HEAD
        if epoch == self._epoch:
            self._heads[member_id] = cached
        return cached

    def _read(self, record: HeadRecord | None) -> _CachedHead:
        if record is None:
            return _NO_HEAD
        try:
            head = Head.from_bytes(record.body, feature_id=self._features.feature_id, dim=self._features.dim)
        except HeadOutdated:
            return _NO_HEAD  # expected between a change of encoder and the next round
        return _CachedHead(head, record.version, record.n_labels)
