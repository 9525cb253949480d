"""Solve of one chunk of members on a device: features in, heads out.

A chunk holds members whose examples are padded to one length. The solve reads the features once (twice if the
prior has a diagonal part), in tiles that fit the cache, and projects each example to ``r`` numbers;
everything else works on those. A head does not depend on the other members of its chunk, to the last bit:
tiles of one length have one fixed shape, so the same arithmetic always runs in the same order.

Called by :mod:`personalization.solving.training`, which cuts the chunks; imports torch and NumPy. Axes:
``u`` members of the chunk, ``lanes`` the members and the empty places after them, ``n`` examples, ``d``
features, ``r`` directions of taste.
"""

# torch ships without types for these; and matrices are capital here, as in the source.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportConstantRedefinition=false

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from personalization.arrays import IntArray
from personalization.heads.heads import Prior
from personalization.solving.newton import newton_dual, newton_primal

CHUNK_FLOATS = 2**21
"""Floats, roughly, that the CPU works on for one chunk, so that they stay in or near the cache."""
DEVICE_SHARE = 0.25
"""Share of an accelerator's free memory for one chunk, its features included; at most 4 GiB."""
TILE_ROWS = 640
"""Examples whose features the CPU reads at a time; an accelerator reads a whole chunk."""
WIDTH_MIN = 16
"""Least width of a product. BLAS rounds narrower or odd ones depending on the memory address of a row."""
LANES_SIZE = 32
"""Largest number of examples at which all systems are factored together."""
LANES_MIN = 64
"""Least number of lanes; fewer would cost as much."""


def tile_size(n: int) -> int:
    """Return how many members of ``n`` examples the CPU reads at a time: a power of two."""
    return min(LANES_MIN, 1 << max(0, (TILE_ROWS // n).bit_length() - 1))


def _free_floats(place: torch.device) -> int:
    """Return how many floats one chunk may take on the device."""
    if place.type == "cuda":
        return min(2**30, int(DEVICE_SHARE * torch.cuda.mem_get_info(place)[0]) // 4)
    return CHUNK_FLOATS if place.type == "cpu" else 2**26


@dataclass(frozen=True, eq=False, slots=True)
class Chunk:
    """Members on the device, all padded to the same n; the lanes after them are empty.

    Attributes:
        X: Features, float32: a row for each example, ``u * n x d``, or the rows that ``rows`` refers to.
        rows: Row of ``X`` for each example, ``u x n`` int64. None: the rows of ``X`` in order.
        y: Label values, ``lanes x n`` float32.
        w: Weights, ``lanes x n`` float32, 0 for padding.
        has_bias: 1 where the score has an intercept, ``lanes x n`` float32; 0 for pairs and padding.
        n_own: Number of examples, ``u``, > 0.
    """

    X: Tensor
    rows: Tensor | None
    y: Tensor
    w: Tensor
    has_bias: Tensor
    n_own: IntArray

    def tiles(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield the features tile by tile: the slice of the members, and ``members x n x d`` float32.

        All tiles of this n have one shape, so the last one may end with arbitrary features.
        """
        (lanes, n), u, d = self.y.shape, len(self.n_own), self.X.shape[1]
        size = tile_size(n) if self.X.device.type == "cpu" else lanes
        spare: Tensor | None = None
        for start in range(0, u, size):
            some = slice(start * n, min(start + size, u) * n)
            if self.rows is None and some.stop - some.start == size * n:
                X = self.X[some]
            else:
                X = spare = self.X.new_zeros(size * n, d) if spare is None else spare
                index = torch.arange(some.start, some.stop) if self.rows is None else self.rows.view(-1)[some]
                torch.index_select(self.X, 0, index.to(X.device), out=X[: len(index)])
            yield slice(start, start + size), X.view(size, n, d)


@dataclass(frozen=True, eq=False, slots=True)
class Solved:
    """Heads of a chunk on the device: ``u x d`` and ``u`` float16; Newton steps, members left unsolved."""

    weights: Tensor
    biases: Tensor
    n_steps: int
    n_unsolved: int


class PriorSpace:
    """The prior on a device, and the solve of chunks under it.

    Args:
        prior: The prior.
        place: The device.
    """

    def __init__(self, prior: Prior, place: torch.device) -> None:
        A = np.roll(prior.directions(), 1, axis=1)  # (d + 1, r), the own intercept first
        if prior.factor is not None:
            A = np.pad(A, ((0, 0), (0, max(WIDTH_MIN - 1 - A.shape[1], (A.shape[1] + 1) % 2))))
        into = np.hstack([A[:-1, 1:], prior.mean[:, None]])  # (d, r)
        shift = np.append(A[-1], prior.bias_mean)  # (r + 1,)
        self._into, self._shift, self._back, self._mean, self._spread = (
            torch.from_numpy(part.astype(np.float32)).to(place)
            for part in (into, shift, A[:-1].T, prior.mean, np.sqrt(prior.variance))
        )
        self._spreads = bool((prior.variance > 0).any())
        self._prior, self._place, self._r = prior, place, A.shape[1]
        self._room = _free_floats(place)

    def _is_dual(self, n: int) -> bool:
        return self._spreads or n <= self._r

    def lanes(self, n: int, u: int | None = None) -> int:
        """Return how many lanes to solve at once for members of ``n`` examples.

        Args:
            n: Examples of each member, with padding.
            u: Members to solve; the result then covers them. None: the most lanes that fit.
        """
        size = n * (self._r + 1) + (3 * n**2 if self._is_dual(n) else n * self._r + 2 * self._r**2)
        if self._place.type != "cpu":
            size += 2 * n * len(self._mean)
        unit = LANES_MIN if n <= LANES_SIZE or self._place.type != "cpu" else tile_size(n)
        most = max(unit, self._room // size // unit * unit)
        return most if u is None else -(-u // unit) * unit

    def solve(self, chunk: Chunk) -> Solved:
        """Solve the heads of a chunk, in float32.

        Raises:
            ValueError: A feature is NaN or infinite.
        """
        (lanes, n), u, prior = chunk.y.shape, len(chunk.n_own), self._prior
        P, K = self._project(chunk)  # (u, n, r + 1), (u, n, n)
        if not P.sum().isfinite():
            raise ValueError("expected finite features, found NaN or infinity")
        P.addcmul_(chunk.has_bias[:, :, None], self._shift)
        C, m, w = P[:, :, :-1], P[:, :, -1], chunk.w  # (u, n, r), (u, n), (u, n)
        a = None
        if self._is_dual(n):
            K = C @ C.transpose(1, 2) if K is None else K.baddbmm_(C, C.transpose(1, 2))
            a, steps, unsolved = newton_dual(K, m, chunk.y, w, lanes=n <= LANES_SIZE)
            z = (a[:, :, None] * C).sum(dim=1)  # (u, r)
        else:
            z, steps, unsolved = newton_primal(C, m, chunk.y, w)
        trust = np.zeros((lanes, 1), dtype=np.float32)
        trust[:u, 0] = prior.trust_at(chunk.n_own)
        trusted = torch.from_numpy(trust).to(self._place)  # (u, 1)
        if lanes < LANES_MIN:  # BLAS rounds a product of few rows differently
            z, trusted = (pad(part, (0, 0, 0, LANES_MIN - lanes)) for part in (z, trusted))
        weights = torch.addmm(self._mean, trusted * z, self._back)  # (u, d)
        if self._spreads and a is not None:
            for some, X in chunk.tiles():
                weights[some] += (trusted[some, :, None] * a[some, :, None] * X).sum(dim=1) * self._spread**2
        biases = prior.bias_mean + z @ self._shift[:-1]  # (u,)
        return Solved(weights[:u].half(), biases[:u].half(), steps, unsolved)

    def _project(self, chunk: Chunk) -> tuple[Tensor, Tensor | None]:
        """Read the features and project them.

        Returns:
            Coordinates and mean score without intercepts, ``lanes x n x (r + 1)``; and the covariance that
            the diagonal part of the prior adds, ``lanes x n x n``, or None without one.
        """
        lanes, n = chunk.y.shape
        P = chunk.X.new_zeros(lanes, n, self._r + 1)  # (u, n, r + 1)
        K = chunk.X.new_zeros(lanes, n, n) if self._spreads else None  # (u, n, n)
        scaled = None
        for some, X in chunk.tiles():
            torch.mm(X.view(-1, X.shape[2]), self._into, out=P[some].view(-1, self._r + 1)[:, 1:])
            if K is not None:
                scaled = torch.mul(X, self._spread, out=scaled)
                torch.bmm(scaled, scaled.transpose(1, 2), out=K[some])
        return P, K
