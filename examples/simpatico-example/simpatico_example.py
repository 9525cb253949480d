"""One plug-in of each kind, each as short as it can be. ``docs/plugins.md`` explains them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bot.plugins import Candidate, Context, GeneratorSettings, Label, Style


class EchoWriter:
    """A language model that repeats what it was told: one candidate for each style.

    Args:
        settings: Section ``[generator]``; ``model`` may name a variant, here the words before the echo.
    """

    def __init__(self, settings: GeneratorSettings) -> None:
        self._opening = settings.model

    async def generate(self, context: Context, styles: Sequence[Style]) -> list[Candidate]:
        """Write one candidate for each style. A real model is asked here, without blocking the event loop."""
        return [
            Candidate(f"{self._opening}, in the manner {style.name}: {context.message}", style.name)
            for style in styles
        ]


class WordEncoder:
    """An encoder that counts words: each word adds a fixed random direction.

    Args:
        device: Where to run; this encoder runs on the CPU in any case.
    """

    encoder_id = "words-1"
    """Another id makes the bot embed everything anew, so it changes with the weights and only with them."""
    dim = 64

    def __init__(self, device: str) -> None:
        self._device = device

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts: ``n x d`` float32, each row of length 1."""
        rows = np.stack([self._embedding(text) for text in texts])  # (n, d)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def _embedding(self, text: str) -> NDArray[np.float32]:
        words = text.casefold().split() or [""]
        return np.sum([self._direction(word) for word in words], axis=0, dtype=np.float32)  # (d,)

    def _direction(self, word: str) -> NDArray[np.float64]:
        seed = int.from_bytes(hashlib.sha256(word.encode("utf-8", "replace")).digest()[:8], "big")
        return np.random.default_rng(seed).standard_normal(self.dim)


class NoShouting:
    """A filter that finds texts in capitals unwanted."""

    def unwanted(self, texts: Sequence[str]) -> list[float]:
        """Return the share of capitals among the letters of each text."""
        return [self._shouted(text) for text in texts]

    def _shouted(self, text: str) -> float:
        letters = [char for char in text if char.isalpha()]
        return sum(char.isupper() for char in letters) / len(letters) if len(letters) > 8 else 0.0


class HeartsCountDouble:
    """A label source: a heart counts as the best rating; everything else as the bot reads it."""

    def label(self, reactions: Sequence[str], rating: int | None, own: Label | None) -> Label | None:
        """Return the label of one member on one reply."""
        return Label(1.0, 2.0) if rating is None and "❤" in reactions else own
