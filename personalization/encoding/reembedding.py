"""Re-encoding of earlier replies after a change of encoder, so that the labels on them count again.

Reads the bot's own posted texts page by page, as long as they are stored, encodes them in a thread and writes
the new features. Members with labels on those replies become due, so the next round solves their heads from
all labels. Run by the scheduler before the prior and the rounds. Imports only the record types of storage.
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
"""Replies encoded at a time: half a second on one core, after which the bot can answer."""


class _Page(Protocol):
    @property
    def texts(self) -> Mapping[ReplyId, str]: ...
    @property
    def last(self) -> ReplyId | None: ...


class OutdatedStore(Protocol):
    """Storage of outdated replies, such as :class:`storage.learning.outdated_features.OutdatedReplies`."""

    async def page(self, feature_id: str, after: ReplyId | None, limit: int) -> _Page:
        """Read a page of texts of replies with another feature id."""
        ...

    async def record(self, feature_id: str, features: Mapping[ReplyId, bytes]) -> int:
        """Replace the features of replies; return how many were replaced."""
        ...


class Features(Protocol):
    """A feature map, such as :class:`personalization.encoding.features.FeatureMap`."""

    @property
    def feature_id(self) -> str:
        """Id of the features."""
        ...

    def features(self, texts: Sequence[str]) -> FloatArray:
        """Compute the features of texts, ``n x d`` float32."""
        ...


class Reembedder:
    """Replaces the features of replies that an earlier encoder encoded.

    Args:
        store: The stored replies.
        features: Feature map of the encoder in use.
    """

    def __init__(self, store: OutdatedStore, features: Features) -> None:
        self._store, self._features = store, features
        self._closing = False

    async def run(self) -> int:
        """Go through all outdated replies once.

        Returns:
            Number of replies that got new features.

        Raises:
            StorageError: Reading or writing failed. Pages written so far stay, and the next run continues.
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
            log.info("encoded %d earlier replies with the encoder in use; their labels count again", count)
        return count

    def stop_soon(self) -> None:
        """Make :meth:`run` return after the current page."""
        self._closing = True
