"""Encodes the texts of a set of judgements for the experiments.

Every text is encoded once. With a folder, later runs find the encodings there. Called by ``simpatico
evaluate`` and ``simpatico fit-starter``, and by the fit of a starter in the background.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from personalization.arrays import FloatArray
from personalization.encoding.encoder import Encoder
from personalization.encoding.features import FeatureMap
from personalization.encoding.loading import load_encoder
from personalization.lab.datasets import Dataset
from personalization.lab.encoding_cache import CachedEncoder
from personalization.settings import LearningSettings

_TEXTS_AT_ONCE = 64

Watch = Callable[[Sequence[int], str], Iterable[int]]
"""Yields the steps of a work one by one, and shows how far it is; gets the steps and the work's name."""


def unwatched(steps: Sequence[int], what: str) -> Iterable[int]:
    """Show nothing."""
    del what
    return steps


@dataclass(frozen=True, eq=False, slots=True)
class EncodedSet:
    """A set with the features of its replies.

    Attributes:
        dataset: The set.
        features: The feature map.
        replies: Features of the replies, ``items x d`` float32.
    """

    dataset: Dataset
    features: FeatureMap
    replies: FloatArray
    _encoder: CachedEncoder
    _watch: Watch

    def relevance(self) -> FloatArray:
        """Compute each reply's cosine to the message it answers, as the ranker does. Blocks.

        Candidates of the running bot answer the same message. So a message that is not known must not speak
        for or against a reply, which gets the mean relevance of the others.

        Returns:
            ``items`` float32; 0 in a set without messages.

        Raises:
            OSError: The cache folder cannot be written.
        """
        relevance = np.zeros(len(self.dataset.texts), np.float32)
        answers = [i for i, message in enumerate(self.dataset.messages) if message.strip()]
        for i in self._watch(answers, "relevance"):
            found = self.features.encode(self.dataset.messages[i], [self.dataset.texts[i]])
            relevance[i] = found.relevance[0]
        self._encoder.flush()
        if answers:
            unknown = np.ones(len(relevance), np.bool_)
            unknown[answers] = False
            relevance[unknown] = relevance[answers].mean()
        return relevance


def encode_set(
    dataset: Dataset,
    learning: LearningSettings,
    cache: Path | None,
    encoder: Encoder | None = None,
    *,
    watch: Watch = unwatched,
) -> EncodedSet:
    """Compute the features of a set's replies.

    Args:
        dataset: The set.
        learning: The encoder and its device.
        cache: Folder in which encodings are cached; None: only in memory.
        encoder: Replaces the configured one.
        watch: Shows progress.

    Raises:
        EncoderError: The encoder is missing or damaged.
        OSError: The cache folder cannot be written.
    """
    kept = CachedEncoder(encoder or load_encoder(learning.encoder, learning.device), cache)
    features = FeatureMap(kept)
    starts = range(0, len(dataset.texts), _TEXTS_AT_ONCE)
    parts = [
        features.features(dataset.texts[start : start + _TEXTS_AT_ONCE])
        for start in watch(starts, "encoding")
    ]
    kept.flush()
    return EncodedSet(dataset, features, np.concatenate(parts), kept, watch)
