"""The real encoder for tests that show the same texts again and again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from personalization.encoding.encoder import Encoder, FloatArray


class EncodedOnce:
    """An encoder that computes each text once and keeps the embedding.

    Nothing else changes: on the CPU an embedding is a function of its text alone, bit for bit.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._known: dict[str, FloatArray] = {}
        self.encoder_id = encoder.encoder_id
        self.dim = encoder.dim

    @property
    def frozen(self) -> EncodedOnce:
        return self

    def encode(self, texts: Sequence[str]) -> FloatArray:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known.update(zip(new, self._encoder.encode(new), strict=True))
        rows = [self._known[text] for text in texts]
        return np.array(rows, dtype=np.float32).reshape(len(rows), self.dim)
