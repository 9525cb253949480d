"""Synthetic population for benchmarks: replies with features like the bot's, and members with tastes.

Embeddings have length 1 and cluster around topics; style scalars have unit scale. Members share a mean taste,
differ in few directions, and each has a threshold. All draws come from one seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from personalization.heads.heads import FeatureSpace, Prior, starter_prior
from personalization.population.fit_prior import fit_prior
from personalization.population.pooled import Pool
from personalization.settings import LearningSettings
from personalization.solving.training import Examples

FloatArray = npt.NDArray[np.float32]

N_EMBEDDING = 384
N_STYLE = 27
DIM = N_EMBEDDING + N_STYLE
TASTES = 8


@dataclass(frozen=True, slots=True)
class Space:
    """Feature space with the dimensions of the bot's own."""

    feature_id: str = "benchmark"
    dim: int = DIM
    n_embedding: int = N_EMBEDDING


SPACE: FeatureSpace = Space()


class Population:
    """Replies, and a random generator of members.

    Args:
        n_replies: Number of replies that members react to.
        seed: Seed of all draws.
    """

    def __init__(self, n_replies: int = 20_000, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        topics = self.rng.normal(size=(40, N_EMBEDDING))
        embedding = topics[self.rng.integers(0, 40, n_replies)]
        embedding = embedding + 1.5 * self.rng.normal(size=(n_replies, N_EMBEDDING))
        embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
        style = self.rng.normal(size=(n_replies, N_STYLE))
        self.X: FloatArray = np.hstack([embedding, style]).astype(np.float32)  # (m, d)
        scale = np.append(np.full(N_EMBEDDING, 1.5), np.full(N_STYLE, 0.15))
        self.mean = self.X @ (self.rng.normal(size=DIM) * scale).astype(np.float32)  # (m,)
        differ = self.rng.normal(size=(DIM, TASTES)) * scale[:, None]
        self.tastes = self.X @ differ.astype(np.float32)  # (m, t)

    def members(self, sizes: npt.NDArray[np.int64], out: FloatArray | None = None) -> Examples:
        """Draw members with labels, padded to the longest member.

        Args:
            sizes: Number of labels of each member, ``u``.
            out: Buffer for the features, ``m x d`` float32 with ``m >= u * max(sizes)``; reused by later
                draws.
        """
        self._own = self.rng.normal(size=(len(sizes), 1, TASTES)).astype(np.float32)
        self._threshold = self.rng.normal(size=(len(sizes), 1)).astype(np.float32)
        return self._labels(np.arange(len(sizes)), sizes, out)

    def again(self, some: npt.NDArray[np.int64], n: int) -> Examples:
        """Draw ``n`` more labels for some of the members drawn last."""
        return self._labels(some, np.full(len(some), n), None)

    def _labels(
        self, some: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], out: FloatArray | None
    ) -> Examples:
        u, n = len(sizes), int(sizes.max())
        rows = self.rng.integers(0, len(self.X), size=(u, n))
        scores = self.mean[rows] + (self.tastes[rows] * self._own[some]).sum(axis=2) + self._threshold[some]
        y = (self.rng.random((u, n)) < 1 / (1 + np.exp(-scores))).astype(np.float32)
        X = np.empty((u * n, DIM), np.float32) if out is None else out[: u * n]
        np.take(self.X, rows.ravel(), axis=0, out=X, mode="clip")
        mask = np.arange(n) < sizes[:, None]
        return Examples(X.reshape(u, n, DIM), y, np.ones((u, n), np.float32), mask)

    def prior(self, n_members: int, n_labels: int) -> Prior:
        """Fit the prior on other members, as the bot does."""
        taught = self.members(np.full(n_members, n_labels))
        member = np.repeat(np.arange(n_members), n_labels)
        pool = Pool(taught.X.reshape(-1, DIM), taught.y.ravel(), taught.weight.ravel(), member)
        return fit_prior(
            pool,
            starter_prior(SPACE, LearningSettings()),
            member_cap=1000.0,
            device="cpu",
            n_embedding=N_EMBEDDING,
        )
