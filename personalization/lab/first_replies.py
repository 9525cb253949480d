"""What a prior is worth to people it has not met: how it ranks the very first replies of a new server.

No split and no learning: a prior that ships with the package has seen none of these people, so every member
who can be asked is. Also the only honest measure on sparse sets, where nobody gave enough thumbs for the
protocol of :mod:`personalization.lab.evaluate`. Two standard errors are given, because a set has chance in
both its people and its texts: a thousand people who judged the same hundred jokes are still a hundred
jokes.

Used by ``simpatico evaluate``; NumPy only.
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
"""Parts of the texts that are left out in turn, whole exchanges at a time."""


def first_replies(dataset: Dataset, features: FloatArray, prior: Prior) -> dict[str, Any]:
    """Measure how a prior orders what each member liked and did not like. Blocks for seconds.

    Args:
        dataset: People the prior has not learnt from. Pointwise, those who gave different labels count.
        features: Of ``dataset.texts``, ``items x d`` float32.
        prior: What answers.

    Returns:
        ``metric`` (its name), ``members`` who count, and under ``rows`` for ``starter`` and ``longer`` (the
        longer reply first, to compare with; at random is 0.5) the mean over members, ``se`` (people drawn
        anew) and ``se_texts`` (texts drawn anew); None what cannot be had.

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
    """Mean over members, and its standard errors over people and over texts."""
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
    """How rightly each member's labels are ordered, for the members of whom that can be said."""
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
