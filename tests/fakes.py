"""The three fakes of the tests: small and deterministic."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from bot.generation import Candidate, Context, GeneratorError, Style
from bot.memory import Leaving
from personalization.arrays import FloatArray


class HashEncoder:
    """Encoder that draws a unit vector from the hash of the text.

    Equal texts get equal vectors; different ones are almost orthogonal.
    """

    def __init__(self, dim: int = 32) -> None:
        self.dim = dim
        self.encoder_id = f"hash-{dim}"
        self.n_texts = 0

    @property
    def frozen(self) -> HashEncoder:
        return self

    def encode(self, texts: Sequence[str]) -> FloatArray:
        self.n_texts += len(texts)
        rows = [self._vector(text) for text in texts]
        return np.array(rows, dtype=np.float32).reshape(len(rows), self.dim)

    def _vector(self, text: str) -> FloatArray:
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
        vector = np.random.default_rng(seed).standard_normal(self.dim)
        return (vector / np.linalg.norm(vector)).astype(np.float32)


class ScriptedGenerator:
    """Generator that returns enqueued candidates in order; a default list if the queue is empty."""

    def __init__(
        self, default: Sequence[str] = ("Sure.", "Yes, gladly!", "Let me think about it...", "No?")
    ) -> None:
        self.default = tuple(default)
        self.queue: deque[tuple[str, ...] | Exception] = deque()
        self.contexts: list[Context] = []
        self.n_forgotten = 0
        self.styles: list[tuple[Style, ...]] = []
        self.unfinished: deque[tuple[str | Callable[[], Awaitable[object]], ...]] = deque()
        """Continuations of the next replies, whose candidates are then drafts. Callables are awaited."""
        self.gate: asyncio.Event | None = None
        """If set to an event, answers wait for it."""
        self.closed = False
        self.persona = ""

    @property
    def name(self) -> str:
        return "scripted"

    def enqueue(self, *texts: str) -> None:
        """Answer the next message with these candidates."""
        self.queue.append(texts)

    def enqueue_error(self, error: GeneratorError) -> None:
        """Fail at the next message."""
        self.queue.append(error)

    async def generate(self, context: Context, styles: Sequence[Style]) -> list[Candidate]:
        self.contexts.append(context)
        self.styles.append(tuple(styles))
        if self.gate is not None:
            await self.gate.wait()
        texts = self.queue.popleft() if self.queue else self.default
        if isinstance(texts, Exception):
            raise texts
        drafts = bool(self.unfinished)
        return [
            Candidate(text, style.name, unfinished=drafts) for text, style in zip(texts, styles, strict=False)
        ]

    async def continued(self, context: Context, style: Style, begun: str) -> AsyncGenerator[str]:
        for step in self.unfinished.popleft():
            if isinstance(step, str):
                yield begun + step
            else:
                await step()

    def use_persona(self, persona: str) -> None:
        self.persona = persona

    def forget(self, leaving: Leaving) -> None:
        self.n_forgotten += 1

    async def close(self) -> None:
        self.closed = True


class FixedClock:
    """Clock that only ``advance`` moves; call it for the time, aware UTC."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self.now = start

    def __call__(self) -> datetime:
        return self.now

    def steady(self) -> float:
        """Return the steady clock's seconds: ``advance`` is time that passes, not a jump."""
        return self.now.timestamp()

    def advance(self, **span: float) -> None:
        """Advance by a timedelta's keywords: ``advance(minutes=5)``."""
        self.now += timedelta(**span)
