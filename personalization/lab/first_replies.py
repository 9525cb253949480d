"""Zero-shot evaluation of a prior: how well it ranks the first replies on a new server.

There is no split and no learning, because the packaged prior was fitted without these people. So every member
with different labels is tested. It is also the only valid measure on sparse sets, in which no member has
enough labels for the protocol of :mod:`personalization.lab.evaluate`. Two standard errors are reported, one
over people and one over texts: a thousand people who judge the same hundred jokes are still only a hundred
jokes.

Called by ``simpatico evaluate``; NumPy only.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np

from personalization.arrays import DoubleArray, FloatArray, IntArray
from personalization.heads.heads import Prior
from personalization.lab.datasets import Dataset
from personalization.score_quality import accuracy, concordance

BLOCKS = 20
"""Jackknife blocks of texts; an exchange is never divided."""


def first_replies(dataset: Dataset, features: FloatArray, prior: Prior) -> dict[str, Any]:
    """Measure how well a prior orders each member's liked and disliked replies. Blocks for seconds.

    Args:
        dataset: People the prior was not fitted to. Pointwise, members with equal labels are skipped.
        features: Features of ``dataset.texts``, ``items x d`` float32.
        prior: The prior to test.

    Returns:
        ``metric`` (its name), ``members`` (their number), and ``rows``: ``starter`` and the baseline
        ``longer`` (the longer reply first). Each has the mean over members (0.5 is random), ``se`` over
        people and ``se_texts`` over texts. Undefined figures are None.

    Source: Busing, Meijer, van der Leeden (1999), Delete-m jackknife for unequal m, here with blocks of about
    equal size.
    """
    scores = {
        "starter": features @ prior.mean,
        "longer": np.array([len(text) for text in dataset.texts], np.float64),
    }
    rows = {name: _figures(dataset, own.astype(np.float64)) for name, own in scores.items()}
    return {
        "metric": "accuracy" if dataset.pairwise else "concordance",
        "members": rows["starter"].pop("members"),
        "rows": {name: {key: row[key] for key in ("mean", "se", "se_texts")} for name, row in rows.items()},
    }


def _figures(dataset: Dataset, scores: DoubleArray) -> dict[str, float | int | None]:
    """Compute the mean over members, and its standard errors over people and over texts."""
    own = np.split(np.argsort(dataset.user, kind="stable"), np.cumsum(np.bincount(dataset.user))[:-1])
    all_of = _by_member(dataset, scores, own)
    block = np.array([hashlib.sha256(group.encode()).digest()[0] % BLOCKS for group in dataset.groups])
    of_label = block[dataset.item[:, 0]]
    parts = [
        float(np.mean(some))
        for left_out in np.unique(block)
        if len(some := _by_member(dataset, scores, [rows[of_label[rows] != left_out] for rows in own]))
    ]
    n = len(all_of)
    return {
        "members": n,
        "mean": float(all_of.mean()) if n else None,
        "se": float(all_of.std(ddof=1)) / math.sqrt(n) if n > 1 else None,
        "se_texts": math.sqrt((len(parts) - 1) * float(np.var(parts))) if len(parts) > 1 else None,
    }


def _by_member(dataset: Dataset, scores: DoubleArray, own: list[IntArray]) -> DoubleArray:
    """Compute concordance or accuracy of each member; members for whom it is undefined are skipped."""
    found: list[float] = []
    for rows in own:
        item, y = dataset.item[rows], dataset.y[rows]
        if dataset.pairwise:
            value = accuracy(scores[item[:, 0]] - scores[item[:, 1]], y)
        else:
            value = concordance(scores[item[:, 0]], y)
        if not math.isnan(value):
            found.append(value)
    return np.array(found)
