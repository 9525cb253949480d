"""What an answer to a question would teach about a member's taste: expected information.

A question is a pair of texts, and its answer the better one, or that it does not matter. It teaches much
where the answer is open: the member's labels do not decide it, and different tastes would give different
answers.
This is the mutual information of answer and taste under the posterior that the member's labels leave. A pair
in whose difference nothing can be loud any more teaches little.

The posterior is that of :mod:`personalization.solving.loud_tastes`: the pairs are solved with the member's
labels, with weight 0. An answer follows the model of Davidson, in which a draw is likely where two texts are
about equally good. Called by the six taps of ``bot``; imports torch.

Source: Houlsby, Huszar, Ghahramani, Lengyel (2011), Bayesian active learning for classification and
preference learning; Davidson (1970), On extending the Bradley-Terry model to accommodate ties.
"""

# torch ships without types for these; and matrices are capital here, as in the sources.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportConstantRedefinition=false

from __future__ import annotations

import numpy as np
import torch

from personalization.arrays import DoubleArray, FloatArray
from personalization.heads.heads import Prior
from personalization.solving.loud_tastes import Slab, solve
from personalization.solving.newton import newton_dual
from personalization.solving.training import Examples

DRAWS = 1.0
"""Chance of a draw relative to that of each other answer, for two texts that the member likes equally."""
NODES = 31
"""Nodes of the quadrature over the difference of two scores."""


def expected_information(examples: Examples, pairs: FloatArray, prior: Prior) -> DoubleArray:
    """Return what the answer to each pair would teach about a member, in nats. Blocks.

    Cost: O((n + k)^2 d + (n + k)^3).

    Args:
        examples: The labels of one member, ``1 x n x d``.
        pairs: Difference of the features of the two texts of each pair, ``k x d`` float32.
        prior: The prior that the member's head is solved under.
    """
    mean, variance = _scores(examples, pairs, prior)
    nodes, chances = np.polynomial.hermite_e.hermegauss(NODES)
    chances = chances / chances.sum()
    f = mean[:, None] + np.sqrt(variance)[:, None] * nodes  # (k, NODES)
    answers = _answers(f)  # (k, NODES, 3)
    expected = (answers * chances[:, None]).sum(axis=1)  # (k, 3)
    return _entropy(expected) - (_entropy(answers) * chances).sum(axis=1)


def _answers(f: DoubleArray) -> DoubleArray:
    """Return the probabilities of first, second and no matter, given the difference of two scores."""
    half = np.abs(f) / 2
    odds = np.stack([np.exp(f / 2 - half), np.exp(-f / 2 - half), DRAWS * np.exp(-half)], axis=-1)
    return odds / odds.sum(axis=-1, keepdims=True)


def _entropy(p: DoubleArray) -> DoubleArray:
    return -(p * np.log(np.maximum(p, 1e-12))).sum(axis=-1)


def _scores(examples: Examples, pairs: FloatArray, prior: Prior) -> tuple[DoubleArray, DoubleArray]:
    """Return mean and variance of the difference of each pair's scores under the posterior, ``k``."""
    n = examples.X.shape[1]
    X, y, w, point = (
        torch.from_numpy(np.concatenate([own, of_pairs])).to(torch.float64)
        for own, of_pairs in (
            (examples.X[0], pairs),
            (examples.y[0], np.zeros(len(pairs))),
            (examples.weight[0] * examples.mask[0], np.zeros(len(pairs))),
            (_has_bias(examples), np.zeros(len(pairs))),
        )
    )  # (n + k, d), (n + k,), (n + k,), (n + k,)
    A = torch.from_numpy(prior.directions()).to(X)  # (d + 1, r + 1)
    own = torch.from_numpy(prior.variance.copy()).to(X)  # (d,)
    C = X @ A[:-1] + point[:, None] * A[-1]  # (n + k, r + 1)
    K = C @ C.T + (X * own) @ X.T  # (n + k, n + k)
    m = X @ torch.from_numpy(prior.mean.copy()).to(X) + prior.bias_mean * point  # (n + k,)
    may_be = prior.loud_features()
    if prior.loud is not None and len(may_be):
        slab = Slab(torch.from_numpy(prior.loud[may_be]).to(X), *prior.loud_chances)
        L = X[:, torch.from_numpy(may_be)]  # (n + k, s)
        solved = solve(C[None], K[None], m[None], L[None], slab, y[None], w[None])
        mean, variance = solved.scores[0], solved.S[0]
    else:
        a, _, _ = newton_dual(K[None], m[None], y[None], w[None])
        mean = m + K @ a[0]
        p = torch.sigmoid(mean)
        root = (w * p * (1 - p)).sqrt()
        B = torch.eye(len(K)).to(K) + root[:, None] * K * root
        T = torch.linalg.solve_triangular(torch.linalg.cholesky(B), root[:, None] * K, upper=False)
        variance = K.diagonal() - (T**2).sum(dim=0)
    return mean[n:].numpy(), variance[n:].clamp(min=0).numpy()


def _has_bias(examples: Examples) -> FloatArray:
    mask = examples.mask[0]
    return (mask if examples.pairwise is None else mask & ~examples.pairwise[0]).astype(np.float32)
