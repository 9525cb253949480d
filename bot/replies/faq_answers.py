"""Finds the answers from ``/faq`` whose questions are similar to a message; they become candidates.

Questions and message are compared by the frozen encoder, without any adapter. Memory keeps the embeddings of
the questions, by entry and version; texts are read when they are needed. Entries are looked up by the
server's pseudonym, so entries of another server cannot be found. Blocking work runs in a thread.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from cachetools import LRUCache

from bot.generation import Candidate
from bot.memory import Leaving
from bot.settings import FaqSettings
from personalization.arrays import FloatArray
from personalization.encoding.encoder import Encoder
from storage.errors import StorageError
from storage.records import FAQ_STYLE
from storage.servers.faq import EntryId, FaqEntries

log = logging.getLogger(__name__)

WITHIN_S = 30.0
"""Longest time for the answers to a message, seconds."""
MOST_SERVERS = 100
"""Servers whose embedded questions are cached at once; the least recently used one is evicted."""


@dataclass(frozen=True, eq=False, slots=True)
class _Embedded:
    """The questions of one server: ``ids`` in the order of the rows of ``vectors``, ``n x d`` float32."""

    versions: dict[EntryId, int]
    ids: tuple[EntryId, ...]
    vectors: FloatArray


class Knowledge:
    """Finds answers.

    Args:
        entries: Questions and answers in the store.
        encoder: The frozen encoder.
        settings: Least similarity, and the most answers for a message.
        within_s: Longest time for the answers to a message, seconds.
    """

    def __init__(
        self, entries: FaqEntries, encoder: Encoder, settings: FaqSettings, within_s: float = WITHIN_S
    ) -> None:
        self._within_s = within_s
        self._entries = entries
        self._encoder = encoder
        self._settings = settings
        self._servers: LRUCache[bytes, _Embedded] = LRUCache(MOST_SERVERS)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="knowledge")

    def use_settings(self, settings: FaqSettings) -> None:
        """Use another threshold and number, from the next message on."""
        self._settings = settings

    async def answers(self, guild: bytes, message: str) -> list[Candidate]:
        """Return the answers whose questions are similar enough to a message, the most similar first.

        Returns none when the store or the encoder fails or is overdue; the language model then answers alone.

        Args:
            guild: Pseudonym of the server.
            message: The message to answer; it is not kept.
        """
        if not self._settings.most:
            return []
        try:
            async with asyncio.timeout(self._within_s):
                return await self._answers(guild, message)
        except (
            StorageError,
            TimeoutError,
            RuntimeError,
            MemoryError,
        ) as exc:  # torch raises the latter two when a device fails
            log.warning("answers from /faq are skipped (%s)", type(exc).__name__)
            return []

    def forget(self, leaving: Leaving) -> None:
        """Drop all embedded questions when those of a server may have been deleted."""
        if leaving.servers:
            self._servers.clear()

    def close(self) -> None:
        """Stop the thread after the work in progress."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _answers(self, guild: bytes, message: str) -> list[Candidate]:
        questions = await self._questions(guild)
        if questions is None:
            return []
        (asked,) = await self._encode([message])
        similarity = questions.vectors @ asked  # (n,)
        order = np.argsort(-similarity, kind="stable")[: self._settings.most]
        close = {
            questions.ids[i]: float(similarity[i])
            for i in order
            if similarity[i] >= self._settings.similarity
        }
        if not close:
            return []
        found = await self._entries.entries(guild, close)
        return [
            Candidate(found[id_].answer, FAQ_STYLE, fits=fits) for id_, fits in close.items() if id_ in found
        ]

    async def _questions(self, guild: bytes) -> _Embedded | None:
        """Return a server's current questions; only changed ones are read and embedded again."""
        versions = await self._entries.versions(guild)
        known = self._servers.pop(guild, None)
        if not versions:
            return None
        if known is None or known.versions != versions:
            known = await self._embedded(guild, versions, known)
        self._servers[guild] = known
        return known if known.ids else None

    async def _embedded(
        self, guild: bytes, versions: dict[EntryId, int], known: _Embedded | None
    ) -> _Embedded:
        vectors: dict[EntryId, FloatArray] = {}
        if known is not None:
            rows = zip(known.ids, known.vectors, strict=True)
            vectors = {id_: row for id_, row in rows if known.versions[id_] == versions.get(id_)}
        missing = [id_ for id_ in versions if id_ not in vectors]
        if missing:
            read = await self._entries.entries(guild, missing)
            vectors |= zip(read, await self._encode([entry.question for entry in read.values()]), strict=True)
        ids = tuple(id_ for id_ in versions if id_ in vectors)
        stacked = (
            np.stack([vectors[id_] for id_ in ids]) if ids else np.empty((0, self._encoder.dim), np.float32)
        )
        return _Embedded(versions, ids, stacked)

    async def _encode(self, texts: list[str]) -> FloatArray:
        # Not loop.run_in_executor: a plain future does not depend on the loop's own default executor.
        return await asyncio.wrap_future(self._thread.submit(self._encoder.encode, texts))
