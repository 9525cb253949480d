"""Zero-shot evaluation of a prior: how well it ranks the first replies on a new server.

There is no split and no learning, because the packaged prior was fitted without these people. So every member
with different labels is tested. It is also the only valid measure on sparse sets, in which no member has
enough labels for the protocol of :mod:`personalization.lab.evaluate`. A newcomer's two replies are scored by
the function that scores them in the running bot (:mod:`personalization.ranking.scores`), with the weight of
relevance and the bound of the settings. Only the policy's exploration is left out.

Two standard errors are reported, one over people and one over texts: a thousand people who judge the same
hundred jokes are still only a hundred jokes. Called by ``simpatico evaluate``; NumPy only.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np

from personalization.arrays import BoolArray, DoubleArray, FloatArray, IntArray
from personalization.heads.heads import Prior
from personalization.lab.datasets import Dataset
from personalization.lab.preferences import preferences
from personalization.ranking.scores import combined

BLOCKS = 20
"""Jackknife blocks of texts; an exchange is never divided."""


def first_replies(
    dataset: Dataset,
    features: FloatArray,
    relevance: FloatArray,
    prior: Prior,
    *,
    relevance_weight: float,
    personal_bound: float,
) -> dict[str, Any]:
    """Measure how well a prior orders each member's liked and disliked replies. Blocks for seconds.

    Args:
        dataset: People the prior was not fitted to. Pointwise, members with equal labels are skipped.
        features: Features of ``dataset.texts``, ``items x d`` float32.
        relevance: Cosine of each reply and the message it answers, 0 without a message, ``items`` float32.
        prior: The prior to test.
        relevance_weight: Weight of relevance, as in the settings.
        personal_bound: Bound on taste, as in the settings.

    Returns:
        ``metric`` (its name), ``members`` (their number), ``relevance_weight``, and ``rows``: ``starter`` (as
        the running bot scores), its two parts ``taste`` and ``relevance``, and the baseline ``longer`` (the
        longer reply first). Each has the mean over members (0.5 is random), ``se`` over people and
        ``se_texts`` over texts. Undefined figures are None.

    Source: Busing, Meijer, van der Leeden (1999), Delete-m jackknife for unequal m, here with blocks of about
    equal size.
    """
    members = list(preferences(dataset))
    member = np.repeat(np.arange(len(members)), [len(pairs) for _, pairs in members])  # (n,)
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *(pairs for _, pairs in members)])  # (n, 2)
    block = np.array([hashlib.sha256(group.encode()).digest()[0] % BLOCKS for group in dataset.groups])
    weighing = {"personal_bound": personal_bound}
    personal = prior.head().score(features)
    none = np.zeros_like(relevance)
    by_row = {
        "starter": (personal, relevance, relevance_weight),
        "taste": (personal, none, 0.0),
        "relevance": (np.zeros_like(personal), relevance, 1.0),
        "longer": (none, np.array([len(text) for text in dataset.texts], np.float32), 1.0),
    }
    rows: dict[str, dict[str, float | None]] = {}
    for name, (taste, fit, weight) in by_row.items():
        scores, _ = combined(taste[pairs], fit[pairs], relevance_weight=weight, **weighing)  # (n, 2)
        gap = scores[:, 0] - scores[:, 1]
        right = np.where(gap == 0, 0.5, gap > 0)
        rows[name] = _figures(right, member, block[pairs])
    return {
        "metric": "accuracy" if dataset.pairwise else "concordance",
        "members": len(members),
        "relevance_weight": relevance_weight,
        "rows": rows,
    }


def _figures(right: DoubleArray, member: IntArray, blocks: IntArray) -> dict[str, float | None]:
    """Compute the mean over members, and its standard errors over people and over texts.

    Args:
        right: Whether each preference is ordered rightly, ``n``.
        member: Member of each preference, ``n``.
        blocks: Blocks of its two texts, ``n x 2``.
    """
    all_of = _by_member(right, member, np.ones(len(right), np.bool_))
    parts = [
        float(some.mean())
        for left_out in np.unique(blocks)
        if len(some := _by_member(right, member, (blocks != left_out).all(axis=1)))
    ]
    n = len(all_of)
    return {
        "mean": float(all_of.mean()) if n else None,
        "se": float(all_of.std(ddof=1)) / math.sqrt(n) if n > 1 else None,
        "se_texts": math.sqrt((len(parts) - 1) * float(np.var(parts))) if len(parts) > 1 else None,
    }


def _by_member(right: DoubleArray, member: IntArray, here: BoolArray) -> DoubleArray:
    """Compute each member's share of rightly ordered preferences; members without any are skipped."""
    n = np.bincount(member[here])
    return (np.bincount(member[here], weights=right[here]) / np.maximum(n, 1))[n > 0]
