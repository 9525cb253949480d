"""Answers that a server's managers gave already: those to a question close to a message join the candidates.

Questions and message are compared by the shared encoder, as it was before any adapting. What memory keeps is
the embeddings of the questions, by entry and version; texts are read when they are needed. A server's entries
are asked for under its pseudonym alone, so no other server's can come out. Blocking work runs in a thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from bot.generation import Candidate
from bot.settings import FaqSettings
from personalization.arrays import FloatArray
from personalization.encoding.encoder import Encoder
from storage.errors import StorageError
from storage.records import FAQ_STYLE
from storage.servers.faq import EntryId, FaqEntries

log = logging.getLogger(__name__)

MOST_SERVERS = 100
"""Servers whose questions are kept embedded at once; the longest unused one goes first."""


@dataclass(frozen=True, eq=False, slots=True)
class _Embedded:
    """The questions of one server: ``ids`` in the order of the rows of ``vectors``, ``n x d`` float32."""

    versions: dict[EntryId, int]
    ids: tuple[EntryId, ...]
    vectors: FloatArray


class Knowledge:
    """Finds answers.

    Args:
        entries: Questions and answers, as the store has them.
        encoder: The frozen one.
        settings: How close is close, and how many.
    """

    def __init__(self, entries: FaqEntries, encoder: Encoder, settings: FaqSettings) -> None:
        self._entries = entries
        self._encoder = encoder
        self._settings = settings
        self._servers: OrderedDict[bytes, _Embedded] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="knowledge")

    def use_settings(self, settings: FaqSettings) -> None:
        """Go by another threshold and number from the next message on."""
        self._settings = settings

    async def answers(self, guild: bytes, message: str) -> list[Candidate]:
        """The answers to the questions that are close enough to a message, the closest first.

        Nothing at all when store or encoder fail: the reply then comes from the language model alone.

        Args:
            guild: Pseudonym of the server.
            message: What is answered; nothing of it is kept.
        """
        if not self._settings.most:
            return []
        try:
            return await self._answers(guild, message)
        except (
            StorageError,
            RuntimeError,
            MemoryError,
        ) as exc:  # the latter are torch's, when a device fails
            log.warning("answers from /faq are left out (%s)", type(exc).__name__)
            return []

    def clear(self) -> None:
        """Let go of all embedded questions: a server's were deleted."""
        self._servers.clear()

    def close(self) -> None:
        """Stop the thread; what it is working on is finished first."""
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
        """The questions of a server as they stand now; only what changed is read and embedded anew."""
        versions = await self._entries.versions(guild)
        known = self._servers.pop(guild, None)
        if not versions:
            return None
        if known is None or known.versions != versions:
            known = await self._embedded(guild, versions, known)
        self._servers[guild] = known
        while len(self._servers) > MOST_SERVERS:
            self._servers.popitem(last=False)
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
