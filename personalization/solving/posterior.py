"""Leave-one-out evidence for solved heads, and their posterior covariance.

Each label is predicted by the head of all the *other* labels, in closed form: at the solution, leaving one
label out moves its score by ``-S / (1 - h S) * w (y - p)``, where S is the posterior variance of that score
and h the curvature of the label's loss. So no head is solved twice. On 132 held-out judges of DBDC3, the sum
over a member's labels agrees with solving a head before every single label (correlation .97 to .99 at 5 to 20
labels). It is more informative, because each label is judged by a head of nearly all the others.

Under a prior with features that may be loud, the heads are solved here as well
(:mod:`personalization.solving.loud_tastes`), because evidence and head share one posterior.

The same covariance, packed by :mod:`personalization.heads.spread`, goes with the head to the policy.
Called by :mod:`personalization.solving.gate`; imports torch and NumPy.

Source: Rad and Maleki (2020), A scalable estimate of the out-of-sample prediction error via approximate
leave-one-out cross-validation; Rasmussen and Williams (2006), Gaussian Processes for Machine Learning,
equation 3.24.
"""

# torch ships without types for these; and matrices are capital here, as in the sources.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportConstantRedefinition=false

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from personalization.arrays import DoubleArray, FloatArray, HalfArray, IntArray
from personalization.devices import resolve_device
from personalization.heads.heads import HeadBank, Prior
from personalization.heads.spread import LEADING, pack, unlabelled
from personalization.settings import Device
from personalization.solving.loud_tastes import Slab
from personalization.solving.loud_tastes import solve as solve_loud
from personalization.solving.newton import newton_dual
from personalization.solving.training import Examples

WORKSPACE_BYTES = 64 * 2**20
LEAST_LEFT = 0.05
"""Least value of ``1 - h S``. It is near 0 where a label determines its own score, and the closed form
fails."""


@dataclass(frozen=True, eq=False, slots=True)
class Hindsight:
    """Members' heads, judged by their own labels.

    Attributes:
        evidence: Nats by which the head predicts the member's labels better than the prior with the member's
            own threshold, each label left out of what predicts it, ``u``; 0 without labels.
        error: Standard error of that sum, from the scatter of its terms, ``u``.
        spreads: Posterior covariances as :func:`personalization.heads.spread.pack` packs them, ``u x s``
            float16.
        loud: What is loud in each member's taste; None under a prior without it.
    """

    evidence: DoubleArray
    error: DoubleArray
    spreads: HalfArray
    loud: LoudTaste | None = None


@dataclass(frozen=True, eq=False, slots=True)
class LoudTaste:
    """Members' solutions under a prior with features that may be loud.

    Attributes:
        weights: Weights of the Gaussian part, the prior's mean included, ``u x d``.
        biases: Intercepts of the same solution, ``u``.
        mean: Posterior mean of the loud weights, ``u x s``.
        deviation: Their posterior standard deviation, ``u x s``.
        chance: Posterior probability that a feature is loud, ``u x s``.
        centre: Mean of these features over the member's own replies, by weight, ``u x s``.
    """

    weights: DoubleArray
    biases: DoubleArray
    mean: DoubleArray
    deviation: DoubleArray
    chance: DoubleArray
    centre: DoubleArray

    @classmethod
    def unlabelled(cls, u: int, prior: Prior) -> LoudTaste:
        """Return the solution of ``u`` members without labels."""
        may_be = prior.loud_features()
        variance = np.tile(unlabelled(prior), (u, 1))
        one, two = prior.loud_chances
        chance = np.full((u, len(may_be)), (one + 2 * two) / len(may_be))
        none = np.zeros((u, len(may_be)))
        mean = np.tile(prior.mean.astype(np.float64), (u, 1))
        return cls(mean, np.full(u, prior.bias_mean), none, variance**0.5, chance, none.copy())


def look_back(
    examples: Examples, prior: Prior, own: HeadBank | None, plain: HeadBank, device: Device = "auto"
) -> Hindsight:
    """Judge solved heads by their own labels. Blocks.

    In float64, so that the rounding to float16 hides which chunk a member was in. Cost: O(n d r + n r^2 +
    r^3) a member, O(n^2 d + n^3) under a prior with a diagonal part.

    Args:
        examples: ``u`` members' labels.
        prior: The prior of both banks.
        own: Heads solved under the prior, fully trusted; None under a prior with features that may be loud,
            whose heads are solved here.
        plain: Heads that may differ from the prior in their threshold only.
        device: Where to compute.

    Raises:
        DeviceMissing: This machine does not have the named device.
    """
    place = resolve_device(device)
    dtype = torch.float32 if place.type == "mps" else torch.float64
    A = torch.from_numpy(prior.directions()).to(place, dtype)  # (d + 1, r + 1)
    variance = torch.from_numpy(prior.variance.copy()).to(place, dtype)  # (d,)
    evidence, error = np.zeros((2, len(examples.X)))
    width = 0 if prior.factor is None else prior.factor.shape[1]
    spreads = pack(np.tile(np.eye(width), (len(examples.X), 1, 1)), prior)
    may_be = prior.loud_features()
    loud = LoudTaste.unlabelled(len(examples.X), prior) if len(may_be) else None
    dual = loud is not None or bool((prior.variance > 0).any())
    for rows, n in _chunks(examples, A.shape[1], len(may_be), dual=dual):
        chunk = _Chunk.of(examples, rows, n, place, dtype)
        C = chunk.X @ A[:-1] + chunk.has_bias[:, :, None] * A[-1]  # (u, n, r + 1)
        if loud is not None:
            f, V, S = _solve_loud(loud, rows, C, chunk, prior, A=A, variance=variance)
        else:
            f = chunk.scores(own or plain, rows)
            V, S = _posterior(C, chunk, f, variance)
        plain_f = chunk.scores(plain, rows)
        plain_h = (chunk.w * chunk.has_bias * _curvature(plain_f)).sum(dim=1, keepdim=True)
        plain_S = chunk.has_bias / (1 / prior.bias_variance + plain_h)  # (u, n)
        gain = (_loss_left_out(plain_f, plain_S, chunk) - _loss_left_out(f, S, chunk)).cpu().numpy()  # (u, n)
        n_own = examples.mask[rows].sum(axis=1)
        evidence[rows] = gain.sum(axis=1)
        error[rows] = np.sqrt(np.maximum((gain**2).sum(axis=1) - evidence[rows] ** 2 / n_own, 0))
        own_loud = None if loud is None else loud.deviation[rows] ** 2
        spreads[rows] = pack(V[:, :-1, :-1].cpu().numpy().astype(np.float64), prior, own_loud)
    return Hindsight(evidence, error, spreads, loud)


def _solve_loud(
    loud: LoudTaste, rows: IntArray, C: Tensor, chunk: _Chunk, prior: Prior, *, A: Tensor, variance: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Solve the members of a chunk and fill in their rows.

    Returns:
        Scores, covariance of the coordinates, variance of the scores.
    """
    may_be = prior.loud_features()
    mean = torch.from_numpy(prior.mean.copy()).to(chunk.X)  # (d,)
    assert prior.loud is not None
    slab = Slab(torch.from_numpy(prior.loud[may_be]).to(chunk.X), *prior.loud_chances)
    K = C @ C.transpose(1, 2) + (chunk.X * variance) @ chunk.X.transpose(1, 2)  # (u, n, n)
    m = chunk.X @ mean + prior.bias_mean * chunk.has_bias  # (u, n)
    L = chunk.X[:, :, torch.from_numpy(may_be).to(chunk.X.device)]  # (u, n, s)
    solved = solve_loud(C, K, m, L, slab, chunk.y, chunk.w)
    z = (solved.a[:, :, None] * C).sum(dim=1)  # (u, r + 1)
    weights = mean + z @ A[:-1].T + variance * (solved.a[:, :, None] * chunk.X).sum(dim=1)  # (u, d)
    trust = (chunk.w * chunk.has_bias)[:, :, None]  # (u, n, 1)
    found = {
        "weights": weights,
        "biases": prior.bias_mean + z @ A[-1],
        "mean": solved.loud.mean,
        "deviation": solved.loud.covariance.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt(),
        "chance": solved.loud.chance,
        "centre": (trust * L).sum(dim=1) / trust.sum(dim=1).clamp(min=1e-9),
    }
    for name, values in found.items():
        getattr(loud, name)[rows] = values.cpu().numpy()
    return solved.scores, solved.V, solved.S


@dataclass(frozen=True, eq=False, slots=True)
class _Chunk:
    """Padded members on the device: features, label values, weights, 1 where the score has an intercept."""

    X: Tensor
    y: Tensor
    w: Tensor
    has_bias: Tensor

    @classmethod
    def of(
        cls, examples: Examples, rows: IntArray, n: int, place: torch.device, dtype: torch.dtype
    ) -> _Chunk:
        mask = examples.mask[rows, :n]
        point = mask if examples.pairwise is None else mask & ~examples.pairwise[rows, :n]
        X, y, w = (
            np.where(mask[..., None] if part.ndim == 3 else mask, part[rows, :n], 0)
            for part in (examples.X, examples.y, examples.weight)
        )
        X, y, w, has_bias = (torch.from_numpy(part).to(place, dtype) for part in (X, y, w, point))
        return cls(X, y, w, has_bias)

    def scores(self, bank: HeadBank, rows: IntArray) -> Tensor:
        """Return the members' scores of their own labels' replies by these heads, ``u x n``."""
        weights, biases = (
            torch.from_numpy(part[rows]).to(self.X) for part in (bank.weights, bank.biases)
        )  # (u, d), (u,)
        return (self.X @ weights[:, :, None])[:, :, 0] + self.has_bias * biases[:, None]


def _posterior(C: Tensor, chunk: _Chunk, f: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the posterior covariance of coordinates (``u x r x r``) and variance of scores (``u x n``)."""
    h = chunk.w * _curvature(f)  # (u, n)
    eye = torch.eye(C.shape[2]).to(C)
    if not (variance > 0).any():
        V = torch.cholesky_inverse(torch.linalg.cholesky(eye + C.transpose(1, 2) @ (C * h[:, :, None])))
        return V, ((C @ V) * C).sum(dim=2)
    K = C @ C.transpose(1, 2) + (chunk.X * variance) @ chunk.X.transpose(1, 2)  # (u, n, n)
    root = h.sqrt()
    B = torch.eye(K.shape[1]).to(K) + root[:, :, None] * K * root[:, None, :]
    L = torch.linalg.cholesky(B)
    T = torch.linalg.solve_triangular(L, root[:, :, None] * K, upper=False)  # (u, n, n)
    Q = torch.linalg.solve_triangular(L, root[:, :, None] * C, upper=False)  # (u, n, r)
    return eye - Q.transpose(1, 2) @ Q, K.diagonal(dim1=1, dim2=2) - (T**2).sum(dim=1)


def _curvature(f: Tensor) -> Tensor:
    p = torch.sigmoid(f)
    return p * (1 - p)


def _loss_left_out(f: Tensor, S: Tensor, chunk: _Chunk) -> Tensor:
    """Return the loss of each label when it is left out of what predicts it, ``u x n``; 0 for padding."""
    left = (1 - chunk.w * _curvature(f) * S).clamp(min=LEAST_LEFT)
    without = f - S / left * chunk.w * (chunk.y - torch.sigmoid(f))  # (u, n)
    return chunk.w * (softplus(without) - chunk.y * without)


def _chunks(examples: Examples, r: int, s: int, *, dual: bool) -> Iterator[tuple[IntArray, int]]:
    """Cut members with labels, longest rows first, into chunks of bounded memory: members and length."""
    u, n_padded, d = examples.X.shape
    last = n_padded - np.argmax(examples.mask[:, ::-1], axis=1) if n_padded else np.zeros(u, np.int64)
    reach = np.where(examples.mask.any(axis=1), last, 0)
    order = np.argsort(-reach, kind="stable")
    order = order[reach[order] > 0]
    start = 0
    while start < len(order):
        n = int(reach[order[start]])
        floats = 2 * n * d + 3 * n * (r + s) + 3 * r * r + 12 * s * s + 4 * n * n * dual + LEADING
        size = max(1, WORKSPACE_BYTES // (8 * floats))
        yield order[start : start + size], n
        start += size


# --- exact, for comparison -------------------------------------------------------------------------------


def exact_score_covariance(
    examples: Examples, candidates: FloatArray, prior: Prior, device: Device = "auto"
) -> DoubleArray:
    """Compute the posterior covariance of each member's scores of their own candidates. Blocks.

    :mod:`personalization.heads.spread` approximates it, with the scores' mean removed. It takes all members
    at once, without chunks, so it is for some hundred members. Cost: O(n (n + k) d + n^3) a member.

    Args:
        examples: ``u`` members' labels.
        candidates: Features, ``u x k x d`` float32.
        prior: The prior that the heads were solved under.
        device: Where to solve.

    Returns:
        ``u x k x k`` float64; the prior covariance for a member without labels.

    Raises:
        DeviceMissing: This machine does not have the named device.
    """
    place = resolve_device(device)
    dtype = torch.float32 if place.type == "mps" else torch.float64
    A = torch.from_numpy(prior.directions()).to(place, dtype)  # (d + 1, r)
    variance = torch.from_numpy(prior.variance.copy()).to(place, dtype)  # (d,)
    mean = torch.from_numpy(prior.mean.copy()).to(place, dtype)  # (d,)
    mask = torch.from_numpy(examples.mask).to(place)  # (u, n)
    X = torch.from_numpy(examples.X).to(place, dtype).masked_fill(~mask[:, :, None], 0.0)  # (u, n, d)
    y, w = (
        torch.from_numpy(part).to(place, dtype).masked_fill(~mask, 0.0)
        for part in (examples.y, examples.weight)
    )  # (u, n)
    has_bias = mask.to(dtype)
    if examples.pairwise is not None:
        has_bias = has_bias * torch.from_numpy(~examples.pairwise).to(place)
    Z = torch.from_numpy(candidates).to(place, dtype)  # (u, k, d)
    C_x = X @ A[:-1] + has_bias[:, :, None] * A[-1]  # (u, n, r)
    C_z = Z @ A[:-1] + A[-1]  # (u, k, r)
    K_zz = C_z @ C_z.transpose(1, 2) + (Z * variance) @ Z.transpose(1, 2)  # (u, k, k)
    if not X.shape[1]:
        return K_zz.cpu().numpy()
    K = C_x @ C_x.transpose(1, 2) + (X * variance) @ X.transpose(1, 2)  # (u, n, n)
    K_xz = C_x @ C_z.transpose(1, 2) + (X * variance) @ Z.transpose(1, 2)  # (u, n, k)
    m = X @ mean + prior.bias_mean * has_bias  # (u, n)
    a, _, _ = newton_dual(K, m, y, w)
    p = torch.sigmoid(m + (K @ a[:, :, None])[:, :, 0])  # (u, n)
    root = (w * p * (1 - p)).sqrt()
    B = torch.eye(K.shape[1], dtype=dtype, device=place) + root[:, :, None] * K * root[:, None, :]
    V = torch.linalg.solve_triangular(torch.linalg.cholesky(B), root[:, :, None] * K_xz, upper=False)
    return (K_zz - V.transpose(1, 2) @ V).cpu().numpy()
