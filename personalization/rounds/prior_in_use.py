"""The prior that rounds and rankings use: the stored one, else the starter.

Part of :mod:`personalization.rounds.trainer`, which calls it inside its lock. So no round sees two priors.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from personalization.errors import HeadDamaged, HeadOutdated
from personalization.heads.heads import FeatureSpace, Prior
from personalization.ranking.ranker import Ranker
from personalization.rounds.store_protocol import LearningStore
from storage.failpoints import failpoint
from storage.records import PriorRecord

log = logging.getLogger(__name__)


class PriorInUse:
    """Reads, stores and replaces the prior, and gives it to the ranker.

    Args:
        store: The stored prior.
        ranker: Receives each prior.
        features: The features in use.
        starter: Answers while no prior is stored, and is the centre of the next one.
        now: The clock, aware UTC.
    """

    def __init__(
        self,
        store: LearningStore,
        ranker: Ranker,
        features: FeatureSpace,
        starter: Prior,
        now: Callable[[], datetime],
    ) -> None:
        self._store, self._ranker = store, ranker
        self._features, self._now = features, now
        self.starter = starter
        self._stores_starter = False

    async def current(self) -> Prior:
        """Read the stored prior, or take the starter if an erasure deleted it; give it to the ranker.

        Raises:
            StorageError: Reading failed.
        """
        record = await self._store.prior()
        prior = self.starter if record is None else self._read(record)
        if prior.prior_id != self._ranker.prior.prior_id:
            await self._ranker.use_prior(prior)
        return prior

    async def record(self, prior: Prior, n_members: int, erasures: int) -> bool:
        """Store the prior unless it is stored already; False if a member left meanwhile.

        Raises:
            StorageError: Reading or writing failed, or another process is the trainer.
        """
        stored = await self._store.prior()
        body = prior.to_bytes()
        is_known = stored is None and not n_members and not self._stores_starter
        if is_known or (stored is not None and stored.body == body):
            return erasures == self._store.erasures  # storing would make every member due for nothing
        record = PriorRecord(body, n_members, self._now())
        failpoint("rounds.prior-taught")
        return await self._store.record_prior(record, erasures=erasures)

    async def use_starter(self, starter: Prior, *, store: bool) -> bool:
        """Replace the starter; unless members have taught a prior, it answers from now on.

        The starter that ships is the same in every process, so it is not stored. One that was fitted later
        is: then the processes of other machines read it, and the next round solves every head around it.

        Args:
            starter: The starter.
            store: Whether to store it.

        Returns:
            Whether it differs from the starter before.

        Raises:
            StorageError: Reading or writing failed, or another process is the trainer.
        """
        changed = starter.prior_id != self.starter.prior_id
        self.starter, self._stores_starter = starter, store
        if store and not await self._is_taught():
            await self.record(starter, 0, self._store.erasures)
        await self.current()
        return changed

    async def _is_taught(self) -> bool:
        """Return whether the stored prior is one that members taught, for the features in use."""
        record = await self._store.prior()
        return record is not None and record.n_members > 0 and self._read(record) is not self.starter

    def _read(self, record: PriorRecord) -> Prior:
        space = self._features
        try:
            return Prior.from_bytes(record.body, feature_id=space.feature_id, dim=space.dim)
        except HeadOutdated:
            log.info(
                "The stored prior is for other features; the starter prior answers until the next rebuild"
            )
        except HeadDamaged as exc:
            log.warning("The stored prior is not used, the starter prior answers: %s", exc)
        return self.starter
