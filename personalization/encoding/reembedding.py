"""After a change of encoder: describe earlier replies anew, so that the labels on them count again.

Reads the bot's own posted texts, page by page, while they are kept; encodes them in a thread; writes the new
features. Members who rated those replies become due, so the next round learns their heads from all of it.
Imports no storage but the types of its records; run by the scheduler, before the prior and the rounds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from personalization.arrays import FloatArray
from storage.records import ReplyId

log = logging.getLogger(__name__)

REPLIES_AT_ONCE = 64
"""Half a second of encoding on one core, between two of which the bot can answer."""


class _Page(Protocol):
    @property
    def texts(self) -> Mapping[ReplyId, str]: ...
    @property
    def last(self) -> ReplyId | None: ...


class OutdatedStore(Protocol):
    """What it asks of the store; :class:`storage.learning.outdated_features.OutdatedReplies` is one."""

    async def page(self, feature_id: str, after: ReplyId | None, limit: int) -> _Page:
        """Read texts of replies whose features are of another kind."""
        ...

    async def record(self, feature_id: str, features: Mapping[ReplyId, bytes]) -> int:
        """Replace their features."""
        ...


class Features(Protocol):
    """What makes features; :class:`personalization.encoding.features.FeatureMap` is one."""

    @property
    def feature_id(self) -> str:
        """Their kind."""
        ...

    def features(self, texts: Sequence[str]) -> FloatArray:
        """``n x d`` float32."""
        ...


class Reembedder:
    """Describes outdated replies anew.

    Args:
        store: Where they are.
        features: Of the encoder in use.
    """

    def __init__(self, store: OutdatedStore, features: Features) -> None:
        self._store, self._features = store, features
        self._closing = False

    async def run(self) -> int:
        """Go through all outdated replies once; how many got new features.

        Raises:
            StorageError: Reading or writing failed; what was written stays, and the next run goes on.
        """
        count, after = 0, None
        while not self._closing:
            page = await self._store.page(self._features.feature_id, after, REPLIES_AT_ONCE)
            if page.texts:
                made = await asyncio.to_thread(self._features.features, list(page.texts.values()))
                rows = zip(page.texts, made, strict=True)
                new = {reply_id: row.astype("<f4").tobytes() for reply_id, row in rows}
                count += await self._store.record(self._features.feature_id, new)
            after = page.last
            if after is None:
                break
        if count:
            log.info(
                "%d earlier replies were described by the encoder in use; their labels count again", count
            )
        return count

    def stop_soon(self) -> None:
        """End after the page that runs."""
        self._closing = True
