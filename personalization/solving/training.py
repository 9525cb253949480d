"""The solve of heads: examples in, heads out, no I/O.

Model: a member likes a reply with features phi with log-odds ``w . phi + b``, and prefers reply i to j with
log-odds ``w . (phi_i - phi_j)`` (Bradley-Terry: the intercept cancels). Under the prior, ``(w, b) = mean + A
z`` with ``z ~ N(0, I)``. The columns of ``A`` are the directions in which members differ; the last one is the
member's own threshold. A diagonal part may be added for all other directions. A head is the most probable (w,
b) given the member's labels, both kinds in one solve. Members with few labels are solved in the dual (``n x
n``), members with many in the space of ``z`` (``r x r``). Newton steps solve a thousand members at once
(:mod:`personalization.solving.newton`). The start is always the prior, never an earlier head. So a head is a
pure function of (prior, own labels) and can be rebuilt, checked and forgotten exactly.

Members are cut into chunks of one length each (:mod:`personalization.solving.member_chunk`). The length that
a member is padded to depends on the member's own labels alone, so that other members do not change a head.
Arithmetic is float32; heads are stored as float16.

Called by :mod:`personalization.rounds.trainer`, mostly in a worker process; imports torch and NumPy,
nothing of storage or Discord. Axes: ``u`` members, ``n`` examples (padded, with mask), ``d``
features, ``r`` directions of taste.

Source: Rasmussen and Williams (2006), Gaussian Processes for Machine Learning, algorithm 3.1; Bradley and
Terry (1952) for pairs.
"""

# torch ships without types for these; and matrices are capital here, as in the source.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportConstantRedefinition=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from personalization.arrays import BoolArray, FloatArray, IntArray
from personalization.devices import resolve_device
from personalization.heads.heads import HeadBank, Prior
from personalization.settings import Device
from personalization.solving.member_chunk import LANES_SIZE, Chunk, PriorSpace

T = TypeVar("T")
R = TypeVar("R")

LONG_PARTS = 4
"""Least number of chunks for each thread, for members of many labels, so that no thread idles for long while
another solves the last chunk. Members of few labels gain more from full lanes."""


@dataclass(frozen=True, eq=False)
class Examples:
    """The examples of many members, padded to the longest.

    Attributes:
        X: Features, ``u x n x d`` float32.
        y: Label values in [0, 1], ``u x n`` float32.
        weight: Trust in each label, ``u x n`` float32, > 0 where ``mask``.
        mask: True where there is an example, ``u x n`` bool. Values elsewhere have no effect.
        pairwise: True where ``X`` is the difference of two replies and ``y`` the degree to which the first is
            the better one, ``u x n`` bool; None: nowhere.

    Raises:
        ValueError: Shapes do not fit.
    """

    X: FloatArray
    y: FloatArray
    weight: FloatArray
    mask: BoolArray
    pairwise: BoolArray | None = None

    def __post_init__(self) -> None:
        u, n, _ = self.X.shape
        shapes = {"y": self.y.shape, "weight": self.weight.shape, "mask": self.mask.shape}
        if self.pairwise is not None:
            shapes["pairwise"] = self.pairwise.shape
        if any(shape != (u, n) for shape in shapes.values()):
            raise ValueError(f"expected y, weight, mask and pairwise of shape {(u, n)}, found {shapes}")

    @classmethod
    def pad(cls, members: Sequence[tuple[FloatArray, FloatArray, FloatArray]]) -> Examples:
        """Pad each member's (``n_u x d`` features, ``n_u`` values, ``n_u`` weights) to the longest member."""
        u, n = len(members), max((len(y) for _, y, _ in members), default=0)
        d = members[0][0].shape[1] if members else 0
        X = np.zeros((u, n, d), dtype=np.float32)
        y, weight = np.zeros((2, u, n), dtype=np.float32)
        mask = np.zeros((u, n), dtype=np.bool_)
        for i, (own_X, own_y, own_weight) in enumerate(members):
            n_own = len(own_y)
            X[i, :n_own], y[i, :n_own], weight[i, :n_own], mask[i, :n_own] = own_X, own_y, own_weight, True
        return cls(X, y, weight, mask)


@dataclass(frozen=True, slots=True)
class SolveReport:
    """Outcome of a solve: sizes, Newton steps of the slowest member, members left unsolved, device."""

    n_members: int
    n_examples: int
    n_steps: int
    n_unsolved: int
    device: str


# --- heads -----------------------------------------------------------------------------------------------


def solve_heads(examples: Examples, prior: Prior, device: Device = "auto") -> tuple[HeadBank, SolveReport]:
    """Solve the head of every member. Blocks.

    A head does not depend on the other members. Memory stays near the size of the result, because members
    are taken in chunks of similar n. On the CPU, chunks are solved in as many threads as torch may use. Cost:
    O(n d r) a member, with a diagonal part O(n^2 d + n^3).

    Args:
        examples: ``u`` members; a member without examples gets the prior's mean.
        prior: The shared prior, of the same d.
        device: Where to solve.

    Returns:
        The heads, in the order of ``examples``, and a report.

    Raises:
        DeviceMissing: This machine does not have the named device.
        ValueError: Shapes do not fit, or a weight, label or feature is out of range.
    """
    place = resolve_device(device)
    _check(examples, prior)
    u, _, d = examples.X.shape
    weights, biases = np.empty((u, d), dtype=np.float16), np.empty(u, dtype=np.float16)
    cutter, space = _ChunkCutter(examples, place), PriorSpace(prior, place)
    n_threads = torch.get_num_threads() if place.type == "cpu" else 1
    unseen = cutter.n_own == 0
    weights[unseen], biases[unseen] = prior.head().weights, prior.head().bias  # the prior answers

    def solve(part: tuple[IntArray, int]) -> tuple[int, int]:
        members, n = part
        with torch.inference_mode():
            found = space.solve(cutter.cut(members, n, space.lanes(n, len(members))))
            weights[members], biases[members] = found.weights.cpu().numpy(), found.biases.cpu().numpy()
        return found.n_steps, found.n_unsolved

    outcomes = _in_threads(solve, _parts(cutter.n_own, space, n_threads), n_threads)
    n_steps, n_unsolved = max((steps for steps, _ in outcomes), default=0), sum(left for _, left in outcomes)
    report = SolveReport(u, int(cutter.n_own.sum()), n_steps, n_unsolved, place.type)
    return HeadBank(weights, biases, prior.feature_id, prior.prior_id), report


def padded_length(n_own: IntArray) -> IntArray:
    """Return the length that ``n_own`` examples are padded to: the next of 4, 8, .. 32, 40, .. 64, 80, .."""
    step = np.maximum(4, 2.0 ** (np.ceil(np.log2(np.maximum(n_own, 1))) - 3)).astype(np.int64)
    return -(-n_own // step) * step


def _parts(n_own: IntArray, space: PriorSpace, n_threads: int) -> list[tuple[IntArray, int]]:
    """Cut members with examples into chunks of one padded length each, longest first: (members, length)."""
    lengths = padded_length(n_own)
    order = np.argsort(-lengths, kind="stable")
    order = order[lengths[order] > 0]
    parts: list[tuple[IntArray, int]] = []
    share = int(lengths.sum()) // n_threads  # examples
    for same in np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1) if len(order) else []:
        n = int(lengths[same[0]])
        finest = 1 if n <= LANES_SIZE or n_threads == 1 else LONG_PARTS
        most = min(space.lanes(n), space.lanes(n, max(1, share // finest // n)))
        n_parts = -(-len(same) // (most * n_threads)) * n_threads  # as many for each thread
        size = space.lanes(n, -(-len(same) // n_parts))
        parts += [(same[start : start + size], n) for start in range(0, len(same), size)]
    return parts


def _in_threads(work: Callable[[T], R], parts: Sequence[T], n_threads: int) -> list[R]:
    """Work on the parts in ``n_threads`` threads, with one torch thread in each.

    Several torch threads in one operation wait for each other thousands of times a second, which on a busy
    machine costs many times the work.
    """
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(n_threads, "solve", torch.set_num_threads, (1,)) as pool:
            return list(pool.map(work, parts))
    finally:
        torch.set_num_threads(before)  # new threads inherit the last value set in any thread


class _ChunkCutter:
    """Cuts chunks out of examples and moves them to the device."""

    def __init__(self, examples: Examples, place: torch.device) -> None:
        X = examples.X.reshape(-1, examples.X.shape[2])  # (u * n, d)
        self._X = np.require(X, np.float32, ["C", "W"])
        self._y, self._weight = examples.y.reshape(-1), examples.weight.reshape(-1)  # (u * n,)
        self._paired = None if examples.pairwise is None else examples.pairwise.reshape(-1)
        self._place = place
        self._here = np.flatnonzero(examples.mask)
        self.n_own: IntArray = examples.mask.sum(axis=1, dtype=np.int64)  # (u,)
        self._first = np.cumsum(self.n_own) - self.n_own

    def cut(self, members: IntArray, n: int, lanes: int) -> Chunk:
        """Take these members, in rising order, padded to ``n`` examples, into the first lanes of a chunk."""
        n_own = self.n_own[members][:, None]  # (u, 1)
        within = np.arange(n)
        # Padding repeats the member's own last example, with weight 0.
        index = self._here[self._first[members][:, None] + np.minimum(within, n_own - 1)]  # (u, n)
        own = within < n_own  # (u, n)
        y, w, has_bias = np.zeros((3, lanes, n), dtype=np.float32)
        y[: len(members)], w[: len(members)] = self._y[index] * own, self._weight[index] * own
        has_bias[: len(members)] = own if self._paired is None else own & ~self._paired[index]
        X, rows = torch.from_numpy(self._X), None
        first, last = int(index[0, 0]), int(index[-1, -1])
        if last - first + 1 == index.size and own.all():  # the rows are consecutive
            X = X[first : last + 1]
        elif self._place.type == "cpu":
            rows = torch.from_numpy(index)
        else:
            X = X[torch.from_numpy(index.reshape(-1))]
        y, w, has_bias = (torch.from_numpy(part).to(self._place) for part in (y, w, has_bias))
        return Chunk(X.to(self._place), rows, y, w, has_bias, n_own[:, 0])


def _check(examples: Examples, prior: Prior) -> None:
    if (d := examples.X.shape[2]) != prior.dim:
        raise ValueError(f"expected examples of the prior's {prior.dim} features, found {d}")
    y, weight = examples.y[examples.mask], examples.weight[examples.mask]
    if not ((y >= 0) & (y <= 1)).all() or not ((weight > 0) & np.isfinite(weight)).all():
        raise ValueError("expected labels in [0, 1] with weights > 0, found others")
