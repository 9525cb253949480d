"""Held-out juries: members and groups excluded from training, for early stopping and for the final test.

Splits a population's labels into a training part and two juries. One jury decides when to stop, the other
tests the result. Neither the juries' members nor the groups they are scored on are in the training part. Used
by :mod:`personalization.lab.adapting.adaptation` and :mod:`personalization.lab.prior_search`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from personalization.arrays import DoubleArray, FloatArray, IntArray
from personalization.heads.heads import HeadBank, Prior
from personalization.lab.baselines import features_of
from personalization.lab.datasets import Dataset
from personalization.lab.evaluate import Tested
from personalization.population.outcomes import Outcome, rank_loss
from personalization.score_quality import accuracy, concordance
from personalization.settings import Device
from personalization.solving.training import Examples, solve_heads

KEPT_OUT = 0.2
"""Share of members, and of groups, in each of the two juries. With 0.15, only 41 of the 663 members of DBDC3
had labels in a jury's groups, too few to detect a gain of 0.01."""
SURE = 2.0
"""Number of standard errors that a jury's gain must exceed. One is too few: the members of a jury are scored
on the same few replies, so their errors are correlated. Even without correlation, one in six null results
would pass."""


@dataclass(frozen=True, eq=False, slots=True)
class Split:
    """A split: training labels, the jury for early stopping, and the jury for the final test."""

    teach: IntArray
    stop: list[Tested]
    judge: list[Tested]


def split_labels(dataset: Dataset, labels: IntArray, seed: int) -> Split:
    """Split members and groups by the hash of their ids.

    Args:
        dataset: Judgements.
        labels: Indices of the labels to split, ``n``.
        seed: Seed of the hash.
    """
    items: list[int] = dataset.item[labels, 0].tolist()
    users: list[int] = dataset.user[labels].tolist()
    group = _deal([dataset.groups[i] for i in items], f"{seed}/group")  # (n,)
    user = _deal([dataset.users[i] for i in users], f"{seed}/member")  # (n,)
    return Split(
        labels[(user == 0) & (group == 0)],
        _jury(dataset, labels[(user == 1) & (group == 0)], labels[(user == 1) & (group == 1)], seed),
        _jury(dataset, labels[(user == 2) & (group == 0)], labels[(user == 2) & (group == 2)], seed),
    )


def _deal(names: Sequence[str], salt: str) -> IntArray:
    """Assign a role to each name by its hash rank: 0 training, 1 early stopping, 2 test, in fixed shares."""
    order = sorted(set(names), key=lambda name: hashlib.sha256(f"{salt}/{name}".encode()).digest())
    n = max(1, round(KEPT_OUT * len(order)))
    role = {name: 1 if i < n else 2 if i < 2 * n else 0 for i, name in enumerate(order)}
    return np.array([role[name] for name in names], np.int64)


def _jury(dataset: Dataset, given: IntArray, asked: IntArray, seed: int) -> list[Tested]:
    members: list[Tested] = []
    for user in np.unique(dataset.user[asked]):
        rng = np.random.default_rng([seed, int(user)])
        own = rng.permutation(given[dataset.user[given] == user])
        members.append(Tested(int(user), own, asked[dataset.user[asked] == user]))
    return members


def score_jury(
    dataset: Dataset,
    features: FloatArray,
    prior: Prior,
    jury: Sequence[Tested],
    k: int,
    device: Device,
) -> tuple[float, DoubleArray]:
    """Score a jury: solve each member's head from k labels, and test it on the member's query labels.

    Returns:
        Smooth loss of the ranking, and the concordance of each member (accuracy for pairs) in the order of
        the jury. It is NaN for members with fewer than k labels or with equal query labels only.
    """
    metric = np.full(len(jury), np.nan)
    able = [i for i, member in enumerate(jury) if len(member.support) >= k]
    bank = solve_for(dataset, features, prior, [jury[i].support[:k] for i in able], device)
    scored = [
        (features_of(dataset, features, jury[i].query) @ bank.weights[u].astype(np.float32)).astype(
            np.float64
        )
        for u, i in enumerate(able)
    ]
    for scores, i in zip(scored, able, strict=True):
        metric[i] = (accuracy if dataset.pairwise else concordance)(scores, dataset.y[jury[i].query])
    if not able:
        return 0.0, metric
    query = np.concatenate([jury[i].query for i in able])
    y, scores = dataset.y[query].astype(np.float64), np.concatenate(scored)
    owner = np.repeat(np.arange(len(able)), [len(own) for own in scored])
    pairs, zero = np.full(len(y), dataset.pairwise), np.zeros_like(y)
    return rank_loss(scores, Outcome(scores, zero, zero, y, y, owner, pairs, np.ones(len(y)))), metric


def solve_for(
    dataset: Dataset, features: FloatArray, prior: Prior, labels: Sequence[IntArray], device: Device
) -> HeadBank:
    """Solve one head for each array of label indices."""
    n = max((len(own) for own in labels), default=0)
    mask = np.arange(n) < np.array([len(own) for own in labels], np.int64).reshape(-1, 1)  # (u, n)
    row = np.zeros(mask.shape, np.int64)
    row[mask] = np.concatenate([*labels, np.zeros(0, np.int64)])
    X = features_of(dataset, features, row.ravel()).reshape(*row.shape, prior.dim)  # (u, n, d)
    y = dataset.y[row]
    pairs = np.full(row.shape, dataset.pairwise)
    return solve_heads(Examples(X, y, np.ones_like(y), mask, pairs), prior, device)[0]
